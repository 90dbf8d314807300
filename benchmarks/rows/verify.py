"""`ocicat verify` compared with `sha256sum`, and with one thread and two."""

from __future__ import annotations

import os

from benchmarks import data
from benchmarks.clock import Spread, in_turn, processor
from benchmarks.report import Report
from benchmarks.world import World

SMALL, SMALL_BYTES = 85_000, 1_500
LARGE, LARGE_BYTES = 32, 30_000_000
TIMES = 2.4
"""The limit for small blobs. The goal is 2, which a whole run reaches (docs/performance.md); on a busy machine it takes longer."""
GAIN = 1.3


def verify(world: World, report: Report) -> None:
    """Verify many small blobs and a few large ones, with one thread and with two."""
    share = 10 if world.quick else 1
    for what, count, size in (("small", SMALL // share, SMALL_BYTES), ("large", LARGE // share, LARGE_BYTES)):
        report.title(f"ocicat verify of {count:,} blobs of {size:,} bytes ({world.slow_runs} runs each)")
        path = data.blobs(f"{world.directory}/blobs-{what}-{count}", count, size)
        db = world.registered("verify", path)
        world.ocicat(db, "index")()
        one, two = "ocicat verify --jobs 1", "ocicat verify --jobs 2"
        verifying = {each: ["verify", "--full", "--jobs", jobs] for each, jobs in ((one, "1"), (two, "2"))}
        hashing = ["sh", "-c", 'cd "$0" && ls | xargs sha256sum', f"{path}/blobs/sha256"]
        # By processor time, because verify writes its verdicts and therefore waits for the disk, and sha256sum does not.
        spent = in_turn(
            {
                "sha256sum, processor time": processor(hashing, world.environment | {"PATH": os.defpath}),
                f"{one}, processor time": processor(world.command(db, *verifying[one]), world.environment),
            },
            world.slow_runs,
            warm_up=1,
        )
        report.times(spent)
        theirs, ours = spent.values()
        report.pairs(f"verify / sha256sum, {what} blobs", ours, theirs, TIMES)
        seconds = in_turn({each: world.ocicat(db, *verifying[each]) for each in (one, two)}, world.slow_runs, warm_up=0)
        report.times(seconds)
        gain = Spread.of([a / b for a, b in zip(seconds[one], seconds[two], strict=True)]).median
        # Because of Python's lock, one thread reads small blobs that are in memory: with two, it must not be slower.
        report.holds(f"--jobs 1 / --jobs 2, {what} blobs", gain, GAIN if what == "large" else 0.9, at_least=True)
