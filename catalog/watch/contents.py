"""What content there is to be read (catalog.ingest.content), and reading it bit by bit: names come first.

Blobs come before the index.json that names them, sometimes by the thousand, and a change of that has them listed anyway. So
blobs that come or go by themselves are no hurry: a store's are listed once they were seen the same in two sweeps in a row,
or after MOST_LOOKS sweeps, which is what a store costs into which blobs are written all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from catalog.db.engine import Writer
from catalog.ingest.content import ContentStage
from catalog.ingest.known import Store
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Settings
from catalog.layout.beneath import Found
from catalog.layout.blobs import blobs_identity

MOST_LOOKS = 10


class Contents:
    """The content of stores, read through `writer` by the settings that `settings` gives at that moment."""

    def __init__(self, writer: Writer, settings: Callable[[], Settings]) -> None:
        self._writer = writer
        self._settings = settings
        self._changed_before = -1
        self._version = -1
        self._changed: set[int] = set()
        self._seen: dict[int, tuple[str, int]] = {}  # what blobs that change looked like, and in how many looks
        self._to_read: list[int] = []
        self._woken: set[int] = set()
        self._reading: Iterator[int] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether there is more to be read, as far as is known."""
        return self._reading is not None or bool(self._to_read or self._changed)

    def look(self, store: Store, *, at_once: bool, at: Found | None = None) -> None:
        """See whether blobs came or went since they were listed, though perhaps the index.json did not change.

        With `at_once` they are listed without waiting until that is over. `at` is the store's directory if it was just found.
        """
        if not store.indexed_before or store.state == "missing":
            return
        identity = blobs_identity(store.opened, store.shared_blobs, at)
        before, looks = self._seen.pop(store.id, ("", 1))
        if identity == (store.blobs_identity or ""):
            return
        if at_once or store.blobs_identity is None or identity == before or looks >= MOST_LOOKS:
            self._changed.add(store.id)
        else:
            self._seen[store.id] = identity, looks + 1

    def step(self, changed: int) -> bool:
        """Read on for one transaction; returns whether there was anything to read.

        `changed` is the number of stores that have changed so far: another one than before says that there is more.
        """
        if self._reading is None:
            if not self._to_read:
                self._to_read = self._due(changed)
            if not self._to_read:
                return False
            self._reading = ContentStage(self._writer, self._settings(), self._woken).run([self._to_read.pop()])
        if next(self._reading, None) is None:
            self._reading = None
            self._to_read += self._woken - set(self._to_read)
            self._woken.clear()
        return True

    def heard(self, version: int) -> None:
        """The catalog's `data_version`: with another one than before, somebody may have found something more to be read."""
        if version != self._version:
            self._version, self._changed_before = version, -1

    def begin_again(self) -> None:
        """Something went wrong on the way: what is pending is asked for anew."""
        self._reading, self._changed_before = None, -1

    def _due(self, changed: int) -> list[int]:
        if changed == self._changed_before and not self._changed:
            return []
        with self._writer.snapshot() as connection:
            due = self._changed.union(Registry(connection).content_pending())
        self._changed_before = changed
        self._changed = set()
        return sorted(due)
