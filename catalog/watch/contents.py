"""What content there is to be read (catalog.ingest.content), and reading it bit by bit: names come first.

Blobs come before the index.json that names them, sometimes by the thousand, and a change of that has them listed anyway. So
blobs that come or go by themselves are no hurry: a store's are listed once they were seen the same in two sweeps in a row,
or after MOST_LOOKS sweeps, which is what a store costs into which blobs are written all the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator

from sqlalchemy import text

from catalog.db.engine import Writer
from catalog.ingest.completed import Completed
from catalog.ingest.content import ContentStage
from catalog.ingest.known import Store
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Settings
from catalog.ingest.turns import PAUSE_SECONDS, Turn, TurnEnded, patience
from catalog.layout.beneath import Found
from catalog.layout.blobs import blobs_identity

MOST_LOOKS = 10


class Contents:
    """The content of stores, read through `writer` by the settings that `settings` gives at that moment.

    A transaction ends early where `others_wait`, and is made again later; not that of a store that has waited for long.
    """

    def __init__(
        self, writer: Writer, settings: Callable[[], Settings], others_wait: Callable[[], bool] = lambda: False
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._others_wait = others_wait
        self._ended: dict[int, float] = {}  # stores whose turn was ended, and when it was for the first time
        self._not_before = 0.0
        self._completed = Completed()
        self._changed_before = -1
        self._version = -1
        self._changed: set[int] = set()
        self._seen: dict[int, tuple[str, int]] = {}  # what blobs that change looked like, and in how many looks
        self._to_read: list[int] = []
        self._woken: set[int] = set()
        self._reading: Iterator[int] | None = None
        self._at = 0
        self._turn = Turn(lambda: False)

    @property
    def is_busy(self) -> bool:
        """Whether there is more to be read, as far as is known."""
        return time.monotonic() >= self._not_before and (
            self._reading is not None or bool(self._to_read or self._changed)
        )

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

    def look_for_completed(self, stores: Iterable[Store]) -> None:
        """See whether blobs that were not good have changed where they lie, of which no directory tells."""
        by_id = {store.id: store for store in stores if store.indexed_before and store.state != "missing"}
        with self._writer.snapshot() as connection:
            self._changed |= self._completed.stores(lambda sql, asked: connection.execute(text(sql), asked), by_id)

    def step(self, changed: int) -> bool:
        """Read on for one transaction; returns whether there was anything to read.

        `changed` is the number of stores that have changed so far: another one than before says that there is more.
        """
        if time.monotonic() < self._not_before:
            return False
        if self._reading is None:
            if not self._to_read:
                self._to_read = self._due(changed)
            if not self._to_read:
                return False
            self._at = self._to_read.pop()
            stage = ContentStage(self._writer, self._settings(), self._woken, self._pause)
            self._reading = stage.run([self._at])
        self._turn = Turn(self._is_over)
        try:
            done = next(self._reading, None) is None
        except TurnEnded:
            self._reading = None
            self._ended.setdefault(self._at, time.monotonic())
            self._to_read.insert(0, self._at)  # after all others
            self._not_before = time.monotonic() + PAUSE_SECONDS
            return True
        if done:
            self._reading = None
            self._ended.pop(self._at, None)
            self._to_read += self._woken - set(self._to_read)
            self._woken.clear()
        return True

    def _pause(self) -> None:
        self._turn.pause()  # of the step at hand

    def _is_over(self) -> bool:
        return self._others_wait() and time.monotonic() - self._ended.get(self._at, math.inf) < patience(0)

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
            registry = Registry(connection)
            due = self._changed.union(registry.content_pending())
            sizes = {store.id: store.entries for store in registry.stores(sorted(due))} if len(due) > 1 else {}
        self._changed_before = changed
        self._changed = set()
        return sorted(due, key=lambda store_id: (-sizes.get(store_id, 0), store_id))  # the smallest is taken first
