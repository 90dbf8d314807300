"""The tables and views in the code, the database that the migrations create, and the frozen statements agree.

alembic's own comparison misses partial and expression indexes, so the texts are compared.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from catalog.db import freeze, hosts, statements
from catalog.db.schema import APPLICATION_ID, SCHEMA_MAJOR, SCHEMA_MINOR, metadata, set_conditions_for_postgresql
from catalog.db.views import VIEWS
from catalog.engine import names
from catalog.engine.postgres import frozen as frozen_postgres
from catalog.engine.postgres.connect import conninfo
from catalog.engine.sqlite import frozen
from catalog.engine.sqlite.writer import SqliteWriter
from catalog.lookup.match import COLUMNS
from tests.forking import CLEAN, Code
from tests.postgres import Server

SQLITE: Dialect = sqlite.dialect()
POSTGRESQL: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


def from_tables(dialect: Dialect, engine: str) -> list[str]:
    """Return the statements that create the tables, indexes and views of the code."""
    set_conditions_for_postgresql()
    made = []
    for table in metadata.sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        made += [str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes]
    return made + [view.create(engine) for view in VIEWS]


def normal(statement: str) -> str:
    """Return a statement without irrelevant differences: white space, unnecessary quotes, the end."""
    text = re.sub(r"\s+", " ", statement).strip().rstrip(";")
    text = re.sub(r"\s*([(),])\s*", r"\1", text)
    return re.sub(r'"([a-z_]+)"', r"\1", text)


def objects(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the text of each table, index and view in the database, by name, except alembic's own table."""
    return {
        f"{kind} {name}": normal(sql)
        for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        if name != "alembic_version"
    }


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("schema") / "catalog.db")
    SqliteWriter(path).close()
    return path


def test_the_migrations_create_the_tables_of_the_code(migrated: str) -> None:
    by_tables = sqlite3.connect(":memory:")
    for statement in from_tables(SQLITE, "sqlite"):
        by_tables.execute(statement)
    by_migrations = sqlite3.connect(migrated)
    expected, found = objects(by_tables), objects(by_migrations)
    assert sorted(found) == sorted(expected)
    for name, text in expected.items():
        assert found[name] == text, name
    by_tables.close()
    by_migrations.close()


def test_the_catalog_knows_its_version(migrated: str) -> None:
    connection = sqlite3.connect(migrated)
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == (
        f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}",
    )
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert (frozen.SCHEMA_MAJOR, frozen.SCHEMA_MINOR) == (SCHEMA_MAJOR, SCHEMA_MINOR)
    connection.close()


def on_server(server: Server, url: str) -> dict[str, str]:
    """Return each column, index, constraint, view and comment of a database, as the server prints it."""
    database = url.partition("?")[0].rpartition("/")[2]
    found: dict[str, str] = {}
    for what in (
        (
            "SELECT 'column ' || table_name || '.' || column_name, concat_ws(' ', data_type, collation_name, is_nullable,"
            " column_default, is_identity) FROM information_schema.columns WHERE table_schema = 'public'"
        ),
        "SELECT 'index ' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT 'constraint ' || conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
        "SELECT 'view ' || viewname, definition FROM pg_views WHERE schemaname = 'public'",
        (
            "SELECT 'comment ' || concat_ws('.', relname, attname), description FROM pg_description"
            " JOIN pg_class ON pg_class.oid = objoid AND relkind = 'v'"
            " LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND objsubid > 0"
            " WHERE relnamespace = 'public'::regnamespace"
        ),
    ):
        found.update((str(key), str(value)) for key, value in server.ask(what, database))
    return {key: value for key, value in found.items() if "alembic_version" not in key}


