"""What a daemon owes to whoever runs it: signs of life, figures, what goes wrong said once, and an end where it makes no sense
to go on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from catalog.db.failures import gone
from catalog.errors import CatalogLocked, CatalogUnavailable
from catalog.ingest.intake import Listener, Report, unsettled
from catalog.ingest.notice import Notice
from catalog.ingest.registry import Store
from catalog.names.escape import shown
from catalog.watch.figures import Figures
from catalog.watch.notify import Notifier
from catalog.watch.status import watches_advised

_SHORTEST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


class Service(Listener):
    """The daemon that follows the catalog at `path`, as those see it who run it. `report` gets lines and notices."""

    def __init__(self, path: str, report: Report) -> None:
        self._path = path
        self._report = report
        self.figures = Figures()
        self.notifier = Notifier()
        self._file: tuple[int, int] | None = None
        self._trouble = ""
        self._trouble_until = 0.0
        self._pause = 0.0
        self._late: set[int] = set()
        self._unwatched = False

    def listen(self, address: str | None) -> None:
        """Let metrics be had at `address`, where it is one."""
        if address is not None:
            from catalog.watch.metrics import serve

            url = serve(address, self._path, self.figures)
            self._report(Notice("listening", f"metrics at {url}", url=url))

    # --- what the intake tells ----------------------------------------------------------------------------------

    def committed(self, seconds: float, lags: list[float]) -> None:
        self.figures.ingest.add(seconds)
        if self.figures.last_sweep is not None:  # what changed while no daemon ran is not its lag
            for lag in lags:
                self.figures.lag.add(max(0.0, lag))

    def heard(self, notice: Notice) -> None:
        self.figures.changes += notice.event == "store-changed"
        self._report(notice)

    # --- the catalog's file -------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The catalog is open: from now on its file has to be this one."""
        self._file = self._identity()
        self.check()

    def check(self) -> None:
        """Raise CatalogUnavailable where another file, or none, is at the catalog's path: what is written would be lost."""
        if self._file is None or self._identity() != self._file:
            raise gone(self._path)

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return self._file  # nobody knows: it says so itself
        return found.st_dev, found.st_ino

    # --- what goes wrong ----------------------------------------------------------------------------------------

    def trouble(self, error: CatalogUnavailable) -> float:
        """The catalog cannot be written, or layouts not be read, for now: said once. Returns how many seconds to wait."""
        if not self._trouble:
            text = f"{error}; what changes meanwhile is taken once that has passed"
            self._report(Notice("waiting", text, error=str(error)))
        self._trouble = str(error)
        if not isinstance(error, CatalogLocked):  # that one was waited for
            self._pause = min(max(_SHORTEST_PAUSE, self._pause * 2), _LONGEST_PAUSE)
        self._trouble_until = time.monotonic() + 2 * self._pause
        return self._pause

    def well(self) -> None:
        """A round went well; after two pauses of that the trouble is over."""
        if self._trouble and time.monotonic() >= self._trouble_until:
            self._trouble, self._pause = "", 0.0
            self._report(Notice("resumed", f"{shown(self._path)} is followed again"))

    # --- signs of life ------------------------------------------------------------------------------------------

    def swept(self, stores: int, began: float) -> None:
        """All stores were looked at once, since `began` by the monotonic clock."""
        self.figures.sweeps += 1
        self.figures.last_sweep = time.time_ns() // 1_000_000
        seconds = round(time.monotonic() - began, 3)
        self._report(Notice("swept", f"looked at {stores} stores in {seconds} seconds", stores=stores, seconds=seconds))
        self.notifier.ready()

    def alive(self, stores: int, roots: int, late: Iterable[Store]) -> None:
        """The loop goes round; `late` are the stores that have not stood still for long."""
        doing = self._trouble or ("starting" if self.figures.last_sweep is None else "following")
        self.notifier.status(f"{doing}: {stores} stores, {roots} roots, {self.figures.waiting} waiting")
        self.notifier.alive()
        self._tell_unwatched()
        late = list(late)
        unsettled((store for store in late if store.id not in self._late), self._report)
        self._late = {store.id for store in late}

    def _tell_unwatched(self) -> None:
        """Say that there are directories that cannot be watched, once until all can be."""
        count = self.figures.unwatched
        if count and not self._unwatched:
            needed = watches_advised(self.figures.watches + count)
            text = f"{count} directories cannot be watched, and are only looked at now and then: raise {needed}"
            self._report(Notice("unwatched", text, directories=count, watches=self.figures.watches))
        self._unwatched = count > 0
