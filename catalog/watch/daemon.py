"""`ocicat watch`: follows every layout (facts.md section 2).

Strategy. Events are hints; the sweep is the truth. A hint only says where to look; what is found there goes through the
intake, which waits for files to stand still, as everything else does. So a lost, late, doubled or wrong event costs time and
never an answer: every RESCAN_SECONDS all stores are looked at anyway, by a stat each, and roots are searched for layouts.

Watches are set before the first pass, so that nothing falls between. One thread, this one, reads layouts and writes the
catalog; watchdog's threads only leave hints. Between hints it sleeps, but for a look once a second at whether other
processes have added or removed stores.

A catalog has one daemon: the lock on `<catalog>.daemon` is held while it lives, and the file says how it is.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

from catalog.db.engine import Writer
from catalog.db.locks import DAEMON, FileLock
from catalog.errors import CatalogLocked
from catalog.ingest.content import ContentStage
from catalog.ingest.intake import Intake, now_ms
from catalog.ingest.registry import Registry, Root, Store
from catalog.ingest.retention import drop_missing, prune
from catalog.ingest.rows import Rows
from catalog.ingest.settings import Settings
from catalog.ingest.sweep import find_new, register
from catalog.layout.discover import is_layout
from catalog.names.escape import shown
from catalog.watch.hints import Hints, is_below_any
from catalog.watch.observer import TreeObserver, kernel_limit
from catalog.watch.status import encode, read_daemon
from catalog.watch.tops import Tops

RESCAN_SECONDS = 30.0
TICK_SECONDS = 1.0
CONTENT_SECONDS = 0.2  # so long content is read between two looks at what else there is
BEAT_SECONDS = 5.0
RETENTION_SECONDS = 3600.0
_LOCK_SECONDS = 2.0  # so long another writer is waited for, before there is a look at signals and at the clock
_START_SECONDS = 0.5  # a question whether a daemon lives takes the lock for an instant

Report = Callable[[str], None]


class Daemon:
    """Follows the layouts of the catalog at `path` until a signal ends it. `report` gets a line for each notable thing.

    `rescan` is the time between two sweeps in seconds; with `poll` there are no events, and that is the time.
    """

    def __init__(
        self,
        path: str,
        settings: Settings,
        report: Report,
        *,
        rescan: float = RESCAN_SECONDS,
        poll: float | None = None,
    ) -> None:
        self._path = path
        self._settings = settings
        self._report = report
        self._rescan = poll if poll is not None else rescan
        self._lock = FileLock(path + DAEMON, self._running())
        self._hints = Hints()
        self._poll = poll is not None
        self._observer: TreeObserver | None = None
        self._tops = Tops(None)
        self._stop = False
        self._sweep_now = True
        self._locked_out = False
        self._next_sweep = 0.0
        self._next_tick = 0.0
        self._next_beat = 0.0
        self._next_retention = 0.0
        self._since = now_ms()
        self._last_sweep: int | None = None
        self._told: set[str] = set()
        self._signature: tuple[object, ...] = ()
        self._data_version = -1
        self._look_for_content = False
        self._changed_before = -1
        self._to_read: list[int] = []
        self._reading: Iterator[int] | None = None
        self._roots: list[Root] = []
        self._by_path: dict[str, Store] = {}

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; returns the exit status. Raises CatalogLocked where another daemon runs."""
        directory = os.path.dirname(self._path)
        os.makedirs(directory, exist_ok=True)
        self._lock.acquire(_START_SECONDS)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._beat(None)
            with self._opened() as writer:
                self._start_watching()
                try:
                    self._follow(writer)
                finally:
                    if self._observer is not None:
                        self._observer.stop()
                        self._observer.join()
        except _Stopped:
            pass
        finally:
            self._lock.publish(b"")
            self._lock.release()
        self._report("ended by a signal")
        return 0

    def _opened(self) -> Writer:
        while not self._stop:
            try:
                return Writer(self._path, timeout=_LOCK_SECONDS)
            except CatalogLocked as error:
                self._say_locked(error)
                self._beat(None)
        raise _Stopped

    def _start_watching(self) -> None:
        if self._poll:
            return
        try:
            self._observer = TreeObserver(self._hints.take)
        except OSError as error:
            self._report(
                f"cannot be told of changes ({error.strerror}), looks every {self._rescan:g} seconds instead: "
                "raise fs.inotify.max_user_instances"
            )
            return
        self._observer.start()
        self._tops = Tops(self._observer.trees)

    # --- the loop -----------------------------------------------------------------------------------------------

    def _follow(self, writer: Writer) -> None:
        intake = Intake(writer, self._settings, self._report)
        self._reload(writer)
        self._report(f"watching {len(self._by_path)} stores and {len(self._roots)} roots of {shown(self._path)}")
        while not self._stop:
            try:
                self._turn(writer, intake)
                self._locked_out = False
            except CatalogLocked as error:
                self._say_locked(error)
                self._sweep_now = True  # what was hinted and not yet offered is found by looking at everything
                self._reading, self._changed_before = None, -1
            if time.monotonic() >= self._next_beat:
                self._beat(intake)

    def _turn(self, writer: Writer, intake: Intake) -> None:
        """One round: what was hinted, what has settled, what is due; then sleep until something is."""
        now = time.monotonic()
        self._follow_registry(writer, intake)
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._sweep_now = self._sweep_now or self._tops.have_changed()
        if self._sweep_now or self._hints.overflow or now >= self._next_sweep:
            self._sweep(writer, intake)
        else:
            self._take_hints(writer, intake)
        intake.look_again()
        self._read_content(writer, intake)
        if now >= self._next_retention and not self._stop:
            self._retain(writer)
        if self._stop:
            return
        due = intake.next_due()
        wake_at = min(self._next_sweep, self._next_beat, self._next_tick)
        if self._sweep_now or self._reading is not None or self._to_read:
            wake_at = 0.0
        if due is not None:
            wake_at = min(wake_at, due)
        self._hints.wake.wait(wake_at - time.monotonic())
        self._hints.wake.clear()

    def _say_locked(self, error: CatalogLocked) -> None:
        """Once, however long it lasts."""
        if not self._locked_out:
            self._report(f"{error}; what changes meanwhile is taken once it can be written")
        self._locked_out = True

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._sweep_now = True
        else:
            self._stop = True
        self._hints.wake.set()

    # --- looking ------------------------------------------------------------------------------------------------

    def _read_content(self, writer: Writer, intake: Intake) -> None:
        """Go on reading content for a moment: names come first, so hints and settled files interrupt it."""
        until = time.monotonic() + CONTENT_SECONDS
        while not self._stop and not self._hints.wake.is_set() and time.monotonic() < until:
            if self._reading is None:
                if not self._to_read and (self._look_for_content or intake.changed != self._changed_before):
                    self._changed_before = intake.changed
                    self._to_read = self._stage(writer).pending(look=self._look_for_content)
                    self._look_for_content = False
                if not self._to_read:
                    return
                self._reading = self._stage(writer).run(self._to_read.pop())
            if next(self._reading, None) is None:
                self._reading = None

    def _stage(self, writer: Writer) -> ContentStage:
        return ContentStage(writer, self._settings)

    def _sweep(self, writer: Writer, intake: Intake) -> None:
        """Look at everything: search the roots, and a stat for each store."""
        self._sweep_now = False
        stores, trees = self._hints.collect()  # the sweep looks wherever they point
        lost = self._hints.recovered()
        if lost:
            self._report("events were lost (the kernel's queue was full): looking at everything")
            self._watch(again=True)
        told: set[str] = set()

        def once(line: str) -> None:
            told.add(line)
            if line not in self._told:
                self._report(line)

        found = find_new(writer, self._roots, once)
        self._told = told
        self._reload(writer)
        hinted = stores | trees | {store.path for store in intake.waiting}
        missed = bool(found)
        for path, store in list(self._by_path.items()):
            if self._stop:
                return
            if not intake.offer(store) and not is_below_any(path, hinted):
                missed = True
            if time.monotonic() >= self._next_beat:
                self._beat(intake)
        intake.commit()
        if missed and not lost and self._last_sweep is not None:
            self._watch(again=True)  # no event told of it: who knows what else is not watched
        self._look_for_content = True
        self._last_sweep = now_ms()
        self._next_sweep = time.monotonic() + self._rescan
        self._next_beat = 0.0

    def _take_hints(self, writer: Writer, intake: Intake) -> None:
        stores, trees = self._hints.collect()
        if not stores and not trees:
            return
        known = {path for path in stores if path in self._by_path}
        if trees:
            known |= {path for path in self._by_path if is_below_any(path, trees)}
            self._tops.search(trees)
        roots = {root.path for root in self._roots}
        new = [path for path in stores - known if is_below_any(path, roots) and is_layout(path)]
        if new and register(writer, new, self._report):
            self._reload(writer)
            known |= {path for path in new if path in self._by_path}
        with writer.snapshot() as connection:
            fresh = Registry(connection).stores([self._by_path[path].id for path in known])
        for store in fresh:
            self._by_path[store.path] = store
            intake.offer(store)
        intake.commit()

    # --- what there is ------------------------------------------------------------------------------------------

    def _follow_registry(self, writer: Writer, intake: Intake) -> None:
        """Notice that another process has added or removed stores or roots."""
        version = writer.data_version()
        if version == self._data_version:
            return
        self._data_version = version
        with writer.snapshot() as connection:
            signature = Registry(connection).signature()
        if signature != self._signature:
            before = set(self._by_path)
            self._reload(writer)
            for path, store in self._by_path.items():
                if path not in before:
                    intake.offer(store)
            intake.commit()

    def _reload(self, writer: Writer) -> None:
        with writer.snapshot() as connection:
            registry = Registry(connection)
            self._signature = registry.signature()
            self._roots = registry.roots()
            self._by_path = {store.path: store for store in registry.stores()}
        self._watch()

    def _watch(self, *, again: bool = False) -> None:
        self._tops.follow({root.path for root in self._roots}, self._by_path, again=again)

    # --- housekeeping -------------------------------------------------------------------------------------------

    def _retain(self, writer: Writer) -> None:
        self._next_retention = time.monotonic() + RETENTION_SECONDS
        with writer.transaction() as connection:
            for name in drop_missing(Registry(connection), Rows(connection), self._settings, now_ms()):
                self._report(f"{shown(name)}: missing for longer than the grace time, its rows are dropped")
            prune(connection, self._settings, now_ms())

    def _beat(self, intake: Intake | None) -> None:
        """Say how it is, for `ocicat status` and the next daemon."""
        self._next_beat = time.monotonic() + BEAT_SECONDS
        oldest = None if intake is None else intake.oldest()
        watched, unwatched = (0, 0) if self._observer is None else self._observer.trees.counts()
        self._lock.publish(
            encode(
                {
                    "pid": os.getpid(),
                    "since": self._since,
                    "beat": now_ms(),
                    "last_event": self._hints.last_event,
                    "last_sweep": self._last_sweep,
                    "waiting": 0 if intake is None else len(intake.waiting),
                    "oldest_waiting": None if oldest is None else int(now_ms() - (time.monotonic() - oldest) * 1000),
                    "polling": self._observer is None,
                    "watched": watched,
                    "unwatched": unwatched,
                    "max_user_watches": kernel_limit("max_user_watches"),
                }
            )
        )

    def _running(self) -> str:
        values = read_daemon(self._path)
        who = f"process {values['pid']}" if values and "pid" in values else "another process"
        return f"a daemon already follows {shown(self._path)} ({who}): stop that one first"


class _Stopped(Exception):
    """A signal came before there was anything to follow."""
