"""The state of a daemon that operators see: signs of life, counts, and problems, each reported once."""

from __future__ import annotations

import contextlib
import os
import time

from catalog.engine.open import check_identity, displayed, identity
from catalog.errors import CatalogLocked, CatalogUnavailable
from catalog.ingest.clock import now_ms
from catalog.ingest.index_reading import PutOff
from catalog.ingest.intake import Intake
from catalog.ingest.listener import Listener, Report
from catalog.ingest.notice import Notice
from catalog.ingest.store_state import Store
from catalog.layout.files import FileState
from catalog.layout.text import shorten
from catalog.names.age import in_seconds
from catalog.names.escape import shown
from catalog.names.sizes import counted
from catalog.watch.figures import Figures
from catalog.watch.inodes import Inodes
from catalog.watch.notify import Notifier
from catalog.watch.observer import TreeObserver
from catalog.watch.renamed import Renamed
from catalog.watch.status import encode, kernel_limit, watches_advised

PUT_OFF_SECONDS = 2.0
"""`ocicat status` lists a store that waits longer than this, with the reason."""
_MOST_LISTED = 20
_SHORTEST_PAUSE = 0.5
_LONGEST_PAUSE = 1.0  # Trying again is cheap, and a daemon should catch up within five seconds.


class Service(Listener):
    """The state of the daemon that follows the catalog at `path`, for operators. `report` receives lines and notices."""

    def __init__(self, path: str, report: Report) -> None:
        self._path = path
        self._report = report
        self.figures = Figures()
        self._since = now_ms()
        self.notifier = Notifier()
        self._file: tuple[int, int] | None = None
        self.troubled: str | None = None
        """Why the catalog cannot be written, or layouts cannot be read, at the moment; None if all is well."""
        self.troubled_since: int | None = None
        """When that began, in milliseconds since 1970; None if all is well."""
        self._trouble_until = 0.0
        self._pause = 0.0
        self._late: set[int] = set()
        self._unwatched = self._over_limit = False
        self._recovered: set[str] = set()
        self.inodes = Inodes()
        self.renamed = Renamed()
        self.trees: TreeObserver | None = None
        """The observer; None if nothing can be watched."""

    def listen(self, address: str | None) -> None:
        """Serve metrics at `address`, if one is given."""
        if address is not None:
            from catalog.watch.metrics import serve

            url = serve(address, self._path, self.figures)
            self._report(Notice("listening", f"metrics at {url}", url=url))

    # --- what the intake reports ----------------------------------------------------------------------------------

    def committed(self, seconds: float, lags: list[float]) -> None:
        self.figures.ingest.add(seconds)
        if self.figures.last_sweep is not None:  # Changes from before the start do not count.
            for lag in lags:
                self.figures.lag.add(max(0.0, lag))

    def looked(self, store: Store, file: FileState | None) -> None:
        self.inodes.saw(store.path, file)

    def is_held(self, store: Store, file: FileState) -> bool | None:
        if self.trees is None:
            return None
        # ctime may be later than the last write, for example after a change of permissions.
        return self.trees.is_held(os.fsencode(store.path), min(file.mtime_ns, file.ctime_ns))

    def may_read_sooner(self, store: Store, file: FileState, age: float) -> float | None:
        return None if self.trees is None else self.renamed.wait(self.trees, store, file, age)

    def shares(self, store: Store) -> bool:
        return self.inodes.shares(store.path)

    def heard(self, notice: Notice) -> None:
        self.figures.changes += notice.event == "store-changed"
        if notice.event == "store-recovered":
            self._recovered.add(str(notice.fields["path"]))
        self._report(notice)

    def recovered(self) -> set[str]:
        """Return the paths, as stored in the catalog, of the stores that became readable since the last call."""
        found, self._recovered = self._recovered, set()
        return found

    # --- the catalog's file -------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Remember the catalog's file, which was just opened, for the comparison in `check`."""
        with contextlib.suppress(OSError):
            self._file = identity(self._path)
        self.check()

    def check(self) -> None:
        """Raise CatalogUnavailable if the catalog's file was deleted or replaced, because further writes would be lost."""
        check_identity(self._path, self._file)

    # --- what goes wrong ----------------------------------------------------------------------------------------

    def trouble(self, error: CatalogUnavailable) -> float:
        """Report once that the catalog cannot be written, or layouts cannot be read. Return the time to wait, in seconds."""
        if self.troubled is None:
            self.troubled_since = now_ms()
            text = f"{error}; changes will be read when that is over"
            self._report(Notice("waiting", text, error=str(error)))
        self.troubled = str(error)
        if not isinstance(error, CatalogLocked):  # This has already waited for the lock.
            self._pause = min(max(_SHORTEST_PAUSE, self._pause * 2), _LONGEST_PAUSE)
        self._trouble_until = time.monotonic() + 2 * self._pause
        return self._pause

    def well(self) -> None:
        """Record that a round succeeded. After two pauses without a failure, the trouble is over."""
        if self.troubled is not None and time.monotonic() >= self._trouble_until:
            self.troubled, self.troubled_since, self._pause = None, None, 0.0
            self._report(Notice("resumed", f"{shown(displayed(self._path))} is followed again"))

    # --- signs of life ------------------------------------------------------------------------------------------

    def swept(self, stores: int, began: float) -> None:
        """Record that a sweep over all stores has ended. `began` is its start, in seconds of the monotonic clock."""
        self.figures.sweeps += 1
        self.figures.last_sweep = now_ms()
        seconds = round(time.monotonic() - began, 3)
        self._report(
            Notice(
                "swept",
                f"checked {counted(stores, 'store')} in {in_seconds(seconds)}",
                stores=stores,
                seconds=seconds,
            )
        )
        self.notifier.ready()

    def beat(self, intake: Intake | None, unread: list[PutOff], last_event: int | None, late: float) -> bytes:
        """Send a sign of life. Return the state that `ocicat status` reads.

        Stores that wait longer than `late` seconds are reported. `unread` are stores whose content takes long to read.
        """
        figures, trees = self.figures, self.trees
        figures.watches, figures.unwatched = (0, 0) if trees is None else trees.counts()
        over_limit = 0 if trees is None else trees.over_limit()
        figures.waiting = 0 if intake is None else len(intake.waiting)
        doing = self.troubled or ("starting" if figures.last_sweep is None else "following")
        self.notifier.status(
            f"{doing}: {counted(figures.stores, 'store')}, {counted(figures.roots, 'root')}, {figures.waiting} waiting"
        )
        self.notifier.alive()
        self._report_unwatched(over_limit)
        self._report_late([] if intake is None else intake.late(late))
        oldest = None if intake is None else intake.oldest()
        put_off = [*([] if intake is None else intake.put_off(PUT_OFF_SECONDS)), *unread]
        return encode(
            {
                "pid": os.getpid(),
                "since": self._since,
                "beat": now_ms(),
                "last_event": last_event,
                "last_sweep": figures.last_sweep,
                "waiting": figures.waiting,
                "oldest_waiting": None if oldest is None else int(now_ms() - (time.monotonic() - oldest) * 1000),
                "late_after": late,
                "put_off": [_published(each) for each in put_off[:_MOST_LISTED]],
                "trouble": self.troubled,
                "trouble_since": self.troubled_since,
                "polling": trees is None,
                "polled": figures.silent,
                "watched": figures.watches,
                "unwatched": figures.unwatched,
                "over_limit": over_limit,
                "max_user_watches": kernel_limit("max_user_watches"),
            }
        )

    def _report_late(self, late: list[PutOff]) -> None:
        """Report stores that have waited for a long time, with the reason, each once until it is taken."""
        for store, _, why in late:
            if store.id not in self._late:
                text = f"{shown(store.name)}: is put off, and its last rows stay: {why} ({shown(store.path)})"
                self._report(Notice("unsettled", text, store=store.name, path=store.path, why=why))
        self._late = {each.store.id for each in late}

    def _report_unwatched(self, over_limit: int) -> None:
        """Report once that directories cannot be watched, and once more if the limit is reached. Start over when all are watched."""
        count, watches = self.figures.unwatched, self.figures.watches
        if (count and not self._unwatched) or (over_limit and not self._over_limit):
            text = f"{count} directories cannot be watched, so they are only checked now and then: "
            if over_limit:
                text += f"raise {watches_advised(watches + over_limit, kernel_limit('max_user_watches'))}"
            else:
                text += "they are not readable"
            self._report(Notice("unwatched", text, directories=count, watches=watches, over_limit=over_limit))
        self._unwatched, self._over_limit = count > 0, over_limit > 0


def _published(each: PutOff) -> dict[str, object]:
    """Return the published form of a store that is put off. `since` is in milliseconds since 1970."""
    since = int(now_ms() - (time.monotonic() - each.since) * 1000)
    return {"store": shorten(each.store.name), "since": since, "why": each.why}
