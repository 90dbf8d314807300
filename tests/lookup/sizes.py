"""Catalogs of different sizes: one large store, the same names spread over many stores, and the most expensive shapes.

Each question has the same number of matches at each size, so its cost must be the same too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from catalog.db.schema import INDEX, MANIFEST, OTHER
from catalog.ingest import content_rows
from catalog.ingest.rows import Rows
from catalog.layout.config import parse_config
from catalog.layout.manifest import parse_manifest
from tests import writers
from tests.conftest import Catalogue, stamp
from tests.writers import Descriptor

PER_STORE = 10
SHARED = "docker.io/library/everywhere"
"""A repository with one tag that every store of `many` has."""
CROWD = "docker.io/library/crowd"
"""A repository with the tag `crowd`, which all entries of the store `crowd` have, and its digest."""
LONG = "x/" + "y" * 1100 + ":long"
RARE = "application/x-rare"
"""The artifact type of one manifest, whose platform is linux/s390x and no other's."""


class Sized(NamedTuple):
    """A catalog, the path of its large layout, and the elements of that."""

    catalogue: Catalogue
    size: int
    large: str
    elements: list[Descriptor]


def build(catalogue: Catalogue, directory: str, size: int) -> Sized:
    """Make a catalog with content for some entries of `large`, and with a past.

    Its stores are `large` (the mix, with `size` entries), `crowd` (a fifth of that, with entries that have everything in
    common) and, below the root `many`, one store of ten entries per hundred.
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
    """Return the digest of a manifest below the index with number `number` among those with content."""
    return str(writers.fake_descriptor(f"child-{number}")["digest"])


def _write(path: str, elements: list[Descriptor]) -> None:
    writers.write_index(writers.make_layout(path), writers.empty_index(*elements))
    for name in ("index.json", "blobs", "blobs/sha256"):
        stamp(f"{path}/{name}")


def _crowd(size: int) -> Iterator[Descriptor]:
    """Yield entries with the same name, tag, digest and raw annotations; every second one has the same tail."""
    descriptor = writers.fake_descriptor("crowd")
    for number in range(size):
        names = {writers.IMAGE_NAME: f"{CROWD}:crowd", writers.REF_NAME: f"quay.io/crowd/{number}:crowd"}
        if number % 2:
            names[writers.REF_NAME] = "crowd"
        yield {**descriptor, "annotations": {**names, "org.example.number": str(number)}}
    for _ in range(2):
        yield {**descriptor, "annotations": {writers.REF_NAME: LONG}}


def _one_of_many(store: int) -> Iterator[Descriptor]:
    """Yield ten entries: nine whose names, tags and digests two stores share, and one that all stores have."""
    pair = store // 2
    for number in range(PER_STORE - 1):
        style = ("tag", "short", "canonical", "containerd", "garbage")[number % 5]
        descriptor = writers.fake_descriptor(f"many-{pair}-{number}")
        yield writers.name_entry(descriptor, style, f"docker.io/many/app-{number % 4}", f"t{pair}.{number}")
    yield writers.name_entry(writers.fake_descriptor("everywhere"), "canonical", SHARED, "1")


def _add_content(catalogue: Catalogue, elements: list[Descriptor]) -> None:
    """Turn each digest into an index above a manifest with a config, a layer of its own and a shared one, all in `large`."""
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
                **({"artifactType": RARE} if number == 1 else {}),
            }
            arch = "s390x" if number == 1 else "amd64"
            settings = {"os": "linux", "architecture": arch, "config": {"Labels": {"l": str(number)}}}
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
    """Add a span for each name in which it had the same digest before."""
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql(
            "INSERT INTO answer_span (store_id, repository_id, tag, name, content_id, since, until, born, gone)"
            " SELECT name.store_id, repository_id, tag, name.name, content_id, since - 9, since - 5, 0, answers_from"
            " FROM name JOIN entry ON entry.id = entry_id WHERE tag IS NOT NULL AND NOT shadowed"
        )
        connection.exec_driver_sql("UPDATE store_span SET born = 0")
    assert os.path.exists(catalogue.path)
