"""`--timeout` and memory of the commands that only ask: whatever the catalog has them do, they end."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests import writers
from tests.cli.conftest import Own
from tests.cli.program import CLEAN, OCICAT, one_error, ran
from tests.conftest import ON_SQLITE
from tests.watch.harness import wait_for

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@pytest.fixture
def endless(cli: Own) -> str:
    """A catalog in which every question about entries and every one about problems has no end."""
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
        assert process.wait(20) == 4  # nobody reads stdout, or writes stdin
        assert process.stderr is not None
        last = process.stderr.read().decode().splitlines()[-1]
        assert last.startswith("ocicat: error: this took longer than 0.7 seconds")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")
@pytest.mark.parametrize("arguments", [("query", ":1"), ("query", "--format", "json", "app"), ("check",)])
def test_on_a_server_that_lets_them_wait_they_end_too(cli: Own, arguments: tuple[str, ...]) -> None:
    with psycopg.connect(cli.db.replace("+psycopg", "")) as locking:
        locking.execute("LOCK TABLE entry, store_blob, content, name, problem IN ACCESS EXCLUSIVE MODE")
        result = ran(*arguments, "--timeout", "1", db=cli.db)
        one_error(result, 4, "1 seconds", "--timeout")
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with psycopg.connect(cli.db.replace("+psycopg", ""), autocommit=True) as asking:
            wait_for(lambda: asking.execute(asked).fetchone() == (0,))


@ON_SQLITE
def test_in_time_nothing_is_different(cli: Own, layout: Callable[..., str]) -> None:
    cli.done("add", layout("a", "1", "2"))
    for arguments in (("query",), ("query", ":1", "--format", "json"), ("check",)):
        assert cli(*arguments, "--timeout", "600") == cli(*arguments)
    for bad in ("0", "-1", "x"):
        for command in ("query", "check"):
            one_error(cli(command, "--timeout", bad), 2, "--timeout")


@ON_SQLITE
def test_query_has_a_limit_of_memory(endless: str) -> None:
    process = subprocess.Popen(
        [OCICAT, "query", "--format", "json"], env=CLEAN | {"OCICAT_DB": endless}, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.read(1)  # it has begun, and is stuck in what is not read
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        found = re.search(r"Max address space +(\d+)", limits)
        assert found is not None
        assert int(found[1]) < 3 << 30
    finally:
        process.kill()
        process.communicate()