def test_the_migrations_make_the_same_on_postgresql(server: Server) -> None:
    by_migrations, by_tables = server.new_catalog(), server.new_database()
    with psycopg.connect(conninfo(by_tables)) as connection:
        for statement in from_tables(POSTGRESQL, "postgresql") + [c for view in VIEWS for c in view.comments()]:
            connection.execute(statement)
    expected, found = on_server(server, by_tables), on_server(server, by_migrations)
    assert sorted(found) == sorted(expected)
    for name, text in expected.items():
        assert found[name] == text, name
    assert found["comment images.digest"] == "digest of the descriptor"


def test_the_postgresql_texts_compare_bytewise_and_fit_its_limits() -> None:
    for statement in from_tables(POSTGRESQL, "postgresql"):
        for line in statement.splitlines():
            if "VARCHAR" in line:
                assert 'COLLATE "C"' in line, line
        (name,) = re.findall(r"^\s*CREATE (?:UNIQUE )?(?:TABLE|INDEX|VIEW) (\w+)", statement)
        assert len(name) < 64


def test_the_frozen_statements_are_those_of_their_source() -> None:
    assert Path(frozen.__file__).read_text() == freeze.render(), "run 'make freeze'"
    assert Path(names.__file__).read_text() == freeze.names(), "run 'make freeze'"
    assert Path(frozen_postgres.__file__).read_text() == hosts.render(), "run 'make freeze'"


def test_a_match_reads_the_columns_that_the_statements_yield() -> None:
    assert tuple(statements.MATCH) == COLUMNS


def test_each_fetch_hint_belongs_to_a_statement() -> None:
    assert set(statements.FETCH) <= set(statements.STATEMENTS)


def test_freeze_check_reports_stale_files(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "catalog.db.freeze", "--check"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    script = (
        "import sys; from catalog.db import freeze; freeze.render = lambda: 'other';"
        "sys.argv = ['x', '--check']; sys.exit(freeze.main())"
    )
    done = subprocess.run(Code(script), capture_output=True, check=False, env=CLEAN)
    assert done.returncode == 1
    assert b"make freeze" in done.stderr


def test_every_frozen_statement_runs_on_a_migrated_catalog(migrated: str) -> None:
    connection = sqlite3.connect(migrated)
    for name in statements.STATEMENTS:
        text = frozen.STATEMENTS[name]
        parameters = dict.fromkeys(re.findall(r":([a-z_]+)", text), "x") | {"ids": "[1]", "count": 1}
        connection.execute(text, parameters).fetchall()
    connection.close()


def test_every_foreign_key_has_an_index_to_delete_by(migrated: str) -> None:
    """Without one, deleting a parent would search all children."""
    connection = sqlite3.connect(migrated)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        leading = set()
        for _, name, *_ in connection.execute(f"PRAGMA index_list({table})"):
            leading.add(connection.execute(f"PRAGMA index_info({name})").fetchone()[2])
        for column in connection.execute(f"PRAGMA table_info({table})"):
            if column[5] == 1:
                leading.add(column[1])
        for _, _, parent, child, _, _, on_delete, _ in connection.execute(f"PRAGMA foreign_key_list({table})"):
            if on_delete == "CASCADE" and parent != "host":  # a host is never deleted
                assert child in leading, f"{table}.{child} references {parent} and no index begins with it"
    connection.close()


def test_the_views_document_each_column(migrated: str) -> None:
    connection = sqlite3.connect(migrated)
    for view in VIEWS:
        cursor = connection.execute(f"SELECT * FROM {view.name}")
        assert [column[0] for column in cursor.description] == [name for name, _, _ in view.columns]
        assert view.sentence
        for name, _, documentation in view.columns:
            assert documentation, f"{view.name}.{name}"
            assert "\n" not in documentation
    connection.close()


def test_a_writer_of_a_file_loads_nothing_of_postgresql() -> None:
    """Its dialect brings all its drivers, which is a third of what a writer loads."""
    code = "import sys, catalog.ingest.sweep, catalog.engine.sqlite.writer; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "catalog.db.schema" in loaded
    assert [name for name in loaded if "postgres" in name or "psycopg" in name] == []
