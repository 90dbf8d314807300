"""A catalog of an older version: readers refuse it with advice, writers upgrade it, and nothing is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from catalog.db.migrate import run_migrations
from catalog.db.schema import APPLICATION_ID, SCHEMA_MAJOR, SCHEMA_MINOR
from catalog.engine.open import open_reader, open_writer
from catalog.engine.postgres.connect import connect
from catalog.engine.sqlite.writer import SqliteWriter
from catalog.errors import CatalogVersion
from tests import writers
from tests.cli.program import called, one_error
from tests.postgres import Server


def of_first_version(path: str, like: str) -> None:
    """Make a catalog of schema 1.0 with the rows of a present one."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        run_migrations(connection, "0001")
    engine.dispose()
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute("ATTACH ? AS now", (like,))
    tables = [row[0] for row in old.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
    for table in set(tables) - {"meta", "alembic_version"}:
        columns = ", ".join(f'"{row[1]}"' for row in old.execute(f"PRAGMA main.table_info({table})"))
        old.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}")
    old.execute("UPDATE main.name SET source = source - 1 WHERE source >= 3")  # there were two sources until 1.3
    old.close()


@pytest.mark.parametrize("command", [("db", "upgrade"), ("index",)])
def test_a_catalog_of_the_first_version(tmp_path: Path, command: tuple[str, ...]) -> None:
    now, old = str(tmp_path / "now.db"), str(tmp_path / "old.db")
    for name in ("a", "b"):
        path = writers.big_layout(str(tmp_path / "root" / name), 30)
        signature = writers.fake_descriptor(name) | {"mediaType": "application/vnd.dev.example.signature"}
        named = [
            writers.name_entry(signature, style, "docker.io/library/x", style) for style in ("containerd", "short")
        ]
        writers.write_index(path, writers.append(writers.read_index(path), *named))
    assert called("add", str(tmp_path / "root"), db=now).status == 0
    of_first_version(old, now)
    one_error(called("query", db=old), 4, "older ocicat", "'ocicat db upgrade'")
    assert called(*command, db=old).status == 0
    assert called("index", db=old).status == 0
    for question in (
        ("query",),
        ("sql", "SELECT * FROM images ORDER BY 1, 2, 3"),
        ("sql", "SELECT * FROM blobs ORDER BY 1, 2, 3"),
        ("sql", "SELECT * FROM history ORDER BY 1, 2, 3"),
        ("stores", "--format", "{name} {path} {state} {entries} {naming}"),
    ):
        expected = called(*question, db=now)
        assert expected.status == 0
        assert called(*question, db=old).out == expected.out
    connection = sqlite3.connect(old)
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == (
        f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}",
    )
    connection.close()
    SqliteWriter(old).close()


def test_on_a_server_only_the_command_for_it_upgrades(server: Server) -> None:
    url = server.new_database()
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(url))
    with engine.begin() as connection:
        run_migrations(connection, "0001")
    engine.dispose()
    for opened in (open_writer, open_reader):
        with pytest.raises(CatalogVersion, match="'ocicat db upgrade'"):
            opened(url)
    open_writer(url, upgrade=True).close()
    open_reader(url).close()
