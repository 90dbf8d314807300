"""Layouts by hand: blobs of any kind, entries, and what a catalog then knows of a digest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from catalog.ingest.content import ContentStage
from catalog.ingest.intake import Intake
from catalog.ingest.registry import Registry
from tests import writers
from tests.conftest import Catalogue, stamp
from tests.writers import Descriptor

UNREAD, MANIFEST, INDEX, OTHER, UNUSABLE = range(5)
ALPINE = "docker.io/library/alpine"
EMPTY_LAYER = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"


def layout(path: Path | str, *entries: Descriptor) -> str:
    """A layout with these entries, made or rewritten; each is named by its annotations alone."""
    made = str(path)
    if not os.path.isdir(f"{made}/blobs"):
        writers.make_layout(made)
    write(made, *entries)
    return made


def write(path: str, *entries: Descriptor, **more: Any) -> None:
    """A new index.json of these entries."""
    writers.write_recreate(path, writers.dump(writers.empty_index(*entries) | more))
    stamp(f"{path}/index.json")


def file_of(path: str, digest: str) -> str:
    return f"{path}/blobs/{digest.replace(':', '/')}"


def put(path: str, document: Any, media_type: str = "", *, data: bytes | None = None) -> Descriptor:
    """A blob; its descriptor."""
    os.makedirs(f"{path}/blobs/sha256", exist_ok=True)
    return writers.write_blob(path, json.dumps(document).encode() if data is None else data, media_type)


def put_as(path: str, digest: str, data: bytes) -> str:
    """A blob under whatever name."""
    file = file_of(path, digest)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    Path(file).write_bytes(data)
    return digest


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def manifest(
    path: str, config: Any, *layers: Descriptor, config_type: str = writers.CONFIG_TYPE, **more: Any
) -> Descriptor:
    """A manifest of a config (put, where it is no descriptor) and layers that need not be there."""
    described = config if isinstance(config, dict) and "digest" in config else put(path, config, config_type)
    document = {"schemaVersion": 2, "mediaType": writers.MANIFEST_TYPE, "config": described, "layers": list(layers)}
    return put(path, document | more, writers.MANIFEST_TYPE)


def index(path: str, *children: Descriptor, **more: Any) -> Descriptor:
    document = {"schemaVersion": 2, "mediaType": writers.INDEX_TYPE, "manifests": list(children)}
    return put(path, document | more, writers.INDEX_TYPE)


def layer(seed: str, size: int = 10) -> Descriptor:
    """A layer's descriptor, without a blob."""
    return {"mediaType": writers.LAYER_TYPE, "digest": digest_of(seed.encode()), "size": size}


def named(descriptor: Descriptor, name: str = "alpine:1", **annotations: str) -> Descriptor:
    return {**descriptor, "annotations": {writers.REF_NAME: name, **annotations}}


def on(descriptor: Descriptor, os_name: str, arch: str, variant: str | None = None) -> Descriptor:
    """The descriptor with a platform."""
    return descriptor | {"platform": writers.platform(os_name, arch, variant)}


def kinds(catalogue: Catalogue) -> dict[str, int]:
    return dict(catalogue.sql("SELECT digest, kind FROM content"))


def kind(catalogue: Catalogue, descriptor: Mapping[str, Any] | str) -> int | None:
    digest = descriptor if isinstance(descriptor, str) else descriptor["digest"]
    return kinds(catalogue).get(digest)


def problems(catalogue: Catalogue) -> set[tuple[str, str, str]]:
    """What a reading found: store, kind, subject; not stage 2, of which the view `problems` shows some only."""
    return set(
        catalogue.sql("SELECT store.name, kind, subject FROM problem JOIN store ON store.id = store_id WHERE stage < 2")
    )


def pending(catalogue: Catalogue) -> list[str]:
    return [name for (name,) in catalogue.sql("SELECT name FROM stores WHERE pending ORDER BY name")]


TABLES = (
    "content",
    "manifest",
    "config",
    "edge",
    "content_annotation",
    "descriptor_annotation",
    "store_blob",
    "referrer",
)


def count(catalogue: Catalogue, *tables: str) -> list[int]:
    return [catalogue.sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables or TABLES]


def take_names(catalogue: Catalogue) -> None:
    """The names of all stores, and nothing of their content: as it is between the two stages."""
    intake = Intake(catalogue.writer, catalogue.settings, catalogue.lines.append)
    with catalogue.writer.snapshot() as connection:
        stores = Registry(connection).stores()
    for store in stores:
        intake.offer(store)
    intake.commit()
    intake.look_again()  # a large store has its turn after the others


def reading(catalogue: Catalogue, store: str) -> Iterator[int]:
    """The content of one store, to be read step by step."""
    ((store_id,),) = catalogue.sql("SELECT id FROM store WHERE name = ?", store)
    return ContentStage(catalogue.writer, catalogue.settings).run([store_id])
