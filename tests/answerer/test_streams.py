"""What surrounds a question: its terminal, its time zone, closed and full streams, and a launcher that goes away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import socket
import sqlite3
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import writers
from tests.answerer.conftest import Answerer, Launcher, until_answered
from tests.answerer.test_faults import BOTH_WAYS, begin, request, retag
from tests.cli.conftest import Own
from tests.cli.program import SECONDS
from tests.conftest import ON_SQLITE
from tests.effort import pairs
from tests.forking import CLEAN
from tests.watch.harness import wait_for

Start = Callable[..., Answerer]
Make = Callable[..., str]


def on_terminal(
    program: str,
    *words: str,
    db: str,
    columns: int,
    env: dict[str, str],
    is_typed: bool = False,
    streams: tuple[bool, bool] = (True, False),
) -> tuple[int, bytes]:
    """Run a program, of whose `streams` stdout and stderr one is a terminal so wide, or both are, and with `is_typed` stdin is one too.

    Return its status and what it printed there.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    whole = {**CLEAN, "TERM": "xterm", "OCICAT_PAGER": "", "OCICAT_DB": db, **env}
    with subprocess.Popen(
        [program, *words],
        stdin=theirs if is_typed else subprocess.DEVNULL,
        stdout=theirs if streams[0] else subprocess.DEVNULL,
        stderr=theirs if streams[1] else subprocess.DEVNULL,
        env=whole,
    ) as process:
        os.close(theirs)
        printed = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(ours, 65536):
                printed += piece
    os.close(ours)
    return process.returncode, printed


@ON_SQLITE
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_of_each_width_gets_the_table_that_the_program_prints(
    cli: Own, layout: Make, answerer: Start, launcher: Launcher, columns: int
) -> None:
    running, path = begin(cli, layout, answerer, launcher)
    retag(path, "a newer one")
    cli.done("index", "--full")
    ask = {"OCICAT_SOCKET": running.path}
    alone = launcher.directory / "alone" / "ocicat"
    asked = (
        ("query", "--limit", "5"), ("history", ":1"), ("find", "one"), ("inspect", ":1"), ("resolve", ":1"), ("query", ":1", "--utc"),
    )  # fmt: skip
    zones = ({"TZ": "Asia/Tokyo"}, {"TZ": "America/Los_Angeles", "NO_COLOR": "1"})
    if columns == 80:
        zones = zones[::-1]  # in the short run each question is asked in both zones, too
    for words, zone in pairs(asked, zones):
        plain = on_terminal(str(launcher.directory / "ocicat-plain"), *words, db=cli.db, columns=columns, env=zone)
        deadline = time.monotonic() + SECONDS
        while True:  # ages move on between two questions
            found = on_terminal(str(alone), *words, db=cli.db, columns=columns, env={**zone, **ask})
            if found == plain:
                break
            assert time.monotonic() < deadline, (words, zone, found, plain)
            plain = on_terminal(str(launcher.directory / "ocicat-plain"), *words, db=cli.db, columns=columns, env=zone)


@ON_SQLITE
@pytest.mark.parametrize("streams", [(False, True), (True, True)], ids=["stderr", "both"])
def test_a_terminal_on_stderr_gets_the_lines_that_the_program_prints(
    cli: Own, layout: Make, answerer: Start, launcher: Launcher, streams: tuple[bool, bool]
) -> None:
    running, _ = begin(cli, layout, answerer, launcher)
    for columns in (40, 80):
        for words in (("resolve", "nosuch"), ("resolve", ":1", "oci-layout://nosuch:1"), ("find", "one", "nowhere")):
            program, alone = str(launcher.directory / "ocicat-plain"), str(launcher.directory / "alone" / "ocicat")
            plain = on_terminal(program, *words, db=cli.db, columns=columns, env={}, streams=streams)
            assert plain[1].count(b"\n") > 1
            env = {"OCICAT_SOCKET": running.path}
            assert on_terminal(alone, *words, db=cli.db, columns=columns, env=env, streams=streams) == plain


@ON_SQLITE
def test_what_needs_a_pager_is_left_to_the_program(cli: Own, layout: Make, answerer: Start, launcher: Launcher) -> None:
    running, path = begin(cli, layout, answerer, launcher)
    ask = {"OCICAT_SOCKET": running.path}
    alone = str(launcher.directory / "alone" / "ocicat")

    def typed(*words: str, is_typed: bool = True) -> tuple[int, bytes]:
        return on_terminal(alone, *words, db=cli.db, columns=80, env=ask, is_typed=is_typed)

    wait_for(lambda: typed("query")[0] == 0)
    writers.write_index(
        path,
        writers.empty_index(
            *(writers.name_entry(writers.fake_descriptor(f"{n}"), "tag", "", f"t{n}") for n in range(40))
        ),
    )
    cli.done("index", "--full")
    wait_for(lambda: typed("query", is_typed=False)[0] == 0)
    for _ in range(4):
        status, printed = typed("query")
        assert (status, b"sha256" in printed) == (4, False)


