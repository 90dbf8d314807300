"""The time and memory limits of commands that only read: they end, whatever the catalog makes them do."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from catalog.engine.open import open_writer
from tests import writers
from tests.cli.conftest import Own
from tests.cli.program import one_error, ran
from tests.conftest import ON_POSTGRESQL, ON_SQLITE
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import wait_for

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@pytest.fixture
def endless(cli: Own) -> str:
    """A catalog in which every query about entries or problems runs for ever."""
    layout = writers.make_layout(f"{cli.directory}/big")
    writers.write_index(layout, writers.empty_index(*writers.big_entries(400)))
    cli.done("add", layout)
    with sqlite3.connect(cli.db) as connection:
        (made,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'problems'").fetchone()
        connection.execute("DROP VIEW problems")
        connection.execute(
            f"CREATE VIEW problems AS {ENDLESS} SELECT 'big' AS store, 'odd' AS kind, i AS subject, 'x' AS detail FROM n"
        )
        assert "problems" in made
    connection.close()
    return cli.db


@ON_SQLITE
def test_check_ends_at_its_time_limit(endless: str) -> None:
    one_error(ran("check", "--timeout", "0.3", db=endless), 4, "0.3 seconds", "--timeout")


@ON_SQLITE
@pytest.mark.parametrize(
    "arguments", [("query", "--format", "json"), ("query", "x", "-"), ("query", "--sort", "size", "--format", "json")]
)
def test_query_ends_at_its_time_limit_whatever_it_waits_for(endless: str, arguments: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        [OCICAT, *arguments, "--timeout", "0.7"],
        env=CLEAN | {"OCICAT_DB": endless}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.wait(20) == 4  # nothing reads stdout or writes to stdin
        assert process.stderr is not None
        last = process.stderr.read().decode().splitlines()[-1]
        assert last.startswith("ocicat: error: this took longer than 0.7 seconds")
    finally:
        process.kill()
        process.communicate()


ASKED = (
    ("query", "app:1"), ("resolve", "app:1"), ("resolve", "app:1", "--strict", "--platform", "linux/amd64"), ("history", "app:1"),
    ("diff", "a", "a"), ("changes", "--store", "x"), ("inspect", "app:1"), ("stores",), ("status",), ("wait", "app:1"), ("contexts", "-"), ("check", "x"), ("report", "usage", "--store", "x"),
    ("find", "app"), ("plan", "prune"), ("plan", "link"), ("plan", "copy", "app:1", "--to", "nowhere"), ("resolve", "app:1", "--fresh"),
)  # fmt: skip
"""Commands that read the table `store`, with click and without it."""
SECONDS = "1.5"


def started(db: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a command that reads the catalog, with a Dockerfile on stdin."""
    process = subprocess.Popen(
        [OCICAT, *arguments],
        env=CLEAN | {"OCICAT_DB": db}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(b"FROM app:1\n")
    process.stdin.close()
    return process


def all_end(db: str, *commands: tuple[str, ...], seconds: str = SECONDS) -> None:
    """Check that all of these commands end by themselves, with status 4 and one line with advice."""
    processes = {each: started(db, *each, "--timeout", seconds) for each in commands}
    try:
        for arguments, process in processes.items():
            assert process.wait(60) == 4, arguments
            assert process.stderr is not None
            last = process.stderr.read().decode().splitlines()[-1]
            assert last.startswith("ocicat: error: "), arguments
            assert "--timeout" in last or "did not answer in time" in last, last
    finally:
        for process in processes.values():
            process.kill()
            process.__exit__(None, None, None)


@pytest.fixture
def stuck(cli: Own, layout: Callable[..., str]) -> str:
    """A catalog in which reading `store` never ends."""
    cli.done("add", layout("a", "1"))
    with sqlite3.connect(cli.db, isolation_level=None) as connection:
        connection.execute("PRAGMA legacy_alter_table = ON")
        columns = [row[1] for row in connection.execute("PRAGMA table_info(store)")]
        connection.execute("ALTER TABLE store RENAME TO kept")
        made = ", ".join(f"kept.{each}" for each in columns)
        connection.execute(f"CREATE VIEW store AS {ENDLESS} SELECT {made} FROM n CROSS JOIN kept WHERE n.i < 0")
    connection.close()
    return cli.db


@ON_SQLITE
def test_every_command_that_reads_ends_at_its_time_limit(stuck: str) -> None:
    all_end(stuck, *ASKED, seconds="0.8")  # each computes until its end


@ON_SQLITE
def test_looking_for_damage_ends_at_its_time_limit(cli: Own) -> None:
    cli.done("db", "upgrade")
    with sqlite3.connect(cli.db, isolation_level=None) as connection:
        connection.execute("CREATE TABLE large (x UNIQUE)")
        connection.execute(
            "INSERT INTO large WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) SELECT i FROM n"
        )
    connection.close()
    one_error(ran("db", "check", "--timeout", "0.001", db=cli.db), 4, "0.001 seconds", "--timeout")
    assert ran("db", "check", "--timeout", "600", db=cli.db).status == 0


@ON_SQLITE
def test_every_command_that_writes_ends_at_its_time_limit(cli: Own, layout: Callable[..., str], tmp_path: Path) -> None:
    cli.done("add", layout("a", "1"))
    with open_writer(cli.db) as writer, writer.transaction():
        all_end(cli.db, ("index", "a"), ("add", str(tmp_path)), ("remove", "a"), ("db", "vacuum"))


@ON_SQLITE
def test_the_database_is_as_it_was_after_an_upgrade_or_vacuum_that_took_too_long(cli: Own) -> None:
    one_error(ran("db", "upgrade", "--timeout", "0.001", db=cli.db), 4, "0.001 seconds", "--timeout")
    assert ran("db", "upgrade", "--timeout", "600", db=cli.db).status == 0
    with sqlite3.connect(cli.db, isolation_level=None) as connection:
        connection.execute("CREATE TABLE large (x UNIQUE)")
        connection.execute(
            "INSERT INTO large WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) SELECT i FROM n"
        )
    connection.close()
    one_error(ran("db", "vacuum", "--timeout", "0.001", db=cli.db), 4, "0.001 seconds", "--timeout")
    assert ran("db", "check", db=cli.db).status == 0
    assert ran("db", "vacuum", "--timeout", "600", db=cli.db).status == 0


@ON_SQLITE
def test_an_index_that_was_ended_is_continued(cli: Own, layout: Callable[..., str]) -> None:
    """What was read until then is kept, and the next run reads the rest."""
    path = layout("a", *map(str, range(1_500)))
    ended = ran("add", path, "--timeout", "0.3", db=cli.db)
    assert ended.status in (0, 4)
    assert ran("add", path, db=cli.db).status == 0
    assert len(cli.done("query", "--store", "a", "--format", "{tag}").out.split()) == 1_500


@ON_SQLITE
def test_every_command_that_reads_has_a_memory_limit(stuck: str) -> None:
    processes = {each: started(stuck, *each) for each in (("resolve", "app:1"), ("stores",))}
    try:
        for arguments, process in processes.items():
            wait_for(lambda pid=process.pid: memory_of(pid) < 3 << 30, what=lambda each=arguments: each)  # type: ignore[misc]
    finally:
        for process in processes.values():
            process.kill()
            process.__exit__(None, None, None)


@ON_POSTGRESQL
def test_commands_end_at_their_limit_if_a_server_does_not_answer(cli: Own) -> None:
    url = cli.db.replace("+psycopg", "")
    with psycopg.connect(url) as locking:
        locking.execute("LOCK TABLE store, entry, store_blob, content, name, problem IN ACCESS EXCLUSIVE MODE")
        all_end(cli.db, *ASKED, ("db", "check"))
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with psycopg.connect(url, autocommit=True) as asking:
            wait_for(lambda: asking.execute(asked).fetchone() == (0,))


@ON_POSTGRESQL
def test_a_server_ends_what_it_does_for_a_process_that_was_killed(cli: Own, layout: Callable[..., str]) -> None:
    """Without that it would go on until the time limit, which a statement of `sql` can even remove."""
    cli.done("add", layout("a", "1"))
    url = cli.db.replace("+psycopg", "")
    endless = "SELECT set_config('statement_timeout', '0', false), count(*) FROM generate_series(1, 1000000000000)"
    asked = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND datname = current_database() AND pid <> ALL (%s)"
    with psycopg.connect(url) as locking, psycopg.connect(url, autocommit=True) as asking:
        locking.execute("LOCK TABLE store IN ACCESS EXCLUSIVE MODE")
        ours = [each.info.backend_pid for each in (locking, asking)]

        def busy() -> object:
            return (asking.execute(asked, (ours,)).fetchone() or (None,))[0]

        for command in (("stores",), ("index",), ("sql", endless)):
            with started(cli.db, *command) as process:
                wait_for(lambda: busy() == 1)
                process.kill()
            wait_for(lambda: busy() == 0, what=lambda each=command: each)  # type: ignore[misc]


@ON_POSTGRESQL
def test_a_copy_ends_at_its_time_limit_and_nothing_is_copied(cli: Own, layout: Callable[..., str]) -> None:
    own = f"{cli.directory}/file.db"
    assert ran("add", layout("a", "1"), db=own).status == 0
    with psycopg.connect(cli.db.replace("+psycopg", "")) as locking:
        locking.execute("LOCK TABLE content IN ACCESS EXCLUSIVE MODE")
        one_error(ran("db", "copy", "--to", cli.db, "--timeout", SECONDS, db=own), 4)
    assert cli.done("sql", "SELECT count(*) FROM stores").out == "0\n"


@ON_SQLITE
def test_verify_keeps_its_results_at_the_time_limit(cli: Own, layout: Callable[..., str]) -> None:
    cli.done("add", layout("a", "1", "2"))
    one_error(ran("verify", "--timeout", "0.000001", db=cli.db), 4, "1e-06", "kept", "--timeout")  # 1e-06
    assert "9 read" not in ran("verify", "--timeout", "600", db=cli.db).err
    assert cli("verify").err.startswith("ocicat: blobs: 0 read")


_SCRIPT = """
import sys, time
from catalog.cli import output
from catalog.cli.limits import Limits
from catalog.cli.messages import process
process.is_ours = True
with Limits(None, 3.0) as limits:
    with output.waits:
        time.sleep(3.3)
    limits.restart()
    print("waited", flush=True)
    time.sleep(60)
"""


def test_a_default_limit_does_not_count_waits() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, env=CLEAN, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (4, b"waited\n")
    assert done.stderr.startswith(b"ocicat: error: this took longer than 3 seconds")


_BROKEN = """
import sys, time
{}
from catalog.cli.limits import Limits
from catalog.cli.messages import process
process.is_ours = True
limits = Limits(None, 0.2)
with limits:
    {}
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("before", "within", "says"),
    [
        (
            "sys.modules['select'] = sys.modules['resource'] = None",
            "",
            True,
        ),  # Python's library may not be read any more
        ("", "limits._cancel = lambda: 1 / 0", True),
        ("", "sys.stderr.close()", False),
    ],
)
def test_the_time_limit_ends_the_command_without_a_traceback_whatever_fails(
    before: str, within: str, says: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BROKEN.format(before, within)], capture_output=True, env=CLEAN, timeout=60, check=False
    )
    assert done.returncode == 4
    assert done.stderr.count(b"\n") == says
    assert done.stderr.startswith(b"ocicat: error: this took longer than 0.2 seconds" if says else b"")


@ON_SQLITE
def test_a_stderr_that_nothing_reads_does_not_hold_up_a_command(stuck: str) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    try:
        process = subprocess.Popen(
            [OCICAT, "stores", "--timeout", "0.5"], env=CLEAN | {"OCICAT_DB": stuck}, stderr=writing
        )
        assert process.wait(60) == 4
    finally:
        os.close(reading)
        os.close(writing)


@ON_SQLITE
def test_a_limit_changes_nothing_for_a_command_in_time(cli: Own, layout: Callable[..., str]) -> None:
    cli.done("add", layout("a", "1", "2"))
    asked = (
        ("query",), ("query", ":1", "--format", "json"), ("check",), ("resolve", ":1"), ("resolve", ":1", "--first", "--fresh"),
        ("history", ":1"), ("diff", "a", "a"), ("changes",), ("inspect", ":1"), ("stores",), ("db", "check"), ("wait", ":1"),
    )  # fmt: skip
    for arguments in asked:
        for seconds in ("600", "1e300"):
            assert cli(*arguments, "--timeout", seconds) == cli(*arguments), arguments
        for bad in ("-1", "x", "nan", "inf"):
            one_error(cli(*arguments, "--timeout", bad), 2, "--timeout")
    one_error(cli("resolve", ":1", "--timeout", "0"), 2, "--timeout")


def memory_of(pid: int) -> float:
    """Return the limit of a process's address space in bytes, or infinity."""
    found = re.search(r"Max address space +(\d+)", Path(f"/proc/{pid}/limits").read_text())
    return math.inf if found is None else int(found[1])


@ON_SQLITE
def test_query_has_a_memory_limit(endless: str) -> None:
    process = subprocess.Popen(
        [OCICAT, "query", "-"], env=CLEAN | {"OCICAT_DB": endless}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:  # it waits for a reference
        wait_for(lambda: memory_of(process.pid) < 3 << 30)
    finally:
        process.kill()
        process.communicate()
