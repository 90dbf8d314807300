"""Roots and stores that a configuration names (docs/settings.md), registered as `ocicat add` does it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from catalog.engine.interface import Writer
from catalog.errors import UsageError
from catalog.ingest.clock import now_ms
from catalog.ingest.notice import Notice
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Place
from catalog.names.escape import shown
from catalog.names.paths import kept_path


def register_places(writer: Writer, places: Sequence[Place]) -> list[Place]:
    """Register these, or change their settings, in one transaction; returns those that are no directory now.

    Those may lie on a mount that is to come. What is registered and named by nobody any more stays: `ocicat remove` forgets
    it. Raises UsageError, nothing being registered then.
    """
    there = [place for place in places if os.path.isdir(place.path)]
    if there:

        def register(connection: Connection) -> None:
            registry = Registry(connection)
            for place in there:
                _register(registry, place)

        writer.write(register)
    return [place for place in places if place not in there]


def not_there(place: Place) -> Notice:
    """What there is to say of a place that is no directory."""
    return Notice(
        "not-there", f"{shown(place.path)} is no directory now: it is registered once it is one", path=place.path
    )


def _register(registry: Registry, place: Place) -> None:
    path, real, name = kept_path(place.path), os.path.realpath(place.path), place.settings.name
    if path != real and name is not None and registry.is_called(real, name):
        path = real  # ocicat up to 0.3 registered where the link led: that stays
    shared = place.settings.shared_blobs
    settings = place.settings._replace(shared_blobs=kept_path(shared) if shared else shared)
    try:
        if place.is_root:
            registry.add_root(path, settings)
        else:
            registry.add_store(path, settings, now_ms())
    except UsageError as error:
        raise UsageError(f"the configuration's {shown(place.path)}: {error}") from error


def now_there(places: Iterable[Place]) -> bool:
    """Whether one of these is a directory by now; a stat each."""
    return any(os.path.isdir(place.path) for place in places)
