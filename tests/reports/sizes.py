"""Makes catalogs of a given size directly in the tables: images in groups of ten, one of them the base of the others.

A query about one image returns the same number of rows at each size. The exceptions are one layer that all images begin with,
and labels and annotations that all images have: a search must not read all of those.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from itertools import count
from typing import Any

from catalog.db.kinds import CHILD, CONFIG, INDEX, LAYER, LISTED, MANIFEST, OTHER, SUBJECT, UNREACHED, UNREAD
from catalog.engine.driver import cursor_of, driver_of
from tests.conftest import Catalogue

PER_STORE = 100
GROUP = 10


def digest(what: str) -> str:
    return f"sha256:{hashlib.sha256(what.encode()).hexdigest()}"


def fill(catalogue: Catalogue, images: int) -> None:
    """Write `images` images into the catalog, a hundred per store."""
    tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
    ids: dict[str, int] = {}
    numbers = count(1)

    def add(table: str, **row: object) -> None:
        tables[table].append(row)

    def content(what: str, kind: int = UNREAD) -> int:
        if what not in ids:
            ids[what] = len(ids) + 1
            add("content", id=ids[what], digest=digest(what), kind=kind, size=10)
        return ids[what]

    def edge(parent: int, role: int, position: int, child: int, **more: object) -> None:
        add("edge", parent_id=parent, role=role, position=position, child_id=child, media_type_id=1, size=10, **more)

    add("host", id=1, name="host")
    for each, word in enumerate(("", "index", "image"), 1):
        add("media_type", id=each, name=word)
    for each, word in enumerate(("linux/amd64", "linux/arm64"), 1):
        add("platform", id=each, name=word)
    for each, word in enumerate(("own", "common"), 1):
        add("annotation_key", id=each, name=word)
    for number in range(images):
        store, group = number // PER_STORE + 1, number // GROUP * GROUP
        if number % PER_STORE == 0:
            add(
                "store", id=store, host_id=1, name=f"s{store}", path=f"/s{store}", own_settings=False, priority=1,
                naming="annotations", state="ok", state_since=0, content_pending=False, elements=0, entries=0, generation=1,
            )  # fmt: skip
            add(
                "store_span",
                store_id=store,
                host_id=1,
                name=f"s{store}",
                path=f"/s{store}",
                priority=1,
                since=1,
                born=1,
            )
        layers = ["root", f"layer {group}"] + ([f"layer {number}"] if number != group else [])
        image, config = content(f"image {number}", MANIFEST), content(f"config {number}", OTHER)
        index = content(f"index {number}", INDEX)
        for position, layer in enumerate(layers):
            edge(image, LAYER, position, content(layer), chain=digest(" ".join(layers[: position + 1])))
        edge(image, CONFIG, 0, config)
        edge(index, CHILD, 0, image, platform_id=1)
        edge(index, CHILD, 1, content(f"absent {number}"), platform_id=2)
        manifests: list[tuple[int, list[str]]] = [(image, layers), (index, [])]
        if is_fifth := number % 5 == 0:
            signature, fallback = content(f"signature {number}", MANIFEST), content(f"fallback {number}", INDEX)
            edge(signature, SUBJECT, 0, image)
            about = content(f"about {number}", MANIFEST)
            edge(fallback, CHILD, 0, about)
            edge(about, SUBJECT, 0, image)
            manifests += [(signature, []), (fallback, []), (about, [])]
        for manifest, of_it in manifests:
            chain = digest(" ".join(of_it)) if of_it else None
            add("manifest", content_id=manifest, media_type_id=1, layers=len(of_it), layers_size=10, chain=chain)
        add("config", content_id=config, platform_id=1, created=1_700_000_000_000 + number)
        for owner, is_label in ((config, True), (image, False)):
            for key, value in ((1, f"value {number}"), (2, "common")):
                add("content_annotation", content_id=owner, is_label=is_label, key_id=key, value=value)
        for position in range(len(layers)):
            for key, value in ((1, f"value {number}"), (2, "common")):
                add("descriptor_annotation", content_id=image, role=LAYER, position=position, key_id=key, value=value)
        for blob in {config, *(manifest for manifest, _ in manifests), *(content(layer) for layer in layers)}:
            add("store_blob", store_id=store, content_id=blob, size=10, reach=LISTED if blob == image else UNREACHED)
        add(
            "repository", id=number + 1, name=f"d.io/r{number}", domain="d.io", path=f"r{number}", familiar=f"r{number}"
        )
        for top in (index, image) if is_fifth else (index,):
            entry = next(numbers)
            add(
                "entry", id=entry, store_id=store, sort=entry * 1024, content_id=top, media_type_id=1,
                ref_name=f"r{number}:{top}", long_ref_name=False, long_image_name=False,
            )  # fmt: skip
            called = {
                "store_id": store,
                "repository_id": number + 1,
                "tag": f"t{top}",
                "name": f"d.io/r{number}:t{top}",
            }
            came, moved = 2 * entry, 2 * entry + 1  # moments
            for each in (came, moved):
                add("moment", id=each, host_id=1, at=each, label=each)
            add(
                "name", id=entry, entry_id=entry, source=1, sort=entry * 1024, shadowed=False, since=9,
                answers_from=moved, **called,
            )  # fmt: skip
            add("answer_span", id=entry, content_id=top, since=1, until=5, born=came, gone=moved, **called)
            add("name_span", id=entry, content_id=top, since=0, until=1, **called)
            for annotation, value in ((1, f"value {number}"), (2, "common")):
                add("entry_annotation", entry_id=entry, key_id=annotation, value=value)
            for referrer, how in ((signature, "cosign"), (fallback, "fallback")) if is_fifth else ():
                add("referrer", id=next(numbers), subject_id=image, referrer_id=referrer, how=how, entry_id=entry)
    with catalogue.writer.transaction() as connection:
        if driver_of(connection).is_shared:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        else:
            connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        cursor = cursor_of(connection)
        for table, rows in tables.items():
            of_columns: dict[tuple[str, ...], list[tuple[object, ...]]] = defaultdict(list)
            for row in rows:
                of_columns[tuple(row)].append(tuple(row.values()))
            for columns, values in of_columns.items():
                unique = list(dict.fromkeys(values))
                marks = ", ".join("?" * len(columns))
                statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
                cursor.executemany(statement, unique)
