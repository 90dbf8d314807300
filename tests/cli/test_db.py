"""`ocicat db`: the database itself."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.engine.locks import WRITER
from tests import writers
from tests.cli.conftest import Own, Shelf
from tests.cli.program import called, one_error, ran
from tests.conftest import ON_SQLITE

Layout = Callable[..., str]


def test_path_prints_the_location_and_creates_nothing(tmp_path: Path) -> None:
    db = str(tmp_path / "sub" / "c.db")
    assert called("db", "path", db=db) == (0, f"{db}\n", "")
    assert called("db", "path", "--db", "x.db") == (0, f"{os.getcwd()}/x.db\n", "")
    assert os.listdir(tmp_path) == []


def test_path_prints_the_raw_bytes_for_a_program(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\x1b\\"
    assert ran(b"--db", name, b"db", b"path").out == os.fsdecode(name) + "\n"


@ON_SQLITE
def test_a_link_to_the_catalog_is_the_catalog(cli: Own, layout: Layout, tmp_path: Path) -> None:
    cli.done("add", layout("a", "1"))
    os.symlink(cli.db, tmp_path / "link.db")
    assert called("db", "path", db=str(tmp_path / "link.db")).out == f"{cli.db}\n"
    assert called("resolve", ":1", db=str(tmp_path / "link.db")).status == 0
    assert called("index", db=str(tmp_path / "link.db")).status == 0
    assert not os.path.exists(tmp_path / f"link.db{WRITER}")


@ON_SQLITE
@pytest.mark.without_catalog
def test_upgrade_creates_a_catalog_and_keeps_an_existing_one(cli: Own, layout: Layout) -> None:
    cli.done("db", "upgrade")
    assert os.stat(cli.db).st_mode & 0o777 == 0o640
    cli.done("add", layout("a", "1"))
    before = cli.done("query").out
    cli.done("db", "upgrade")
    assert cli.done("query").out == before


def test_a_sound_catalog_passes_the_check(shelf: Shelf) -> None:
    assert shelf.ask("db", "check") == (0, "", "")


@ON_SQLITE
def test_the_check_finds_damage(cli: Own) -> None:
    cli.done("add", writers.big_layout(f"{cli.directory}/a", 200))
    cli.done("db", "vacuum")
    with sqlite3.connect(cli.db) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_name_tag'").fetchone()
    connection.close()
    with open(cli.db, "r+b") as file:
        file.seek((page - 1) * 4096 + 100)
        file.write(b"\xff" * 3000)
    result = cli("db", "check")
    assert result.status == 4
    assert result.said[-1].startswith("ocicat: error: ")
    assert len(result.said) == 1
    assert all(line.isprintable() for line in result.lines)


@ON_SQLITE
def test_the_check_finds_rows_without_their_parents(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("a", "1"))
    with sqlite3.connect(cli.db) as connection:
        connection.execute("DELETE FROM entry")
    connection.close()
    result = cli("db", "check")
    one_error(result, 4, "damaged", "'ocicat add'")
    assert any("name" in line and "entry" in line for line in result.lines)


@ON_SQLITE
def test_vacuum_frees_space(cli: Own, layout: Layout) -> None:
    cli.done("add", writers.big_layout(f"{cli.directory}/a", 2000), layout("b", "1"))
    cli.done("remove", "a")
    before = os.stat(cli.db).st_size  # including the past: --at and history still return what the store had
    cli.done("db", "vacuum")
    size = os.stat(cli.db).st_size
    cli.done("index")
    assert os.stat(cli.db).st_size == size
    assert size < before
    with contextlib.closing(sqlite3.connect(cli.db)) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert cli.done("query").out.count("\n") == 1
