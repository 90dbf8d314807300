"""Read content in the daemon, piece by piece (catalog.ingest.content). Names come first.

Blobs are written before the index.json that names them, sometimes by the thousand, and a change of index.json makes the daemon list
them anyway. So blobs that are added or removed without such a change are not urgent. They are listed when their directories look the
same in two sweeps in a row, or after MOST_LOOKS sweeps, which limits the cost of a store whose blobs change all the time.

No store waits for the content of another. A store that takes longer than SLICE_SECONDS is set aside until each store that has
not begun has had as much time. Then it continues where it was, taking turns with others that were set aside.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from sqlalchemy import text

from catalog.engine.interface import Writer
from catalog.ingest.completed import Completed
from catalog.ingest.content import GROUP, GROUP_ENTRIES, ContentStage
from catalog.ingest.index_reading import PutOff
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Settings
from catalog.ingest.store_state import Store
from catalog.ingest.turns import PAUSE_SECONDS, Turn, TurnEnded, TurnRules
from catalog.layout.beneath import Found
from catalog.layout.blobs_identity import blobs_identity

MOST_LOOKS = 10
SLICE_SECONDS = 0.5
"""How long the content of one store is read before others have their turn."""
_GROUP_SLICES = 4  # a group of small stores gets this many slices; after that its stores are read one by one
MOST_ASIDE = 16
"""The maximum number of stores that are set aside half read, with open directories. If there are more, the oldest has to start again."""
FIND_SECONDS = 1.0
"""The minimum time between two queries for stores to read while some stores are still waiting to be read."""
PATIENCE_SECONDS = 10.0
"""A store whose transactions have been rolled back for others for this long gets a longer turn (catalog.ingest.turns)."""


class _Reading:
    """A store, or several small ones, whose content is being read. Reading began at `since` (monotonic clock)."""

    def __init__(self, store_ids: list[int], steps: Iterator[int], seconds: float) -> None:
        self.store_ids = store_ids
        self.steps = steps
        self.since = time.monotonic()
        self.slice_ends = self.since + seconds
        self.long_turns = 0  # the number of longer turns that were ended
        self.undone_since = math.inf
        """When the first of its transactions began that were rolled back since the last success or longer turn; infinity if none was."""


class Contents:
    """Reads the content of stores through `writer`, with the settings that `settings` returns.

    If `others_wait` returns True, the current transaction is rolled back and repeated later, unless its store has waited for long.
    """

    def __init__(
        self,
        writer: Writer,
        settings: Callable[[], Settings],
        others_wait: Callable[[], bool] = lambda: False,
        *,
        slice_seconds: float = SLICE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        find_seconds: float = FIND_SECONDS,
        rules: TurnRules | None = None,
    ) -> None:
        self._slice = slice_seconds
        self._find_seconds = find_seconds
        self._patience = patience
        self._rules = rules or TurnRules()
        self._writer = writer
        self._settings = settings
        self._others_wait = others_wait
        self._not_before = 0.0
        self._completed = Completed()
        self._changed_before = -1
        self._version = -1
        self._changed: set[int] = set()
        self._not_pending: set[int] = set()  # stores to read, or being read, that are not pending in the catalog
        self._seen: dict[
            int, tuple[str, int]
        ] = {}  # for changing blob directories: their identity, and the number of sweeps in which they changed
        self._to_read: list[int] = []
        self._stores: dict[int, Store] = {}
        self._woken: set[int] = set()
        self._reading: _Reading | None = None
        self._aside: deque[_Reading] = deque()
        self._alone: set[int] = set()  # stores that are not read together with others
        self._turn = Turn(lambda: False)
        self._began = 0.0
        self._was_ended = False
        self._next_find = 0.0
        self._overtaken: set[int] = set()  # stores in progress that had more to read when `_find` last looked
        self._changed_again: set[int] = set()

    @property
    def is_busy(self) -> bool:
        """Whether there is content that is known to be unread and may be read now."""
        return time.monotonic() >= self._not_before and bool(
            self._reading or self._aside or self._to_read or self._changed
        )

    def put_off(self, patience: float) -> list[PutOff]:
        """Return the stores whose content has been in progress for more than `patience` seconds, the oldest first."""
        now = time.monotonic()
        readings = [*self._aside, *([self._reading] if self._reading else [])]
        found = []
        for each in sorted(readings, key=lambda each: each.since):
            stores = [self._stores[one] for one in each.store_ids if one in self._stores]
            if now - each.since > patience:
                why = "reading its content takes long, and other stores are read meanwhile"
                found += [PutOff(store, each.since, why) for store in stores]
        return found

    def look(self, store: Store, *, at_once: bool, at: Found | None = None) -> None:
        """Check whether blobs were added or removed since they were listed, even if index.json did not change.

        With `at_once`, have them listed without waiting until the changes stop. `at` is the store's directory if it was just found.
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
        """Check whether bad blobs have changed in place, which does not change their directory."""
        by_id = {store.id: store for store in stores if store.indexed_before and store.state != "missing"}
        with self._writer.snapshot() as connection:
            self._changed |= self._completed.stores(lambda sql, asked: connection.execute(text(sql), asked), by_id)

    def step(self, changed: int) -> bool:
        """Read for a moment, at most one transaction. Return whether there was anything to read.

        `changed` is the number of stores that have changed so far. If it differs from the last call, there may be more to read.
        """
        if time.monotonic() < self._not_before:
            return False
        has_news = bool(self._changed) or changed != self._changed_before
        if has_news and not (self._to_read and time.monotonic() < self._next_find):
            self._find(changed)
        reading = self._reading
        if reading is not None and time.monotonic() >= reading.slice_ends:
            if len(reading.store_ids) > 1:
                self._split(reading)
                reading = None
            elif self._others_are_to_be_read:
                self._set_aside(reading)
                reading = None
        if reading is None:
            reading = self._reading = self._next()
        if reading is None:
            return False
        self._began, self._was_ended = time.monotonic(), False
        self._turn = Turn(self._is_over)
        try:
            done = next(reading.steps, None) is None
        except TurnEnded:
            done = False
            reading.steps = self._steps(reading.store_ids)
        if done:
            self._end(reading)
        elif self._was_ended:
            reading.undone_since = min(reading.undone_since, self._began)
            if self._is_longer(reading):
                reading.long_turns += 1
                reading.undone_since = time.monotonic()
            reading.slice_ends = 0.0
            if not self._others_are_to_be_read:
                self._not_before = time.monotonic() + PAUSE_SECONDS
        else:
            reading.undone_since, reading.long_turns = math.inf, 0
        return True

    def _end(self, reading: _Reading) -> None:
        """Finish stores whose content, as it was when reading began, has been read completely."""
        self._reading = None
        self._to_read += self._woken - set(self._to_read)
        self._woken.clear()
        done = set(reading.store_ids)
        if done & self._overtaken:
            self._changed_before, self._next_find = -1, 0.0
        self._changed |= done & self._changed_again
        self._overtaken -= done
        self._changed_again -= done
        self._not_pending -= done
        self._alone -= done

    @property
    def _others_are_to_be_read(self) -> bool:
        return bool(self._to_read or self._aside)

    def _set_aside(self, reading: _Reading) -> None:
        self._aside.append(reading)
        self._reading = None
        if len(self._aside) > MOST_ASIDE:
            self._to_read[:0] = self._aside.popleft().store_ids

    def _split(self, reading: _Reading) -> None:
        """Have the stores of a group read one by one. Reading them together takes long, perhaps because one holds up the others."""
        self._alone.update(reading.store_ids)
        self._to_read += reversed(reading.store_ids)
        self._reading = None

    def _next(self) -> _Reading | None:
        """Return the smallest stores that have not begun. If there are none, return the one that was set aside first, or None."""
        if self._to_read:
            ids = self._together()
            return _Reading(ids, self._steps(ids), self._slice * (_GROUP_SLICES if len(ids) > 1 else 1))
        if not self._aside:
            return None
        found = self._aside.popleft()
        found.slice_ends = time.monotonic() + self._slice
        return found

    def _together(self) -> list[int]:
        """Take the smallest store that has not begun, and others as small to save commits, which take most of the time."""
        ids: list[int] = []
        entries = 0
        while self._to_read and len(ids) < GROUP:
            store = self._stores.get(self._to_read[-1])
            is_alone = store is None or store.id in self._alone
            entries += 0 if store is None else store.entries
            if ids and (is_alone or entries > GROUP_ENTRIES):
                break
            ids.append(self._to_read.pop())
            if is_alone:
                break
        return ids

    def _steps(self, store_ids: list[int]) -> Iterator[int]:
        return ContentStage(self._writer, self._settings(), self._woken, self._pause).run(store_ids)

    def _pause(self) -> None:
        self._turn.pause()  # `_turn` is the turn of the current step.

    def _is_over(self) -> bool:
        reading = self._reading
        if reading is None or not self._others_wait():
            return False
        took = time.monotonic() - self._began
        self._was_ended = not self._is_longer(reading) or took > self._rules.longest(reading.long_turns)
        return self._was_ended

    def _is_longer(self, reading: _Reading) -> bool:
        return self._began - reading.undone_since >= self._patience

    def heard(self, version: int) -> None:
        """Compare the catalog's `data_version` with the last one. If it has changed, another process may have found more to read."""
        if version != self._version:
            self._version, self._changed_before = version, -1

    def begin_again(self) -> None:
        """Start again after an error. The next `step` asks the catalog for pending stores."""
        self._reading, self._changed_before = None, -1
        self._aside.clear()
        self._to_read.clear()
        self._alone.clear()
        self._overtaken.clear()
        self._changed |= self._changed_again | self._not_pending
        self._changed_again.clear()
        self._not_pending.clear()
        self._next_find = 0.0

    def _find(self, changed: int) -> None:
        """Find the stores to read. A store in progress that changed meanwhile is checked again when it is finished.

        A store whose blobs changed is not pending in the catalog, so this object has to remember it until it is read.
        """
        with self._writer.snapshot() as connection:
            registry = Registry(connection)
            pending = set(registry.content_pending())
            news = self._changed | pending
            due = news | self._not_pending
            found = registry.stores(sorted(due))
        in_progress = {one for each in self._aside for one in each.store_ids}
        if self._reading is not None:
            in_progress.update(self._reading.store_ids)
        self._overtaken |= news & in_progress
        self._changed_again |= self._changed & in_progress
        self._changed_before, self._changed = changed, set()
        self._stores = {store.id: store for store in found}
        self._not_pending = due & self._stores.keys() - pending
        due -= in_progress
        sizes = {store.id: store.entries for store in found}
        self._to_read = sorted(
            due, key=lambda one: (-sizes.get(one, 0), one)
        )  # The smallest store is last, and taken first.
        if self._to_read:
            self._next_find = time.monotonic() + self._find_seconds
