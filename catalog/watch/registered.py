"""The roots and stores that a daemon follows, as the registry has them.

Reading ten thousand rows costs more than a stat of ten thousand files. So they are read again only when somebody has
committed something since, which SQLite tells by a number; the daemon's own commits are told in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator

from catalog.engine.interface import Writer
from catalog.ingest.registry import Registry, Root
from catalog.ingest.store_state import Store


class Registered:
    """What was there at the last `read`; `stores` are by their path, `left_out` are paths as the catalog keeps them."""

    def __init__(self) -> None:
        self.roots: list[Root] = []
        self.stores: dict[str, Store] = {}
        self.left_out: set[str] = set()
        self._signature: tuple[object, ...] = ()
        self._compared_at = -1
        self._read_at = -1

    @property
    def root_paths(self) -> set[str]:
        """The paths of all roots."""
        return {root.path for root in self.roots}

    def is_outdated(self, writer: Writer) -> bool:
        """Whether stores or roots have been added or removed since the last `read`, as far as a cheap look can tell."""
        version = writer.data_version()
        if version == self._compared_at:
            return False
        with writer.snapshot() as connection:
            signature = Registry(connection).signature()
        self._compared_at = version
        return signature != self._signature

    def read(self, writer: Writer) -> bool:
        """Read all of it, where anything was committed since; returns whether stores or roots came or went."""
        # Before the rows, never after: what is committed in between makes another number.
        version = writer.data_version()
        if version == self._read_at:
            return False
        before = self._signature
        with writer.snapshot() as connection:
            registry = Registry(connection)
            self._signature = registry.signature()
            self.roots = registry.roots()
            self.stores = {store.path: store for store in registry.stores()}
            self.left_out = registry.left_out()
        self._read_at = self._compared_at = version
        return self._signature != before

    def read_some(self, writer: Writer, paths: set[str]) -> Iterator[Store]:
        """The stores at these of the paths in `stores`, each as it is now."""
        with writer.snapshot() as connection:
            found = Registry(connection).stores([self.stores[path].id for path in paths])
        for store in found:
            self.stores[store.path] = store
            yield store
