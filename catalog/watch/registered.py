"""The roots and stores that a daemon follows, as the catalog has them.

Reading ten thousand rows costs more than a stat of ten thousand files. So the rows are read again only after a commit, by this process
or another, which the writer's `data_version` shows.

For each change, the row of its store is read three times, each time by one search of an index: in `read_some`, because the daemon's
own last commit has changed it; in write_readings (catalog/ingest/apply.py), because another process may have changed it before the
lock was taken; and in the content stage, because that runs later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from catalog.engine.interface import Writer
from catalog.ingest.registry import Registry, Root
from catalog.ingest.sharing import removed_layouts
from catalog.ingest.store_state import Store


class Registered:
    """The state at the last `read`. `stores` are by path, `left_out` are paths as stored in the catalog.

    `removed` are layouts that were removed and are remembered (catalog.ingest.sharing). `new` are the paths of stores that the
    previous read did not find, or whose rows `read_some` did not find since then.
    """

    def __init__(self) -> None:
        self.roots: list[Root] = []
        self.stores: dict[str, Store] = {}
        self.left_out: set[str] = set()
        self.removed: dict[str, str] = {}
        self.new: set[str] = set()
        self._gone: set[str] = set()
        self._signature: tuple[object, ...] = ()
        self._compared_at = -1
        self._read_at = -1

    @property
    def root_paths(self) -> set[str]:
        """The paths of all roots."""
        return {root.path for root in self.roots}

    def is_outdated(self, writer: Writer) -> bool:
        """Return whether stores or roots were added or removed since the last `read`, by a cheap check."""
        version = writer.data_version()
        if version == self._compared_at:
            return False
        with writer.snapshot() as connection:
            signature = Registry(connection).signature()
        self._compared_at = version
        return signature != self._signature

    def read(self, writer: Writer) -> bool:
        """Read everything if there was a commit since the last read. Return whether stores or roots were added or removed."""
        # Read the version before the rows, so that a commit in between is noticed the next time.
        version = writer.data_version()
        self.new = set()
        if version == self._read_at:
            return False
        before, known = self._signature, self.stores.keys() - self._gone
        with writer.snapshot() as connection:
            registry = Registry(connection)
            self._signature = registry.signature()
            self.roots = registry.roots()
            self.stores = {store.path: store for store in registry.stores()}
            self.new, self._gone = self.stores.keys() - known, set()
            self.left_out = registry.left_out()
            self.removed = removed_layouts(connection)
        self._read_at = self._compared_at = version
        return self._signature != before

    def read_some(self, writer: Writer, paths: Iterable[str]) -> Iterator[Store]:
        """Yield the current rows of the stores at these paths, in this order. The paths must be in `stores`.

        A store that another process has removed is left out. If it is added again, `read` reports it as new, because any hint for it has
        been forgotten meanwhile.
        """
        ids = {path: self.stores[path].id for path in paths}
        with writer.snapshot() as connection:
            found = {store.id: store for store in Registry(connection).stores(list(ids.values()))}
        for path, store_id in ids.items():
            store = found.get(store_id)
            if store is None:
                self._gone.add(path)
                self._signature = ()  # It may be as before once the store is added again.
            else:
                self.stores[store.path] = store
                yield store
