"""A catalog of a size: one large store, the same alphabet spread over many stores, and the shapes that hurt most.

Everything that is asked for has the same number of matches at each size, so what an answer costs must be the same too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from catalog.db.schema import INDEX, MANIFEST, OTHER
from catalog.ingest import content_rows
from catalog.ingest.rows import Rows
from catalog.layout.manifest import parse_config, parse_manifest
from tests import writers
from tests.conftest import Catalogue, stamp
from tests.writers import Descriptor

PER_STORE = 10
SHARED = "docker.io/library/everywhere"
"""A repository of which one tag stands in every store of `many`."""
CROWD = "docker.io/library/crowd"
"""A repository whose tag `crowd` all entries of the store `crowd` have, and its digest."""
LONG = "x/" + "y" * 1100 + ":long"


class Sized(NamedTuple):
    """A catalog, the path of its large layout, and the elements of that."""

    catalogue: Catalogue
    size: int
    large: str
    elements: list[Descriptor]


def build(catalogue: Catalogue, directory: str, size: int) -> Sized:
    """The stores `large` (the mix, of `size` entries), `crowd` (a fifth of that, which share all they can) and, below the
    root `many`, a store of ten for each hundred entries; with content for some of the first, and a past for all.
    """
    large = list(writers.big_entries(size))
    _write(f"{directory}/large", large)
    _write(f"{directory}/crowd", list(_crowd(size // 5)))
    for store in range(max(size // 100, 2)):
        _write(f"{directory}/many/s{store}", list(_one_of_many(store)))
    for path in ("large", "crowd", "many"):
        catalogue.add(f"{directory}/{path}", index=False)
    catalogue.index()
    _add_content(catalogue, large[: size // 20 : 2])
    _add_past(catalogue)
    return Sized(catalogue, size, f"{directory}/large", large)


def child(number: int) -> str:
    """The digest of a manifest below the index that stands for the `number`th digest with content."""
    return str(writers.fake_descriptor(f"child-{number}")["digest"])


def _write(path: str, elements: list[Descriptor]) -> None:
    writers.write_index(writers.make_layout(path), writers.empty_index(*elements))
    for name in ("index.json", "blobs", "blobs/sha256"):
        stamp(f"{path}/{name}")


def _crowd(size: int) -> Iterator[Descriptor]:
    """One name, one tag, one digest, one raw annotation of each kind, and one tail for every second entry."""
    descriptor = writers.fake_descriptor("crowd")
    for number in range(size):
        names = {writers.IMAGE_NAME: f"{CROWD}:crowd", writers.REF_NAME: f"quay.io/crowd/{number}:crowd"}
        if number % 2:
            names[writers.REF_NAME] = "crowd"
        yield {**descriptor, "annotations": {**names, "org.example.number": str(number)}}
    for _ in range(2):
        yield {**descriptor, "annotations": {writers.REF_NAME: LONG}}


def _one_of_many(store: int) -> Iterator[Descriptor]:
    """Ten entries, of which nine have names, tags and digests that two stores share, and one stands in all."""
    pair = store // 2
    for number in range(PER_STORE - 1):
        style = ("tag", "short", "canonical", "containerd", "garbage")[number % 5]
        descriptor = writers.fake_descriptor(f"many-{pair}-{number}")
        yield writers.name_entry(descriptor, style, f"docker.io/many/app-{number % 4}", f"t{pair}.{number}")
    yield writers.name_entry(writers.fake_descriptor("everywhere"), "canonical", SHARED, "1")


def _add_content(catalogue: Catalogue, elements: list[Descriptor]) -> None:
    """Each digest is an index above a manifest with a config and two layers, one of them its own; all lie in `large`."""
    with catalogue.writer.transaction() as connection:
        rows = Rows(connection)
        store_id = rows.cursor.execute("SELECT id FROM store WHERE name = 'large'").fetchone()[0]
        for number, element in enumerate(elements):
            manifest, config = child(number), f"sha256:{number:064x}"
            layers = [writers.fake_descriptor(f"layer-{number}"), writers.fake_descriptor(f"base-{number // 2}")]
            descriptor = {"digest": manifest, "size": 500, "mediaType": writers.MANIFEST_TYPE}
            index = {"mediaType": writers.INDEX_TYPE, "annotations": {"k": "v"}, "manifests": [descriptor]}
            image = {
                "mediaType": writers.MANIFEST_TYPE,
                "config": {"digest": config, "size": 9, "mediaType": writers.CONFIG_TYPE},
                "layers": layers,
                "subject": writers.fake_descriptor(f"subject-{number}"),
            }
            settings = {"os": "linux", "architecture": "amd64", "config": {"Labels": {"l": str(number)}}}
            for digest, kind, document in (
                (element["digest"], INDEX, index),
                (manifest, MANIFEST, image),
                (config, OTHER, settings),
            ):
                content_id = rows.content(digest)
                rows.cursor.execute("UPDATE content SET kind = ?, size = 9 WHERE id = ?", (kind, content_id))
                rows.blob(store_id, digest, 9, 0)
                data = writers.dump(document)
                if kind == OTHER:
                    found = parse_config(data)
                    assert found is not None
                    content_rows.write_config(rows, content_id, found)
                else:
                    read = parse_manifest(data)
                    assert read is not None
                    content_rows.write_manifest(rows, content_id, digest, read, 0)
            rows.referrer(manifest, element["digest"], "cosign", content_id=content_id)
        rows.flush()


def _add_past(catalogue: Catalogue) -> None:
    """What every name answered before: the same, for a while."""
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql(
            "INSERT INTO answer_span (store_id, repository_id, tag, name, content_id, since, until, born, gone)"
            " SELECT name.store_id, repository_id, tag, name.name, content_id, since - 9, since - 5, 0, answers_from"
            " FROM name JOIN entry ON entry.id = entry_id WHERE tag IS NOT NULL AND NOT shadowed"
        )
        connection.exec_driver_sql("UPDATE store_span SET born = 0")
    assert os.path.exists(catalogue.path)
