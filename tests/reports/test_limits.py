"""The limits of SQL: a statement ends at its time limit and with its caller, and no row or sort takes all memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.program import Ran, called, one_error, ran
from tests.conftest import ON_POSTGRESQL, ON_SQLITE, Catalogue
from tests.effort import pairs
from tests.forking import CLEAN, OCICAT
from tests.reports.test_gate import PRIVATE
from tests.watch.harness import wait_for

ZEROS = "hex(zeroblob({}))"
LONG = {
    "instr": f"SELECT instr({ZEROS.format(4_000_000)}, {ZEROS.format(2_000_000)} || '1')",
    "replace": f"SELECT replace({ZEROS.format(4_000_000)}, {ZEROS.format(2_000_000)} || '1', '')",
    "glob": f"SELECT {ZEROS.format(7_000_000)} GLOB '*' || {ZEROS.format(2000)} || '1'",
    "like": f"SELECT {ZEROS.format(7_000_000)} LIKE '%' || {ZEROS.format(2000)} || '1'",
    "trim": f"SELECT ltrim({ZEROS.format(7_000_000)}, replace(hex(zeroblob(700000)), '00', 'b') || '0')",
    "many": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
}
"""Statements that take minutes, nearly all of that within one instruction of SQLite."""
LONG_ON_POSTGRESQL = {
    "sleep": "SELECT pg_sleep(600)",
    "undone": "SELECT set_config('statement_timeout', '0', false), pg_sleep(0.5) FROM generate_series(1, 1000)",
    "many": "SELECT count(*) FROM generate_series(1, 100000000000) AS n",
}


@pytest.fixture(scope="session")
def db(tmp_path_factory: pytest.TempPathFactory, new_catalogue: Callable[[str], Catalogue]) -> str:
    return new_catalogue(str(tmp_path_factory.mktemp("limits"))).path


def running(mark: str) -> list[int]:
    """Return the processes that have `mark` in their environment."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                environment = (each / "environ").read_bytes()
            except OSError:
                continue  # it has ended in the meantime, or belongs to another user
            if f"MARK={mark}\0".encode() in environment + b"\0":
                found.append(int(each.name))
    return found


@ON_SQLITE
def test_one_instruction_ends_at_the_time_limit_and_leaves_no_process(db: str) -> None:
    """All at once: each computes until it is killed, as long by the clock beside the others as alone."""

    def ask(name: str) -> Ran:
        return ran("sql", LONG[name], "--timeout", "0.3", db=db, env={"MARK": name})

    with ThreadPoolExecutor(len(LONG)) as pool:
        for name, ended in zip(LONG, pool.map(ask, LONG), strict=True):
            one_error(ended, 4, "0.3 seconds", "--timeout")
            wait_for(lambda name=name: not running(name))  # type: ignore[misc]


@ON_POSTGRESQL
@pytest.mark.parametrize("name", sorted(LONG_ON_POSTGRESQL))
def test_a_statement_on_a_server_ends_there_too(db: str, name: str) -> None:
    statement = LONG_ON_POSTGRESQL[name]
    one_error(ran("sql", statement, "--timeout", "0.7", db=db, env={"MARK": name}), 4, "0.7 seconds")
    asked = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%' || :a || :b || '%'"
    a, b = ("pg_sl", "eep(") if name != "many" else ("generate_", "series(")
    wait_for(lambda: called("sql", asked, "-p", f"a={a}", "-p", f"b={b}", db=db).out == "0\n")
    wait_for(lambda: not running(name))


