"""A first index drops indexes and makes them at its end. Whatever happens in between, answers are right and the indexes come back."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from catalog.engine.sqlite.bulk import dropped
from catalog.engine.sqlite.writer import SqliteWriter
from catalog.ingest import sweep
from catalog.ingest.apply import NotFirst, write_readings
from catalog.ingest.index_reading import IndexReading, WaitingStore
from catalog.ingest.intake import BULK_ENTRIES, Intake
from catalog.ingest.registry import Registry
from catalog.ingest.settings import StoreSettings
from catalog.ingest.unchanged import nothing_to_do
from catalog.layout.index import read_index
from tests import writers
from tests.cli.program import ran
from tests.conftest import Catalogue, driver_of_file, stamp
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import wait_for

NAMES = frozenset(str(index.name) for index in dropped())


def asked(path: str, statement: str) -> list[Any]:
    """The first column of a statement over the catalog's file."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [row[0] for row in connection.execute(statement)]
    finally:
        connection.close()


def indexes(path: str) -> frozenset[str]:
    """The indexes of the catalog that a first index drops."""
    return NAMES.intersection(asked(path, "SELECT name FROM sqlite_master WHERE type = 'index'"))


def is_noted(path: str) -> bool:
    return bool(asked(path, "SELECT 1 FROM meta WHERE key = 'dropped_indexes'"))


