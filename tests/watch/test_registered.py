"""The registry is read again when somebody has committed, and otherwise not."""

from __future__ import annotations

from pathlib import Path

from catalog.engine.sqlite.writer import SqliteWriter
from catalog.ingest.clock import now_ms
from catalog.ingest.registry import Registry
from catalog.ingest.settings import StoreSettings
from catalog.watch.registered import Registered
from tests.cli.program import called
from tests.writers import make_layout


def test_it_is_read_once_for_each_change(tmp_path: Path) -> None:
    db = f"{tmp_path}/catalog.db"
    paths = [make_layout(f"{tmp_path}/{number}") for number in range(3)]
    assert called("add", paths[0], db=db).status == 0
    here = Registered()
    with SqliteWriter(db) as writer:
        assert here.is_outdated(writer)
        assert here.read(writer)
        assert list(here.stores) == paths[:1]
        before = here.stores
        for _ in range(3):
            assert not here.is_outdated(writer)
            assert not here.read(writer)
        assert here.stores is before  # not even the rows were read
        assert called("add", paths[1], db=db).status == 0  # another connection's commit
        assert here.is_outdated(writer)
        assert here.read(writer)
        assert list(here.stores) == paths[:2]
        with writer.transaction() as connection:  # and this process's own
            Registry(connection).add_store(paths[2], StoreSettings(), now_ms())
        assert here.is_outdated(writer)
        assert here.read(writer)
        assert list(here.stores) == paths


def test_a_commit_that_registers_nothing_brings_rows_and_no_news(tmp_path: Path) -> None:
    db = f"{tmp_path}/catalog.db"
    path = make_layout(f"{tmp_path}/a")
    assert called("add", path, db=db).status == 0
    here = Registered()
    with SqliteWriter(db) as writer:
        here.read(writer)
        assert called("add", path, "--priority", "7", db=db).status == 0
        assert not here.is_outdated(writer)
        assert not here.read(writer)
        assert [store.id for store in here.read_some(writer, {path})] == [here.stores[path].id]
        assert called("db", "check", db=db).status == 0


def test_a_store_removed_and_added_again_is_new(tmp_path: Path) -> None:
    """A hint that came while its row was away led nowhere, so the store has to be looked at although its path was known."""
    db = f"{tmp_path}/catalog.db"
    path, other = make_layout(f"{tmp_path}/a"), make_layout(f"{tmp_path}/b")
    assert called("add", other, path, db=db).status == 0
    here = Registered()
    with SqliteWriter(db) as writer:
        here.read(writer)
        assert here.new == {path, other}
        assert called("remove", path, db=db).status == 0
        assert list(here.read_some(writer, [path])) == []
        assert called("add", path, db=db).status == 0  # SQLite gives it the same id
        assert here.is_outdated(writer)
        assert here.read(writer)
        assert here.new == {path}
