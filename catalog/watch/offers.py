"""Offer known stores to the intake in a fair order: the hinted stores, or all of them if hints come late.

A change of a small store that was read before is always taken first, however busy other stores are, even if it comes while
others are being offered. No call takes much longer than LOOK_SECONDS.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Container

from catalog.engine.interface import Writer
from catalog.ingest.intake import Intake
from catalog.ingest.store_state import Store, differs, has_problem
from catalog.ingest.turns import LARGE_ENTRIES, comes_first, had_turn
from catalog.layout.beneath import Parents
from catalog.layout.index import IndexProblem, stat_index
from catalog.watch.hints import Hints
from catalog.watch.registered import Registered
from catalog.watch.service import Service

LOOK_SECONDS = 0.1
"""The time for which the daemon does one thing before it checks for new hints."""
SOON_SECONDS = 0.5
"""A store that the intake will check within this time is not offered again."""
CATCH_UP_SHARE = 4
"""After a check of known stores, the daemon does other work for at least this many times as long."""

FIRST_SECONDS = 0.02
"""The time between two searches of new hints for stores that come first, while others are being offered."""

_READ_AT_ONCE = 32  # stores whose rows are read together
_FIRST_AT_ONCE = 4  # the same number for stores that come first


class Offers:
    """Offers the stores of `registered` to an intake. `show_life` is called after each of them."""

    def __init__(
        self,
        hints: Hints,
        registered: Registered,
        service: Service,
        show_life: Callable[[], None],
        *,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        self._hints = hints
        self._registered = registered
        self._service = service
        self._show_life = show_life
        self._first_seconds = first_seconds
        self._next_first = 0.0
        self._next_catch_up = 0.0
        self._last: dict[int, float] = {}  # the time when each store was last offered, by id
        self._to_check: list[Store] = []  # the stores that the current check of all stores has left
        self.offered: set[str] = set()
        """The paths of stores that were offered since the last `begin`."""

    def begin(self) -> None:
        """Forget which stores were offered."""
        self.offered = set()
        known = {store.id for store in self._registered.stores.values()}
        self._last = {store_id: last for store_id, last in self._last.items() if store_id in known}

    def catch_up(self, writer: Writer, intake: Intake) -> None:
        """Offer known stores that have changed, if events were lost or are far behind.

        This takes a stat per store, and about LOOK_SECONDS. The next call continues with the rest.
        """
        began = time.monotonic()
        if began >= self._next_catch_up and self._are_hints_late():
            changed = self._changed(intake.due_before(math.inf), began + LOOK_SECONDS)
            if changed:
                self.offer(writer, intake, changed)
            self._pause_catching_up(began)

    def hint_late(self, intake: Intake) -> None:
        """Add hints of known stores that have changed, if events were lost or are far behind.

        Call this often during the turn of a large store, which ends when there is a hint for a smaller one. It takes about
        FIRST_SECONDS. The next call of this or of `catch_up` continues with the rest.
        """
        began = time.monotonic()
        if began >= self._next_catch_up and self._are_hints_late():
            self._hints.look(self._changed(intake.due_before(math.inf), began + FIRST_SECONDS))
            self._pause_catching_up(began)

    def _are_hints_late(self) -> bool:
        trees = self._service.trees
        return self._hints.overflow or (trees is not None and trees.is_behind())

    def _pause_catching_up(self, began: float) -> None:
        now = time.monotonic()
        self._next_catch_up = now + max(LOOK_SECONDS, CATCH_UP_SHARE * (now - began))

    def _changed(self, waiting: Container[int], until: float) -> set[str]:
        """Return the paths of stores whose index.json differs from the catalog, except those that the intake checks anyway."""
        if not self._to_check:
            self._to_check = list(self._registered.stores.values())
        changed: set[str] = set()
        with Parents() as parents:
            while self._to_check and time.monotonic() < until:
                store = self._to_check.pop()
                if store.id not in waiting and store.path in self._registered.stores and _has_changed(store, parents):
                    changed.add(store.path)
        return changed

    def take_known(self, writer: Writer, intake: Intake) -> None:
        """Offer the known stores that were hinted. Other hints are kept."""
        known = self._hints.collect_if(self._registered.stores.__contains__)
        if known:
            self.offer(writer, intake, known)

    def offer(self, writer: Writer, intake: Intake, paths: set[str]) -> None:
        """Offer the stores at these paths, beginning with the one offered longest ago (catalog.ingest.turns, `had_turn`).

        Stores not reached within LOOK_SECONDS are hinted again. Stores that were never read come last, so that no number of new
        stores delays a change of an old one. Stores that the intake checks soon anyway are left out.
        """
        self.offered |= paths
        wanted = self._sorted(intake, paths)
        until = time.monotonic() + LOOK_SECONDS
        is_first = True
        while wanted:
            some, wanted = wanted[:_READ_AT_ONCE], wanted[_READ_AT_ONCE:]
            left = {store.path for store in some}
            for store in self._registered.read_some(writer, [store.path for store in some]):
                if is_first and not self._comes_first(store):
                    intake.commit()  # Stores that come first do not wait for the others.
                    is_first = False
                left.discard(store.path)
                self._offer(intake, store)
                self._show_life()
                self.take_first(writer, intake)
                if time.monotonic() >= until:
                    break
            if (left or wanted) and time.monotonic() >= until:
                self._hints.look(left.union(store.path for store in wanted))
                self._hints.wake.set()
                break
        intake.commit()

    def take_first(self, writer: Writer, intake: Intake) -> None:
        """Take the changes of stores that come before others: those that were hinted meanwhile, and those that have settled.

        Call this often during long work. It does something only every FIRST_SECONDS, and takes at most about that time.
        """
        began = time.monotonic()
        if began < self._next_first:
            return
        known = self._registered.stores
        first = self._hints.collect_if(lambda path: (store := known.get(path)) is not None and self._comes_first(store))
        self.offered |= first
        wanted = self._sorted(intake, first)
        while wanted and time.monotonic() < began + FIRST_SECONDS:
            some, wanted = wanted[:_FIRST_AT_ONCE], wanted[_FIRST_AT_ONCE:]
            for store in self._registered.read_some(writer, [store.path for store in some]):
                self._offer(intake, store)
        self._hints.look({store.path for store in wanted})
        if first:
            intake.commit()
        intake.look_again(FIRST_SECONDS, first_only=True)
        self._next_first = time.monotonic() + self._first_seconds

    def _offer(self, intake: Intake, store: Store) -> None:
        self._last[store.id] = time.monotonic()
        intake.offer(store)

    def _sorted(self, intake: Intake, paths: set[str]) -> list[Store]:
        """Return the known stores at these paths in the order to offer them, without those that the intake checks soon."""
        soon = intake.due_before(time.monotonic() + SOON_SECONDS)
        known = self._registered.stores
        return sorted(
            (store for path in paths if (store := known[path]).id not in soon),
            key=lambda store: (
                not self._comes_first(store),
                self._service.shares(store),
                not store.indexed_before,
                had_turn(self._last.get(store.id, 0.0), store.entries / LARGE_ENTRIES),
            ),
        )

    def _comes_first(self, store: Store) -> bool:
        return comes_first(store, shares=self._service.shares(store))


def _has_changed(store: Store, parents: Parents) -> bool:
    try:
        return differs(store, stat_index(store.opened, parents.find(store.opened)))
    except IndexProblem as problem:
        return not has_problem(store, problem)
