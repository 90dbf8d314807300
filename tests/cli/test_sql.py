"""`ocicat sql` as a command: statements, parameters, formats, limits. tests/reports/test_gate.py has what it must refuse."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from catalog.db.views import VIEWS
from tests.cli.conftest import SHOWN, Own, Shelf
from tests.cli.program import one_error, ran
from tests.conftest import ON_SQLITE
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import wait_for

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


def test_a_statement_from_the_argument_or_stdin(shelf: Shelf) -> None:
    statement = "SELECT digest FROM images WHERE name = 'docker.io/library/ctr:3.16'"
    expected = (0, shelf.digests["ctr", "3.16"] + "\n", "")
    assert shelf.ask("sql", statement) == expected
    assert shelf.ask("sql", statement + " ; ") == expected
    assert shelf.ask("sql", stdin=statement.encode()) == expected
    assert shelf.ask("sql", stdin=f"-- a comment\n{statement};\n".encode()) == expected


def test_parameters_are_values_and_not_sql(shelf: Shelf) -> None:
    result = shelf.ask(
        "sql", "SELECT count(*) FROM images WHERE tag = :tag AND store = :store", "-p", "tag=3.16", "-p", "store=solo"
    )
    assert result.out == "1\n"
    assert shelf.ask("sql", "SELECT :a", "-p", "a=x'; DROP TABLE store; --=1").out == "x'; DROP TABLE store; --=1\n"
    assert shelf.ask("sql", "SELECT :a", "-p", "a=").out == "\n"
    assert shelf.ask("sql", "SELECT count(*) FROM images WHERE size > :size", "-p", "size=400").out != "0\n"
    one_error(shelf.ask("sql", "SELECT :a"), 2, ":a")
    one_error(shelf.ask("sql", "SELECT ?"), 2)
    for bad in ("a", "=x", "1=x", "a b=x", ""):
        one_error(shelf.ask("sql", "SELECT :a", "-p", bad), 2, "-p NAME=VALUE")


@ON_SQLITE
def test_formats(shelf: Shelf) -> None:
    statement = "SELECT 1 AS one, NULL AS none, 'a\tb' AS text, 1.5 AS real, x'00ff' AS blob, 9e999 AS big"
    assert shelf.ask("sql", statement).out == "1\t\ta\\tb\t1.5\t00ff\tinf\n"
    assert json.loads(shelf.ask("sql", statement, "--format", "json").out) == [
        {"one": 1, "none": None, "text": "a\tb", "real": 1.5, "blob": "00ff", "big": None}
    ]
    assert (
        shelf.ask("sql", statement, "--format", "csv").out == "one,none,text,real,blob,big\r\n1,,a\\tb,1.5,00ff,inf\r\n"
    )
    assert shelf.ask("sql", statement, "--format", "{one}-{none}-{text}").out == "1--a\\tb\n"
    assert shelf.ask("sql", statement, "--format", "table").lines[0].split() == [
        "ONE",
        "NONE",
        "TEXT",
        "REAL",
        "BLOB",
        "BIG",
    ]
    assert shelf.ask("sql", "SELECT 1 WHERE 0", "--format", "json").out == "[]\n"
    one_error(shelf.ask("sql", statement, "--format", "{bogus}"), 2, "bogus", "one")
    one_error(shelf.ask("sql", statement, "--format", "bogus"), 2, "bogus")


def test_columns_with_the_same_name_are_distinguished(shelf: Shelf) -> None:
    result = shelf.ask("sql", 'SELECT 1 AS a, 2 AS a, 3 AS "a:1", 4 AS a', "--format", "json")
    (row,) = json.loads(result.out)
    assert sorted(row.values()) == [1, 2, 3, 4]


def test_a_column_may_be_called_anything(shelf: Shelf) -> None:
    for format_ in ("table", "csv"):
        result = shelf.ask("sql", 'SELECT 1 AS "\x1b[31m\t\n"', "--format", format_)
        assert result.lines[0].rstrip("\r").isprintable()
        assert len(result.lines) == 2


def test_text_from_layouts_is_escaped(shelf: Shelf) -> None:
    result = shelf.ask("sql", "SELECT path FROM stores WHERE name LIKE 'images/odd%'")
    assert result.out == f"{shelf.root}/odd{SHOWN}\n"


@pytest.mark.parametrize(
    "stdin", [b"", b"  \n", b"-- only a comment", b";", b"\x00", b"SELECT '\xff'", b"SELECT 1\x00"]
)
def test_an_empty_statement_and_invalid_utf_8(shelf: Shelf, stdin: bytes) -> None:
    one_error(shelf.ask("sql", stdin=stdin), 2)


def test_schema_prints_each_view_with_its_columns(shelf: Shelf) -> None:
    result = shelf.ask("sql", "--schema")
    assert (result.status, result.err) == (0, "")
    for view in VIEWS:
        assert f"CREATE VIEW {view.name} AS -- {view.sentence}" in result.out
        for name, _, documentation in view.columns:
            assert any(line.endswith(f"-- {documentation}") and f" AS {name}" in line for line in result.lines), (
                view.name,
                name,
            )


# Limits


def test_the_first_row_comes_long_before_the_last(shelf: Shelf) -> None:
    with subprocess.Popen(
        [OCICAT, "sql", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN | {"OCICAT_DB": shelf.db}
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [process.stdout.readline() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == b""


HEAVY = "SELECT instr(hex(zeroblob(4000000)), hex(zeroblob(2000000)) || '1')"
"""A single instruction of SQLite that takes hours."""


@ON_SQLITE
@pytest.mark.parametrize("statement", [f"SELECT count(*) FROM ({ENDLESS})", HEAVY])
def test_the_time_limit_has_status_4(shelf: Shelf, statement: str) -> None:
    one_error(ran("sql", statement, "--timeout", "0.3", db=shelf.db), 4, "0.3 seconds", "--timeout")


def test_a_slow_reader_does_not_count_as_a_slow_statement(shelf: Shelf) -> None:
    with subprocess.Popen(
        [OCICAT, "sql", f"{ENDLESS} LIMIT 60000", "--timeout", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN | {"OCICAT_DB": shelf.db},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        time.sleep(2.5)  # the reader takes longer than the limit
        assert len(process.stdout.readlines()) == 59_999
        assert process.stderr.read() == b""
        assert process.wait(20) == 0


def opened_below(pid: int) -> set[str]:
    """Return the files that the children of a process have open. The catalog is among them once a statement runs."""
    found = set()
    with contextlib.suppress(OSError):  # it has ended in the meantime
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found |= {os.readlink(each) for each in Path(f"/proc/{child}/fd").iterdir()}
    return found


@ON_SQLITE
@pytest.mark.parametrize("statement", [f"SELECT count(*) FROM ({ENDLESS})", ENDLESS, HEAVY])
def test_ctrl_c_ends_it_at_once(shelf: Shelf, statement: str) -> None:
    with subprocess.Popen(
        [OCICAT, "sql", statement],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=CLEAN | {"OCICAT_DB": shelf.db},
    ) as process:
        wait_for(lambda: shelf.db in opened_below(process.pid))
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert process.stderr.read().strip() == b""


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT " + ", ".join(["hex(zeroblob(30000000))"] * 12),
        "SELECT group_concat(hex(zeroblob(10000000))) FROM stores",
        "SELECT zeroblob(1000000000)",
        "SELECT replace(hex(zeroblob(10000000)), '0', hex(zeroblob(1000)))",
    ],
)
def test_memory_is_bounded(shelf: Shelf, statement: str) -> None:
    script = "import resource, subprocess, sys; r = subprocess.run(sys.argv[1:], capture_output=True); sys.stderr.buffer.write(r.stderr); print(r.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run(
        ["python3", "-c", script, OCICAT, "sql", statement, "--timeout", "30"],
        capture_output=True, env=CLEAN | {"OCICAT_DB": shelf.db}, timeout=60, check=True,
    )  # fmt: skip
    status, kilobytes = map(int, done.stdout.split())
    assert status in (2, 4)
    assert kilobytes < 900_000
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("ocicat: error: ")
    assert "defect" not in line


@pytest.mark.parametrize("timeout", ["0", "-1", "x", ""])
def test_a_bad_time_limit(shelf: Shelf, timeout: str) -> None:
    one_error(shelf.ask("sql", "SELECT 1", "--timeout", timeout), 2, "--timeout")


def test_a_statement_reads_one_state_of_the_catalog(cli: Own) -> None:
    cli.done("db", "upgrade")
    assert cli.done("sql", "SELECT count(*) FROM stores").out == "0\n"
