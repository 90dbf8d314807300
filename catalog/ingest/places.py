"""Register the roots and stores of a configuration (docs/settings.md), as `ocicat add` does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from catalog.engine.interface import Writer
from catalog.errors import UsageError
from catalog.ingest.clock import now_ms
from catalog.ingest.notice import Notice
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Place
from catalog.ingest.unregistered import is_there
from catalog.names.escape import shown
from catalog.names.paths import kept_path, real_path


def register_places(writer: Writer, places: Sequence[Place]) -> list[Place]:
    """Register these places, or change their settings, in one transaction. Return the places that do not exist now.

    A missing place may be on a file system that is mounted later. Places that were removed from the configuration stay registered;
    `ocicat remove` removes them. If this raises UsageError, nothing is registered.
    """
    present = [place for place in places if is_there(place)]
    if present:

        def register(connection: Connection) -> None:
            registry = Registry(connection)
            for place in present:
                _register(registry, place)

        writer.write(register)
    return [place for place in places if place not in present]


def not_there(place: Place) -> Notice:
    """Return the notice about a place that does not exist now."""
    kind = "a directory" if place.is_root else "a directory or an archive"
    return Notice(
        "not-there", f"{shown(place.path)} is not {kind} now: it will be registered when it is", path=place.path
    )


def _register(registry: Registry, place: Place) -> None:
    path, real, name = kept_path(place.path), real_path(place.path), place.settings.name
    if path != real and name is not None and registry.is_called(real, name):
        path = real  # ocicat up to 0.3 registered the target of the link. That registration stays.
    shared = place.settings.shared_blobs
    settings = place.settings._replace(shared_blobs=kept_path(shared) if shared else shared)
    try:
        if place.is_root:
            registry.add_root(path, settings, place.archives)
        else:
            registry.add_store(path, settings, now_ms())
    except UsageError as error:
        raise UsageError(f"{shown(place.path)} in the configuration: {error}") from error


def now_there(places: Iterable[Place]) -> bool:
    """Return whether one of these places exists now. Costs one stat per place."""
    return any(is_there(place) for place in places)
