"""Words of the dictionaries, such as media types, are deleted with the last row that uses them, a limited number at a time."""

from __future__ import annotations

from pathlib import Path

from catalog.ingest.content import ContentStage
from catalog.ingest.retention import retain
from catalog.ingest.words import _USES, STEP_ROWS, forget_words
from tests import writers
from tests.conftest import Catalogue

DAY = 86_400_000
WORDS = ("media_type", "platform", "annotation_key")
NOW = 4_000_000_000_000


def store(path: Path, mark: str, entries: int = 1) -> str:
    """A layout whose words nobody else has, in each place where there are words."""
    layout = writers.make_layout(str(path))
    image = writers.make_image(
        layout, mark, os=f"{mark}-config", labels={f"label-{mark}": "1"}, extra_annotations={f"inner-{mark}": "1"}
    )
    index = writers.make_index_image(layout, [image | {"platform": writers.platform(f"{mark}-child", "y")}])
    listed = [
        writers.fake_descriptor(f"{mark}{n}")
        | {
            "mediaType": f"application/{mark}-{n}",
            "artifactType": f"application/artifact-{mark}-{n}",
            "platform": writers.platform(f"{mark}-{n}", "z"),
            "annotations": {f"key-{mark}-{n}": "value"},
        }
        for n in range(entries)
    ]
    writers.write_index(layout, writers.empty_index(index, *listed))
    return layout


def add(catalogue: Catalogue, layout: str) -> None:
    """Add a store, and read its manifests again: what is read twice is kept once."""
    catalogue.add(layout)
    ids = [row[0] for row in catalogue.sql("SELECT id FROM store")]
    for _ in ContentStage(catalogue.writer, catalogue.settings).run(ids):
        pass


def words(catalogue: Catalogue) -> dict[str, set[str]]:
    return {table: {row[0] for row in catalogue.sql(f"SELECT name FROM {table}")} for table in WORDS}


def forget(catalogue: Catalogue, now: int) -> None:
    """End the past, and forget words, as `retain` does once a day."""
    catalogue.retire(now)
    catalogue.writer.write(forget_words, alone=True, unchecked=True)


def lost(catalogue: Catalogue) -> list[str]:
    """Columns that refer to a word that is not there."""
    return [
        f"{column.table.name}.{column.name}"
        for table, indexed, others in _USES
        for column in (*indexed, *others)
        if catalogue.sql(
            f"SELECT count(*) FROM {column.table.name} WHERE {column.name} IS NOT NULL"
            f" AND {column.name} NOT IN (SELECT id FROM {table.name})"
        )
        != [(0,)]
    ]


def test_words_of_a_store_that_is_gone_are_forgotten_and_no_others(catalogue: Catalogue, tmp_path: Path) -> None:
    add(catalogue, store(tmp_path / "kept", "kept"))
    before = words(catalogue)
    assert {"label-kept", "inner-kept", "key-kept-0"} <= before["annotation_key"]
    assert {"kept-config/amd64", "kept-child/y", "kept-0/z"} <= before["platform"]
    add(catalogue, store(tmp_path / "gone", "gone", 50))
    assert len(words(catalogue)["media_type"]) >= len(before["media_type"]) + 100
    forget(catalogue, NOW)
    assert lost(catalogue) == []
    catalogue.remove("gone")
    forget(catalogue, NOW + 2 * DAY)
    assert words(catalogue) == before
    assert lost(catalogue) == []
    catalogue.index(full=True)
    add(catalogue, store(tmp_path / "gone", "gone", 50))  # they can come back
    assert lost(catalogue) == []


def test_many_go_in_steps_and_each_is_due_at_once(catalogue: Catalogue) -> None:
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql(
            "INSERT INTO media_type (name) WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 50000)"
            " SELECT 'application/' || n FROM n"
        )
    left = []
    for _ in range(4):
        retain(catalogue.writer, catalogue.settings, NOW)
        left.append(len(words(catalogue)["media_type"]))
    assert left == [50_000 - STEP_ROWS, 50_000 - 2 * STEP_ROWS, 0, 0]


def test_a_few_words_are_not_worth_reading_all_rows(catalogue: Catalogue, tmp_path: Path) -> None:
    """With a million entries, and as many words as there are, nothing is searched."""
    add(catalogue, store(tmp_path / "kept", "kept"))
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql("INSERT INTO media_type (name) VALUES ('application/unused')")
        connection.exec_driver_sql("INSERT INTO content (id, digest) VALUES (1000000, 'sha256:far')")
        connection.exec_driver_sql(
            "INSERT INTO store_blob (store_id, content_id, size) SELECT id, 1000000, 1 FROM store"
        )
    forget(catalogue, NOW)
    assert "application/unused" in words(catalogue)["media_type"]


def test_foreign_keys_hold_again_after_it(catalogue: Catalogue, tmp_path: Path) -> None:
    add(catalogue, store(tmp_path / "kept", "kept"))
    forget(catalogue, NOW)
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM store")
    assert catalogue.sql("SELECT count(*) FROM entry") == [(0,)]
