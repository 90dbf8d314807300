"""SQL can only read the public views. Everything else is refused, and nothing is written."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.db.views import VIEWS
from catalog.engine.sqlite.reader import SqliteReader
from catalog.errors import NotInTime, RefusedSQL
from catalog.reports.gate import Statements
from tests import writers
from tests.cli.program import called, one_error

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> str:
    base = tmp_path_factory.mktemp("gate")
    (base / "settings.toml").write_text("[watch]\nsettle_ms = 0\n")
    path = writers.make_layout(str(base / "layout"))
    entries = list(writers.big_entries(50))
    writers.write_index(path, writers.empty_index(*entries, {"digest": "nonsense"}))
    assert called("--config", str(base / "settings.toml"), "add", path, db=str(base / "c.db")).status == 0
    writers.write_index(path, writers.empty_index(*entries[10:], {"digest": "nonsense"}))
    assert called("--config", str(base / "settings.toml"), "index", db=str(base / "c.db")).status == 0
    return str(base / "c.db")


@pytest.fixture
def gate(db: str) -> Iterator[Statements]:
    reader = SqliteReader(db)
    yield Statements(reader, 5)
    reader.close()


def state(directory: str) -> dict[str, bytes]:
    """Return the contents of every file except SQLite's shared memory, in which readers set marks."""
    return {
        each.name: each.read_bytes()
        for each in Path(directory).iterdir()
        if each.is_file() and not each.name.endswith("-shm")
    }


REFUSED = (
    "ATTACH 'other.db' AS other", "ATTACH ':memory:' AS m", "DETACH main",
    "VACUUM", "VACUUM INTO 'copy.db'", "REINDEX", "ANALYZE",
    "BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK", "SAVEPOINT s",
    "PRAGMA journal_mode=DELETE", "PRAGMA journal_mode", "PRAGMA query_only=OFF", "PRAGMA writable_schema=ON",
    "PRAGMA table_info(images)", "PRAGMA database_list", "PRAGMA hard_heap_limit=0", "PRAGMA user_version=7",
    "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA integrity_check", "PRAGMA data_version",
    "SELECT * FROM pragma_table_info('images')", "SELECT * FROM pragma_database_list", "SELECT count(*) FROM pragma_database_list",
    "SELECT count(*) FROM pragma_table_list", "SELECT 1 FROM pragma_user_version",
    "INSERT INTO store (id) VALUES (1)", "INSERT INTO stores (name) VALUES ('x')", "REPLACE INTO meta VALUES ('schema', '9.9')",
    "UPDATE store SET name = 'x'", "UPDATE images SET tag = 'x'", "DELETE FROM store", "DELETE FROM images",
    "WITH x AS (SELECT 1) DELETE FROM entry", "INSERT INTO meta SELECT 'a', 'b'", "UPDATE meta SET value = '9.9' RETURNING value",
    "CREATE TABLE x (a)", "CREATE TEMP TABLE x (a)", "CREATE TEMP TABLE x AS SELECT * FROM images", "CREATE VIEW v AS SELECT 1",
    "CREATE TEMP VIEW v AS SELECT 1", "CREATE INDEX i ON store (name)", "CREATE VIRTUAL TABLE f USING fts5(x)",
    "CREATE TEMP TRIGGER t AFTER INSERT ON store BEGIN SELECT 1; END", "ALTER TABLE store ADD COLUMN x", "ALTER TABLE store RENAME TO y",
    "DROP TABLE store", "DROP VIEW images", "DROP INDEX ix_name_name",
    "SELECT load_extension('x')", "SELECT load_extension('x', 'y')", "SELECT fts3_tokenizer('simple')",
    "SELECT LOAD_EXTENSION('x') FROM images", "EXPLAIN DELETE FROM store",
)  # fmt: skip

PRIVATE = ("meta", "host", "root", "store", "left_out", "entry", "name", "name_span", "answer_span", "store_span", "moment", "content", "repository", "problem",
           "alembic_version", "sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_sequence", "dbstat")  # fmt: skip


@pytest.mark.parametrize("statement", REFUSED)
def test_what_does_more_than_read_is_refused(db: str, statement: str) -> None:
    directory = os.path.dirname(db)
    before = state(directory)
    here = os.getcwd()
    os.chdir(directory)
    try:
        result = called("sql", statement, db=db)
    finally:
        os.chdir(here)
    message = one_error(result, 2, "'ocicat sql --schema'")
    assert "refused" in message or "wrong" in message
    assert result.out == ""
    assert state(directory) == before


@pytest.mark.parametrize("table", PRIVATE)
def test_private_tables_are_refused(db: str, table: str) -> None:
    for statement in (f"SELECT * FROM {table}", f"SELECT rowid FROM {table}", f"SELECT (SELECT max(rowid) FROM {table}) FROM images",
                      f"SELECT * FROM images JOIN {table}", f"SELECT name FROM stores UNION SELECT rowid FROM main.{table}"):  # fmt: skip
        one_error(called("sql", statement, db=db), 2)


