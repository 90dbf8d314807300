"""Read blobs that have no file: a descriptor has their bytes in its field `data` (image-spec descriptor.md, "Embedded Content")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from catalog.exhausted import refuse_exhausted
from catalog.layout.archive import compression_at
from catalog.layout.blobs import BlobDirectories, BlobProblem
from catalog.layout.descriptor import Descriptor
from catalog.layout.index import IndexChanged, IndexProblem, ListLimits, read_index
from catalog.layout.manifest import AmbiguousManifest, parse_manifest
from catalog.lookup.holders import IN_LIST, Carried

CARRIED_BYTES = ListLimits().descriptor_bytes
"""The largest blob that is taken from a descriptor, and the largest manifest that is searched for it: 4 MiB."""


def read_carried(places: Iterable[Carried]) -> bytes | None:
    """Return the bytes of an embedded blob, which match its digest, or None if no descriptor has them any more. Raises Exhausted."""
    for place in places:
        try:
            found = _read(place)
        except (BlobProblem, IndexProblem, IndexChanged, AmbiguousManifest, ValueError):
            continue
        except OSError as error:
            refuse_exhausted(error)
            continue
        if found is not None:
            return found
    return None


def _read(carried: Carried) -> bytes | None:
    first, *rest = carried.chain
    if first == IN_LIST:
        if compression_at(carried.place.opened) is not None:
            return None
        with read_index(carried.place.opened) as entries:
            data = _embedded(entries, rest.pop(0))
    else:
        with BlobDirectories(carried.place.opened, carried.place.shared) as directories:
            data = directories.read(first, CARRIED_BYTES)
    for digest in rest:
        data = None if data is None else _embedded(_descriptors(data), digest)
    return data


def _embedded(descriptors: Iterable[Descriptor], digest: str) -> bytes | None:
    found = (each.embedded(CARRIED_BYTES) for each in descriptors if each.digest == digest)
    return next((data for data in found if data is not None), None)


def _descriptors(data: bytes) -> Iterator[Descriptor]:
    """Yield the descriptors of a manifest or index. Raises ValueError and AmbiguousManifest."""
    manifest = parse_manifest(data)
    if manifest is not None:
        yield from manifest.manifests
        yield from manifest.layers
        if manifest.config is not None:
            yield manifest.config