@ON_SQLITE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
@pytest.mark.parametrize("statement", ["instr", "many"])
def test_a_statement_ends_with_its_caller(db: str, statement: str, number: signal.Signals) -> None:
    mark = f"{statement}-{number.name}"
    process = subprocess.Popen(
        ["env", "--default-signal", OCICAT, "sql", LONG[statement], "--timeout", "600"],  # nohup ignores HUP
        env=CLEAN | {"MARK": mark, "OCICAT_DB": db}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_for(lambda: any(_cpu_ticks(pid) > 20 for pid in running(mark) if pid != process.pid))
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == (130 if number == signal.SIGINT else -number)
        assert said.strip() == b""
        wait_for(lambda: not running(mark))
    finally:
        process.kill()
        process.communicate()


def _cpu_ticks(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
    except OSError:
        return 0


_MEASURED = """
import resource, sys
from catalog.errors import OcicatError
from catalog.engine.open import open_reader
from catalog.reports import gate
reader = open_reader(sys.argv[1])
try:
    count = sum(1 for _ in gate.statements_of(reader, 60).run(sys.argv[2], {})[1])
except OcicatError as error:
    count = f"{type(error).__name__}: {error}"
for worker in gate._workers._idle:
    worker.end()
# Not ru_maxrss for its own: that begins with the size of the process that started this one.
(own,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(own) >> 10, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10, count)
"""


def measured(db: str, statement: str) -> tuple[int, int, str]:
    """Return the peak memory in MiB of the command and of the process that runs the statement, and the rows or the error."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, db, statement],
        env=CLEAN | {"PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    asking, running_, count = done.stdout.rstrip("\n").split(" ", 2)
    return int(asking), int(running_), count


MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {1}) SELECT {0} FROM n"
TOO_LARGE = {
    "one value": "SELECT zeroblob(100000000)",
    "wide": "SELECT " + ", ".join([ZEROS.format(7_000_000)] * 7),
    "columns": "SELECT " + ", ".join(["zeroblob(1000000)"] * 256),
    "sorted": f"SELECT count(*) FROM ({MANY.format(f'i || {ZEROS.format(500_000)} AS x', 2000)} ORDER BY x)",
    "distinct": f"SELECT count(DISTINCT x) FROM ({MANY.format(f'i || {ZEROS.format(500_000)} AS x', 2000)})",
    "together": f"SELECT length(group_concat(x)) FROM ({MANY.format(ZEROS.format(500_000) + ' AS x', 2000)})",
}


@ON_SQLITE
@pytest.mark.parametrize("name", sorted(TOO_LARGE))
def test_a_statement_that_needs_too_much_memory_is_refused(db: str, name: str) -> None:
    asking, running_, said = measured(db, TOO_LARGE[name])
    assert said.startswith(("NotInTime: ", "RefusedSQL: the statement is wrong: string or blob too big"))
    assert asking < 100
    assert running_ < 700


@ON_SQLITE
def test_more_columns_than_a_row_may_have_are_refused(db: str) -> None:
    one_error(called("sql", "SELECT " + ", ".join(["1"] * 2000), db=db), 2, "too many columns")
    one_error(called("sql", "SELECT 1 -- " + "x" * (1 << 20), db=db), 2)
    one_error(called("sql", f"SELECT 'x' LIKE {ZEROS.format(10_000)}", db=db), 2, "pattern too complex")


def test_large_rows_are_streamed(db: str, engine: str) -> None:
    of_a_size = "repeat(repeat('x', 1000), 3000)" if engine == "postgresql" else ZEROS.format(1_500_000)
    found = [measured(db, MANY.format(of_a_size, rows)) for rows in (10, 40)]
    assert [rows for _, _, rows in found] == ["10", "40"]
    few, many = (max(asking, running_) for asking, running_, _ in found)
    assert many < few + 30


@ON_POSTGRESQL
def test_a_row_of_a_server_that_is_too_large_is_refused(db: str) -> None:
    for thousands in (20_000, 300_000):
        statement = f"SELECT repeat(repeat('x', 1000), {thousands})"  # which is made much faster than one by one
        asking, running_, said = measured(db, statement)
        assert said.startswith("NotInTime: "), said
        assert asking < 150
        assert running_ < 700


@ON_SQLITE
def test_a_table_keeps_few_large_rows_back(db: str) -> None:
    statement = MANY.format(ZEROS.format(1_500_000), 45)
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)"
    done = subprocess.run(
        [sys.executable, "-c", script, OCICAT, "sql", statement, "--format", "table"],
        env=CLEAN | {"OCICAT_DB": db}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 120


@ON_SQLITE
@pytest.mark.parametrize(
    ("table", "statement"),
    pairs(
        [name for name in PRIVATE if name not in ("sqlite_sequence", "dbstat", "alembic_version")],
        [
            "WITH images AS (SELECT * FROM {0}) SELECT * FROM images", "WITH stores AS MATERIALIZED (SELECT * FROM {0}) SELECT count(*) FROM stores",
            "WITH RECURSIVE below AS (SELECT * FROM {0}) SELECT * FROM below", 'WITH "images" AS (SELECT rowid FROM main.{0}) SELECT * FROM "images"',
            "SELECT count(*) FROM {0}", "SELECT count(*) FROM main.{0} AS images", "SELECT EXISTS (SELECT 1 FROM {0})", "SELECT 1 FROM images, {0} LIMIT 1",
            "SELECT * FROM images WHERE name IN {0}", "WITH images AS (SELECT (SELECT count(*) FROM {0})) SELECT * FROM images",
        ],
    ),
)  # fmt: skip
def test_a_private_table_is_refused_by_any_name_and_cannot_be_counted(db: str, table: str, statement: str) -> None:
    result = called("sql", statement.format(table), db=db)
    one_error(result, 2)
    assert result.out == ""


@ON_SQLITE
def test_the_catalog_has_no_name_that_a_statement_could_say(db: str) -> None:
    for statement in ("EXPLAIN SELECT * FROM images, blobs", "EXPLAIN QUERY PLAN SELECT count(*) FROM images, stores"):
        found = called("sql", statement, db=db)
        assert found.status == 0
        assert "catalog_" not in found.out
    for schema in ("main", "temp", "catalog"):
        for result in _of_schema(db, schema):
            one_error(result, 2)


def _of_schema(db: str, schema: str) -> list[Ran]:
    return [called("sql", f"SELECT {what} FROM {schema}.store", db=db) for what in ("*", "count(*)", "1")]


@ON_SQLITE
def test_names_of_private_tables_are_free_for_a_statements_own(db: str) -> None:
    statement = "WITH store AS (SELECT 1 AS a UNION ALL SELECT 2), name(b) AS (SELECT abs(a) FROM store) SELECT sum(b) FROM name"
    assert called("sql", statement, db=db).out == "3\n"


_LARGE = """
import sys
ballast = b"x" * (200 << 20)
from catalog.engine.open import open_reader
from catalog.reports import gate
reader = open_reader(sys.argv[1])
for statement in ("SELECT 1", "SELECT 2"):
    list(gate.statements_of(reader).run(statement, {})[1])
    print(*(worker.process.pid for worker in gate._workers._idle))
"""


@ON_SQLITE
def test_a_large_process_also_keeps_the_one_that_has_answered(db: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, db],
        env=CLEAN | {"PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    assert first == second != ""


@ON_SQLITE
def test_a_process_that_was_killed_is_replaced(db: str) -> None:
    from catalog.engine.sqlite.reader import SqliteReader
    from catalog.reports import gate

    reader = SqliteReader(db)
    try:
        assert list(gate.statements_of(reader).run("SELECT 1", {})[1]) == [(1,)]
        for worker in gate._workers._idle:
            os.kill(worker.process.pid, signal.SIGKILL)
            worker.process.wait()
        assert list(gate.statements_of(reader).run("SELECT 2", {})[1]) == [(2,)]
    finally:
        reader.close()
