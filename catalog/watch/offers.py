"""Which known stores are offered to the intake, and in which order: those that were hinted, or all of them if hints come late.

A change of a small store that was read before is always taken first, however busy other stores are. No call takes much longer
than LOOK_SECONDS.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from catalog.engine.interface import Writer
from catalog.ingest.intake import Intake
from catalog.watch.hints import Hints
from catalog.watch.registered import Registered
from catalog.watch.service import Service

LOOK_SECONDS = 0.2
"""How long the daemon does one thing before it looks at new hints."""
CATCH_UP_SHARE = 4
"""After it has looked at all known stores, the daemon does other work for at least this many times as long."""


class Offers:
    """Offers the stores of `registered` to an intake. `show_life` is called after each of them."""

    def __init__(self, hints: Hints, registered: Registered, service: Service, show_life: Callable[[], None]) -> None:
        self._hints = hints
        self._registered = registered
        self._service = service
        self._show_life = show_life
        self._next_catch_up = 0.0
        self.offered: set[str] = set()
        """The paths of stores that were offered since this was last emptied."""

    def begin(self) -> None:
        """Forget what was offered."""
        self.offered = set()

    def catch_up(self, writer: Writer, intake: Intake) -> None:
        """Offer all known stores if events were lost or are far behind. This takes less time than a sweep."""
        began = time.monotonic()
        if began < self._next_catch_up:
            return
        trees = self._service.trees
        if self._hints.overflow or (trees is not None and trees.is_behind()):
            self.offer(writer, intake, set(self._registered.stores))
            took = time.monotonic() - began
            self._next_catch_up = began + took + max(LOOK_SECONDS, CATCH_UP_SHARE * took)

    def take_known(self, writer: Writer, intake: Intake) -> None:
        """Offer the known stores that were hinted. Other hints are kept."""
        known = self._hints.collect_known(self._registered.stores)
        if known:
            self.offer(writer, intake, known)

    def offer(self, writer: Writer, intake: Intake, paths: set[str]) -> None:
        """Offer the stores at these paths, small ones first. Stores not reached within LOOK_SECONDS are hinted again.

        Stores that were never read come last, so that no number of new stores delays a change of an old one.
        """
        self.offered |= paths
        found = sorted(
            self._registered.read_some(writer, paths),
            key=lambda store: (self._service.shares(store), not store.indexed_before, store.entries),
        )
        until = time.monotonic() + LOOK_SECONDS
        for number, store in enumerate(found):
            if number and time.monotonic() >= until:
                self._hints.look({each.path for each in found[number:]})
                self._hints.wake.set()
                break
            intake.offer(store)
            self._show_life()
        intake.commit()
