"""Blobs that were completed in place are found among any number of others."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from catalog.ingest.completed import MOST, MOST_COMPARED, completed_of
from catalog.ingest.registry import Registry
from catalog.ingest.store_state import Store
from tests import writers
from tests.conftest import Catalogue
from tests.content.layouts import file_of, layout, manifest, named, put
from tests.ingest.test_long_words import AMD64


def stores(catalogue: Catalogue) -> dict[int, Store]:
    with catalogue.writer.snapshot() as connection:
        return {store.id: store for store in Registry(connection).stores()}


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("what", ["layer", "manifest"])
def test_what_was_completed_in_place_is_found_among_any_number_of_blobs(
    catalogue: Catalogue, tmp_path: Path, what: str, many: bool
) -> None:
    path = layout(tmp_path / "s")
    part = put(path, None, writers.LAYER_TYPE, data=b"a layer")
    image = manifest(path, AMD64, part)
    layout(path, named(image))
    blob = file_of(path, str((part if what == "layer" else image)["digest"]))
    whole = Path(blob).read_bytes()
    Path(blob).write_bytes(whole[:3])
    padding = (MOST_COMPARED if what == "layer" else MOST) + 2
    digests = [{"digest": f"sha256:{number:064x}"} for number in range(padding)]
    with catalogue.writer.transaction() as connection:  # They come first in every order.
        connection.execute(text("INSERT INTO content (digest, kind) VALUES (:digest, 0)"), digests)
    catalogue.add(path)
    ((store_id,),) = catalogue.sql("SELECT id FROM store")
    held = f"FROM content WHERE digest < '{digests[-1]['digest']}'"
    with catalogue.writer.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO store_blob (store_id, content_id, size, looked, embedded, born)"
                f" SELECT {store_id}, id, 1, FALSE, FALSE, 1 {held}"
            )
        )
        if what == "manifest":
            connection.execute(text("UPDATE problem SET id = id + 1000000"))
            connection.execute(
                text(
                    "INSERT INTO problem (store_id, kind, subject, detail, stage)"
                    f" SELECT {store_id}, 'bad-blob', digest, '', 1 {held}"
                )
            )
    known = stores(catalogue)
    if many:
        known |= {1000 + number: known[store_id] for number in range(200)}

    def look() -> set[int]:
        return completed_of(catalogue.reader.select, known, sizes=True)

    assert look() == set()
    Path(blob).write_bytes(whole)
    assert look() == {store_id}
