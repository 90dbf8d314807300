"""The native launcher with an answerer: against `/bin/true`, against other tools, in a shell loop, and while another process indexes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator

from benchmarks.clock import Spread, cold, in_turn
from benchmarks.data import LAST
from benchmarks.report import Report
from benchmarks.rows.peers import commands
from benchmarks.world import World

SIZES = (10, 100, 1_000)
TRUE_LIMIT, LOOP_LIMIT, BUSY_MS = 2.0, 2.5, 20.0
_QUESTIONS = 10_000
_LOOP = 'n=0; while [ $n -lt "$1" ]; do "$2" $3 "$4" >/dev/null; n=$((n + 1)); done'


def answered(world: World, report: Report) -> None:
    """Measure `resolve` through the launcher, as a script waits for it."""
    report.title("Through the native launcher and an answerer")
    if not os.path.exists(world.plain):
        report.note("there is no C compiler here, so there is no launcher")
        return
    for entries in SIZES:
        layout = world.big(entries)
        db = world.registered(f"answered-{entries}", layout.path)
        world.ocicat(db, "index")()
        with _answerer(world, db) as launcher:
            takes = {"/bin/true": cold(["/bin/true"], world.environment)}
            takes |= {"ocicat resolve": cold([launcher, "--db", db, "resolve", LAST], world.environment)}
            takes |= {tool: take for tool, take in commands(world, layout).items() if not tool.startswith("python")}
            seconds = in_turn(takes, world.runs)
            report.note(f"{entries:,} entries ({world.runs} runs each)")
            report.times(seconds)
            floor, ours = seconds.pop("/bin/true"), seconds.pop("ocicat resolve")
            report.pairs(f"resolve / true, {entries:,} entries", ours, floor, TRUE_LIMIT)
            for tool, theirs in seconds.items():
                report.at_least(f"{tool} / resolve, {entries:,} entries", ours, theirs, 1)
            if entries == SIZES[-1]:
                _loop(world, report, db, launcher)
                _while_busy(world, report, db, launcher)


def _loop(world: World, report: Report, db: str, launcher: str) -> None:
    questions = _QUESTIONS // 10 if world.quick else _QUESTIONS
    environment = {**world.environment, "OCICAT_DB": db}
    loops = {
        label: cold(["sh", "-c", _LOOP, "sh", str(questions), *words], environment)
        for label, words in (("true", ("/bin/true", "", "")), ("resolve", (launcher, "resolve", LAST)))
    }
    seconds = in_turn(loops, 1 if world.quick else 3, warm_up=0)
    report.times({f"{questions:,} times {label} in a shell": each for label, each in seconds.items()})
    report.pairs("loop of resolve / loop of true", seconds["resolve"], seconds["true"], LOOP_LIMIT)


def _while_busy(world: World, report: Report, db: str, launcher: str) -> None:
    """Resolve a name again and again while another process indexes 100,000 entries into the same catalog."""
    layout = world.big(100_000)
    world.ocicat(db, "add", "--no-index", layout.path)()
    take = cold([launcher, "--db", db, "resolve", LAST, "--store", str(SIZES[-1])], world.environment)
    take()
    times = []
    with subprocess.Popen([world.plain, "--db", db, "index"], env=world.environment) as indexing:
        while indexing.poll() is None:
            times.append(take())
    if indexing.returncode:
        raise RuntimeError(f"ocicat index: exit status {indexing.returncode}")
    last = sorted(times)[int(len(times) * 0.99)] * 1e3
    report.times({f"resolve while 100,000 entries are indexed ({len(times):,} times)": times})
    report.holds("its 99th percentile, milliseconds", last, BUSY_MS, f"median {Spread.of(times).median * 1e3:.1f}")


@contextlib.contextmanager
def _answerer(world: World, db: str) -> Iterator[str]:
    """Run an answerer, and yield a launcher that has no program to fall back on, so that all it prints comes from the answerer."""
    with subprocess.Popen(
        [world.plain, "--db", db, "answer"], env=world.environment, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        alone = os.path.join(world.directory, "alone")
        os.makedirs(alone, exist_ok=True)
        launcher = shutil.copy(os.path.join(world.bin, "ocicat"), alone)
        deadline = time.monotonic() + 60
        while subprocess.run(
            [launcher, "--db", db, "resolve", LAST], env=world.environment, capture_output=True, check=False
        ).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError("the answerer does not answer")
        try:
            yield launcher
        finally:
            process.terminate()