def shape(path: str) -> set[str]:
    """All statements of the schema, whatever their white space."""
    return {" ".join(each.split()) for each in asked(path, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}


def layout(path: Path, count: int, *, tags: int | None = None) -> str:
    """A layout of so many entries, with so many tags: as many by default."""
    writers.make_layout(str(path))
    named = [
        writers.name_entry(writers.fake_descriptor(f"{path.name} {number}"), "tag", "", f"t{number % (tags or count)}")
        for number in range(count)
    ]
    writers.write_index(str(path), writers.empty_index(*named))
    stamp(f"{path}/index.json")
    return str(path)


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """One whose first index drops indexes however small it is: one that is large enough would take seconds to write."""
    monkeypatch.setattr(sweep, "BULK_ENTRIES", 1)
    return Catalogue(f"{tmp_path}/c.db")


def test_some_indexes_are_dropped_and_those_that_ingest_needs_are_not() -> None:
    assert {"ix_name_name", "ix_name_tag", "ix_entry_content", "ix_entry_ref_name"} <= NAMES
    assert not NAMES & {"ix_entry_store_sort", "ix_name_entry"}


def test_after_a_first_index_the_schema_is_what_it_was(catalogue: Catalogue, tmp_path: Path) -> None:
    before = shape(catalogue.path)
    said: list[str] = []
    driver_of_file(catalogue.writer).set_trace_callback(said.append)
    catalogue.add(layout(tmp_path / "s", 20, tags=15))
    driver_of_file(catalogue.writer).set_trace_callback(None)
    for what in ("DROP INDEX", "CREATE INDEX"):
        assert len({each for each in said if each.strip().startswith(what)}) == len(NAMES)
    assert indexes(catalogue.path) == NAMES
    assert shape(catalogue.path) == before
    assert not is_noted(catalogue.path)
    assert catalogue.reader.damage() == []
    catalogue.close()


def test_a_small_pass_drops_none(tmp_path: Path) -> None:
    catalogue = Catalogue(f"{tmp_path}/c.db")
    said: list[str] = []
    driver_of_file(catalogue.writer).set_trace_callback(said.append)
    catalogue.add(layout(tmp_path / "s", 1_500))
    assert not [each for each in said if "INDEX" in each]
    catalogue.close()


def test_a_catalog_with_entries_keeps_its_indexes(tmp_path: Path) -> None:
    catalogue = Catalogue(f"{tmp_path}/c.db")
    catalogue.add(layout(tmp_path / "s", 1_001))
    catalogue.writer.begin_bulk()
    assert not catalogue.writer.is_bulk
    assert indexes(catalogue.path) == NAMES
    catalogue.close()


def test_whoever_opens_the_catalog_for_writing_makes_the_indexes(tmp_path: Path) -> None:
    path = f"{tmp_path}/c.db"
    with SqliteWriter(path) as writer:
        writer.begin_bulk()
        assert writer.is_bulk
    assert indexes(path) == set()
    assert is_noted(path)
    with SqliteWriter(path):
        assert indexes(path) == NAMES
        assert not is_noted(path)


def test_a_daemon_that_was_there_before_makes_the_indexes(tmp_path: Path) -> None:
    """It does so at the end of its sweep, while `ocicat index` may still run: both go on, with all indexes."""
    catalogue = Catalogue(f"{tmp_path}/c.db")
    with SqliteWriter(catalogue.path) as other:
        catalogue.writer.begin_bulk()
        other.end_bulk()
        assert indexes(catalogue.path) == NAMES
        assert not is_noted(catalogue.path)
        catalogue.add(layout(tmp_path / "s", 20, tags=15))
        assert indexes(catalogue.path) == NAMES
        assert catalogue.reader.damage() == []
        assert catalogue.sql("SELECT count(*) FROM name WHERE shadowed") == [(5,)]
    catalogue.close()


def test_a_pass_that_fails_makes_the_indexes(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        assert indexes(catalogue.path) == set()
        raise Interrupted

    layout(tmp_path / "R" / "a", 3)
    layout(tmp_path / "R" / "b", 3)
    with catalogue.writer.transaction() as connection:
        Registry(connection).add_root(f"{tmp_path}/R", StoreSettings())
        roots = Registry(connection).roots()
    begun = catalogue.sweep()
    monkeypatch.setattr(begun, "_wait", interrupt)  # Ctrl-C may come at any moment, and this is one that can be chosen.
    with pytest.raises(Interrupted):
        begun.run(roots, None)
    assert indexes(catalogue.path) == NAMES
    assert catalogue.sql("SELECT count(*) FROM entry") == [(6,)]
    catalogue.close()


def test_while_indexes_are_missing_there_is_something_to_do(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s", 3)
    for name in ("index.json", "blobs/sha256", "blobs", ""):
        os.utime(f"{path}/{name}", (1_000_000_000, 1_000_000_000))
    catalogue.add(path)
    catalogue.retire(0)  # Retention, which is due otherwise.
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = CAST(unixepoch() AS TEXT) || '000' WHERE key = 'pruned_ms'")
    driver_of_file(catalogue.writer).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert nothing_to_do(catalogue.path) is not None
    catalogue.writer.begin_bulk()
    driver_of_file(catalogue.writer).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert nothing_to_do(catalogue.path) is None
    catalogue.close()


def test_a_store_that_has_got_entries_meanwhile_is_written_with_checks(catalogue: Catalogue, tmp_path: Path) -> None:
    """Foreign keys are not checked then, so nothing that has rows may be replaced."""
    path = layout(tmp_path / "s", 3)
    catalogue.add(path, index=False)
    with catalogue.writer.snapshot() as connection:
        (store,) = Registry(connection).stores()
    catalogue.index()
    reading = IndexReading(WaitingStore(store, 0.0, full=True), read_index(path), None)

    with catalogue.writer.transaction() as connection:
        with pytest.raises(NotFirst):
            write_readings(connection, [reading], lambda: None, first=True)
        assert write_readings(connection, [reading], lambda: None).later == []
    before = catalogue.sql("SELECT id FROM entry ORDER BY id")
    writers.write_index(path, writers.empty_index(writers.name_entry(writers.fake_descriptor("new"), "tag", "", "t1")))
    stamp(f"{path}/index.json")
    intake = Intake(catalogue.writer, catalogue.settings, lambda _: None, bulk_from=0)
    intake.offer(store)  # As a daemon knows it that has not looked at the catalog since.
    intake.commit()
    assert intake.waiting == []
    assert indexes(catalogue.path) == NAMES
    assert catalogue.sql("SELECT count(*) FROM entry") == [(1,)]
    assert not set(before) & set(catalogue.sql("SELECT entry_id FROM name"))
    assert catalogue.reader.damage() == []
    catalogue.close()


def steps_of(catalogue: Catalogue, path: str) -> int:
    """How many thousand steps of SQLite's machine it takes to add the layout."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    driver = driver_of_file(catalogue.writer)
    driver.set_progress_handler(tick, 1000)
    catalogue.add(path)
    driver.set_progress_handler(None, 0)
    return count


def test_names_that_share_a_tag_cost_the_same_at_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an index by names, each of them would scan all names."""
    monkeypatch.setattr(sweep, "BULK_ENTRIES", 1)
    costs = []
    for count in (1_000, 4_000):
        catalogue = Catalogue(f"{tmp_path}/{count}.db")
        costs.append(steps_of(catalogue, layout(tmp_path / f"s{count}", count, tags=count // 2)) / count)
        assert catalogue.sql("SELECT count(*) FROM name WHERE shadowed") == [(count // 2,)]
        assert catalogue.sql("SELECT count(*) FROM name WHERE NOT shadowed") == [(count // 2,)]
        catalogue.close()
    assert costs[1] < 1.3 * costs[0]


def test_a_first_index_that_is_killed_is_finished_by_the_next_pass(tmp_path: Path) -> None:
    path = f"{tmp_path}/c.db"
    for number in range(3):  # each has a transaction of its own, and it is killed in one of the later two
        layout(tmp_path / "R" / f"s{number}", BULK_ENTRIES)
    with subprocess.Popen(
        [OCICAT, "add", f"{tmp_path}/R"], env={**CLEAN, "OCICAT_DB": path}, stderr=subprocess.DEVNULL
    ) as adding:
        wait_for(lambda: os.path.exists(path) and is_there(path))
        adding.send_signal(signal.SIGKILL)
    assert is_noted(path)
    assert indexes(path) == set()
    (first,) = asked(path, "SELECT min(name.tag) FROM name")
    answer = ran("resolve", f":{first}", "--first", db=path)
    assert answer.status == 0, answer.err
    done = ran("index", db=path)
    assert done.status == 0, done.err
    assert not is_noted(path)
    assert indexes(path) == NAMES
    assert asked(path, "SELECT count(*) FROM entry") == [3 * BULK_ENTRIES]
    assert ran("check", db=path).err == ""
    assert ran("resolve", f":{first}", "--first", db=path).out == answer.out


def is_there(path: str) -> bool:
    """Whether the first entries are committed."""
    try:
        return bool(asked(path, "SELECT 1 FROM entry LIMIT 1"))
    except sqlite3.OperationalError:
        return False  # It is being created.