@pytest.mark.parametrize(
    "statement", ["", " ", ";", "--", "/* x */", "SELECT 1; SELECT 2", "SELECT 1; DROP TABLE store", "SELEC", "SELECT", "SELECT '", "\x00", "SELECT nope FROM images", "SELECT * FROM nope", "SELECT nope(1)", "é"]
)  # fmt: skip
def test_an_invalid_statement_is_refused(db: str, statement: str) -> None:
    result = (
        called("sql", statement, db=db) if "\x00" not in statement else called("sql", db=db, stdin=statement.encode())
    )
    one_error(result, 2)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1", "VALUES (1), (2)", "SELECT * FROM images LIMIT 1", "WITH t AS (SELECT tag, count(*) AS n FROM images GROUP BY tag) SELECT * FROM t",
        "SELECT count(*) FROM images", "SELECT 1 FROM images", "SELECT count(*) FROM snapshots", "SELECT max(size) OVER (), i.tag FROM images AS i",
        "SELECT s.name, i.tag FROM stores AS s LEFT JOIN images AS i ON i.store = s.name", "SELECT json_extract('[1]', '$[0]')",
        "SELECT value FROM json_each('[1, 2]')", "SELECT i.tag, j.key FROM images AS i, json_tree('[1]') AS j", "SELECT * FROM images WHERE name GLOB 'docker.io/*' AND tag LIKE '1.%' ORDER BY size",
        "SELECT upper(tag), length(digest), substr(digest, 8, 6), strftime('%Y', since) FROM images", "EXPLAIN SELECT 1", "EXPLAIN QUERY PLAN SELECT * FROM images WHERE name = 'x'",
        "SELECT * FROM (SELECT * FROM unnamed UNION ALL SELECT * FROM unnamed)", "SELECT group_concat(tag) FROM images GROUP BY store",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5) SELECT i FROM n", "SELECT * FROM images EXCEPT SELECT * FROM images",
    ],
)  # fmt: skip
def test_reading_is_allowed(db: str, statement: str) -> None:
    result = called("sql", statement, db=db)
    assert (result.status, result.err) == (0, "")


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_every_view_with_each_of_its_columns(db: str, view: object) -> None:
    name = view.name  # type: ignore[attr-defined]
    columns = [column for column, _, _ in view.columns]  # type: ignore[attr-defined]
    whole = called("sql", f"SELECT * FROM {name}", "--format", "csv", db=db)
    assert (whole.status, whole.err) == (0, "")
    assert whole.lines[0].rstrip("\r").split(",") == columns
    for column in columns:
        one = called("sql", f"SELECT {column} FROM {name} ORDER BY {column}", db=db)
        assert (one.status, one.err) == (0, ""), column
        assert len(one.lines) == len(whole.lines) - 1
    assert called("sql", f"SELECT count(*) FROM {name}", db=db).out == f"{len(whole.lines) - 1}\n"


def test_the_views_of_these_layouts_have_rows(db: str) -> None:
    for view, at_least in (
        ("stores", 1),
        ("images", 30),
        ("unnamed", 5),
        ("annotations", 5),
        ("history", 40),
        ("snapshots", 2),
        ("problems", 1),
    ):
        assert int(called("sql", f"SELECT count(*) FROM {view}", db=db).out) >= at_least, view


def test_times_are_text_of_one_width(db: str) -> None:
    pattern = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    for view, column in (
        ("stores", "state_since"),
        ("stores", "indexed_at"),
        ("images", "since"),
        ("snapshots", "at"),
        ("history", "since"),
    ):
        for line in called("sql", f"SELECT {column} FROM {view}", db=db).lines:
            assert pattern.fullmatch(line)
    assert called("sql", "SELECT count(*) FROM images WHERE since > '2020-01-01'", db=db).out != "0\n"


# The gate itself


def test_rows_are_read_on_demand(gate: Statements) -> None:
    columns, rows = gate.run(ENDLESS.replace("count(*)", "i"), {})
    assert columns == ("i",)
    assert [next(rows) for _ in range(3)] == [(1,), (2,), (3,)]
    rows.close()  # type: ignore[attr-defined]


def test_one_statement_after_another(gate: Statements) -> None:
    for _ in range(3):
        assert list(gate.run("SELECT :a", {"a": "x"})[1]) == [("x",)]
        with pytest.raises(RefusedSQL):
            gate.run("DELETE FROM store", {})
        with pytest.raises(RefusedSQL, match="wrong"):  # an earlier refusal has no effect
            gate.run("nonsense", {})


def test_the_time_limit(db: str) -> None:
    reader = SqliteReader(db)
    gate = Statements(reader, 0.2)
    for _ in range(2):
        with pytest.raises(NotInTime, match=r"0\.2 seconds"):
            list(gate.run(ENDLESS, {})[1])
    assert list(gate.run("SELECT 1", {})[1]) == [(1,)]
    reader.close()
    for thread in threading.enumerate():
        if "(_watch)" in thread.name:
            thread.join(20)
            assert not thread.is_alive()


def test_signal_handlers_are_restored_afterwards(gate: Statements) -> None:
    before = signal.getsignal(signal.SIGINT)
    for statement in ("SELECT 1", "SELECT 1 WHERE 0"):
        gate.run(statement, {})  # and its rows are not read
        list(gate.run(statement, {})[1])
    for wrong in ("nonsense", "", "DELETE FROM store"):
        with pytest.raises(RefusedSQL):
            gate.run(wrong, {})
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_it_works_in_threads_that_receive_no_signals(db: str) -> None:
    found: list[object] = []

    def ask() -> None:
        reader = SqliteReader(db)
        gate = Statements(reader, 0.1)
        found.extend(gate.run("SELECT 1", {})[1])
        with pytest.raises(NotInTime):
            list(gate.run(ENDLESS, {})[1])
        reader.close()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(20)
    assert found == [(1,)]


def test_a_damaged_catalog_is_not_reported_as_a_wrong_statement(db: str, tmp_path: Path) -> None:
    import sqlite3

    path = str(tmp_path / "c.db")
    shutil.copyfile(db, path)
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entry'").fetchone()
    connection.close()
    with open(path, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    one_error(called("sql", "SELECT * FROM images", db=path), 4, "damaged")
