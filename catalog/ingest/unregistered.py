"""Find the places of a configuration that are not registered as configured, for `--fresh`. Needs only a reader.

The rules are the same as in `catalog.ingest.places.register_places`, which registers them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from catalog.engine.interface import Reader
from catalog.ingest.settings import Place
from catalog.names.paths import encode_path, kept_path, real_path

_SETTINGS = ("naming", "prefix", "priority", "shared_blobs", "sparse", "archives")
"""The settings of roots and stores, in the order of the frozen statements. `shared_as` is left out, because no answer depends on it."""


def unregistered(reader: Reader, places: Iterable[Place]) -> list[Place]:
    """Return the places that exist now, and are missing in the catalog or have other settings there."""
    places = [place for place in places if is_there(place)]
    if not places:
        return []
    roots = {row[0]: row[2:] for row in reader.rows("ROOTS", {})}
    return [place for place in places if not _is_registered(reader, place, roots)]


def is_there(place: Place) -> bool:
    """Return whether there is a directory at a place now, or a file, which may be the archive of a store."""
    return os.path.isdir(place.path) or (not place.is_root and os.path.isfile(place.path))


def _is_registered(reader: Reader, place: Place, roots: dict[str, tuple[object, ...]]) -> bool:
    kept, real, name = kept_path(place.path), real_path(place.path), place.settings.name

    def row(path: str) -> tuple[object, ...] | None:
        text = encode_path(path)[0]
        return roots.get(text) if place.is_root else reader.row("STORE_SETTINGS", {"path": text})

    found = row(kept)
    if kept != real and name is not None and (old := row(real)) is not None and old[0] == name:
        found = old  # An earlier ocicat registered the target of the link.
    if found is None or name not in (None, found[0]):
        return False
    if not place.is_root and place.settings.given and not found[-1]:
        return False  # The store still has the settings of its root.
    pairs = zip(_given(place), found[1:], strict=False)
    return all(given is None or given == has or (given == "" and has is None) for given, has in pairs)


def _given(place: Place) -> tuple[object, ...]:
    """Return the settings of a place as the catalog stores them, in the order of _SETTINGS. A setting that is not given is None."""
    settings = place.settings
    shared = settings.shared_blobs
    return (
        None if settings.naming is None else str(settings.naming),
        settings.prefix,
        settings.priority,
        encode_path(kept_path(shared))[0] if shared else shared,
        settings.sparse,
        place.archives,
    )