@ON_SQLITE
def test_streams_that_are_closed_full_or_read_by_nobody(
    cli: Own, layout: Make, answerer: Start, launcher: Launcher
) -> None:
    running, _ = begin(cli, layout, answerer, launcher)
    ask = {"OCICAT_SOCKET": running.path}

    def by_shell(program: str, line: str) -> tuple[int, bytes, bytes]:
        whole = {**CLEAN, "OCICAT_DB": cli.db, "OCICAT": program, **(ask if program == launcher.path else {})}
        done = subprocess.run(["bash", "-c", line], capture_output=True, env=whole, timeout=SECONDS, check=False)
        return done.returncode, done.stdout, done.stderr

    for line in (
        '"$OCICAT" resolve :1 >&-', '"$OCICAT" resolve :1 2>&-', '"$OCICAT" resolve :1 <&-', '"$OCICAT" resolve :1 >/dev/full',
        '"$OCICAT" resolve nothing 2>/dev/full', '"$OCICAT" resolve nothing 2>&-', '"$OCICAT" resolve :1 nothing 2>&1',
        'exec 3>&1; "$OCICAT" resolve :1 >&3',
    ):  # fmt: skip
        outcomes = {by_shell(launcher.path, line) for _ in range(3)}
        plain = set()
        for _ in range(3):  # what is printed by both may come in either order
            plain.add(by_shell(str(launcher.directory / "ocicat-plain"), line))
            if outcomes <= plain:
                break
        assert outcomes <= plain, (line, outcomes, plain)
    for program in (launcher.path, str(launcher.directory / "ocicat-plain")):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [program, "resolve", ":1"], stdout=writing, stderr=subprocess.PIPE, env={**CLEAN, "OCICAT_DB": cli.db, **ask}, timeout=SECONDS, check=False
        )  # fmt: skip
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, b"")


def test_a_launcher_that_goes_away_ends_the_work_for_it(
    cli: Own, layout: Make, answerer: Start, launcher: Launcher
) -> None:
    running = begin(cli, layout, answerer, launcher)[0]
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(running.path)
            asking.sendall(request(cli.db, "query", "--limit", "1"))
    env = {"OCICAT_SOCKET": running.path}
    assert until_answered(launcher, "resolve", ":1", db=cli.db, env=env).status == 0
    wait_for(lambda: len(running.workers()) == 4, what=running.workers)


@ON_SQLITE
def test_one_that_is_killed_in_the_middle_of_an_answer_leaves_no_half(
    cli: Own, layout: Make, answerer: Start, launcher: Launcher
) -> None:
    """The launcher prints nothing before it has the whole answer, so what comes is the answer of either."""
    running, _ = begin(cli, layout, answerer, launcher, "", "--processes", "2")
    words = [launcher.path, *("resolve", *[":1"] * 100)]
    env = {**CLEAN, "OCICAT_DB": cli.db, "OCICAT_SOCKET": running.path}
    plain = launcher.plainly(*words[1:], db=cli.db)
    for number in range(24):
        with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asked:
            time.sleep(number / 4000)  # from before the question to after the answer
            for worker in running.workers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            out, err = asked.communicate(timeout=SECONDS)
        assert (asked.returncode, out.decode(), err.decode()) == plain


@ON_SQLITE
def test_the_catalog_is_locked_or_of_another_version(
    cli: Own, layout: Make, answerer: Start, launcher: Launcher
) -> None:
    running, _ = begin(cli, layout, answerer, launcher)
    env = {"OCICAT_SOCKET": running.path}
    answer = launcher.plainly("resolve", ":1", db=cli.db)
    with contextlib.closing(sqlite3.connect(cli.db, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        for words in BOTH_WAYS:
            assert launcher.ran(*words, db=cli.db, env=env) == answer
        writer.execute("UPDATE meta SET value = '9999' WHERE key = 'schema'")
        writer.execute("COMMIT")
    newer = launcher.plainly("resolve", ":1", db=cli.db)
    assert newer.status == 4
    for _ in range(6):  # more than there are processes
        for words in BOTH_WAYS:
            assert launcher.ran(*words, db=cli.db, env=env) == newer
    assert Path(running.path).exists()


@ON_SQLITE
@pytest.mark.deep
def test_processes_are_replaced_after_many_questions(
    cli: Own, layout: Make, answerer: Start, launcher: Launcher
) -> None:
    running = begin(cli, layout, answerer, launcher, f"{cli.directory}/other")[0]
    before = set(running.workers())
    question = request(cli.db, "resolve", ":1")

    def asked() -> bytes:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(SECONDS)
            asking.connect(running.path)
            asking.sendall(question)
            answer = b""
            while piece := asking.recv(4096):
                answer += piece
            return answer

    right = asked()
    assert b"sha256:" in right
    for _ in range(100_000):
        assert asked() == right
        if before & set(running.workers()) != before:
            break
    assert before & set(running.workers()) != before
    assert asked() == right
