"""`ocicat watch`: follows every layout.

Events only give hints; the daemon relies on the sweep. A hint names a place to check. A change that is found there goes through the
intake like every other change, and waits until the file has settled. So an event that is lost, late, repeated or wrong costs
time, but never makes an answer wrong: every `watch.rescan_seconds` the daemon stats all stores and searches the roots for
layouts anyway.

Watches are set before the first pass, so that no change is missed in between. Only the main thread reads layouts and writes
the catalog; the two threads of the observer only leave hints. Between hints the main thread sleeps, except that once a second
it checks whether other processes have added or removed stores.

A catalog has one daemon. It holds the lock `<catalog>.daemon-lock` while it runs, and keeps its state in `<catalog>.daemon`.

This module is longer than others because the steps of the main loop share one state, and their order is what makes it correct.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from types import FrameType

from catalog.engine.interface import Writer
from catalog.engine.locks import DAEMON, DAEMON_LOCK, FileLock, StateFile
from catalog.engine.open import beside, displayed, open_writer
from catalog.errors import CatalogLocked, CatalogUnavailable, CatalogUnreachable, Exhausted, NoRoom
from catalog.exhausted import out_of_memory
from catalog.ingest.clock import now_ms
from catalog.ingest.intake import Intake
from catalog.ingest.listener import Report
from catalog.ingest.notice import Notice
from catalog.ingest.retention import retain
from catalog.ingest.sharing import forget_gone
from catalog.ingest.store_state import has_archives
from catalog.ingest.sweep import find_new, register
from catalog.layout.beneath import Parents, opened_below
from catalog.layout.discover import Listings, is_layout
from catalog.names.age import in_seconds
from catalog.names.escape import shown
from catalog.names.paths import encode_path
from catalog.names.sizes import counted
from catalog.watch.answering import Answering
from catalog.watch.clock import Clock
from catalog.watch.configuration import Configured
from catalog.watch.contents import Contents
from catalog.watch.hints import Hints, is_below_any
from catalog.watch.machine import Claim
from catalog.watch.mounts import SilentPlaces
from catalog.watch.observer import TreeObserver
from catalog.watch.offers import LOOK_SECONDS, Offers
from catalog.watch.registered import Registered
from catalog.watch.rereading import Rereading
from catalog.watch.service import PUT_OFF_SECONDS, Service
from catalog.watch.status import read_daemon
from catalog.watch.waiting import changed_smaller
from catalog.watch.watched_roots import WatchedRoots

TICK_SECONDS = 1.0
CONTENT_SECONDS = 0.1  # how long content is read before hints and settled files are checked again
AT_ONCE = 500
"""The maximum number of entries of small stores that are written in one transaction. Other stores wait until it is committed."""
BEAT_SECONDS = 5.0
RETENTION_SECONDS = 3600.0
LIST_EVERY = 20  # Every 20th sweep lists all directories; the others list only directories whose times have changed.
_LOCK_SECONDS = 2.0  # how long to wait for another writer before signals and the clock are checked
_START_SECONDS = 0.5  # how long to wait for a daemon that is about to end
_ANY_SIZE = 1 << 63
_TEMPORARY = (CatalogLocked, CatalogUnreachable, NoRoom, Exhausted)
"""Errors that may be temporary, so the daemon tries again. Any other error ends it."""


class Daemon:
    """Follows the layouts of the catalog at `path`, as configured by `configured`, until a signal ends it.

    `report` receives a line or notice for everything that a person should know. `answering` is the answerer that the daemon keeps
    running if the configuration asks for one. With `take_over`, this machine replaces the one that followed the stores of its host
    (catalog.watch.machine).
    """

    def __init__(
        self, path: str, configured: Configured, report: Report, answering: Answering, *, take_over: bool = False
    ) -> None:
        self._path = path
        self._take_over = take_over
        self._claim = Claim()
        self._configured = configured
        self._report = report
        self._answering = answering
        self._service = Service(path, report)
        self._silent = SilentPlaces()
        self._lock = FileLock(beside(path) + DAEMON_LOCK, self._running())
        self._state = StateFile(beside(path) + DAEMON)
        self._hints = Hints()
        self._observer: TreeObserver | None = None
        self._writer: Writer | None = None
        self._intake: Intake | None = None
        self._contents: Contents | None = None
        self._watched = WatchedRoots(None)
        self._rereading = Rereading()
        self._stop = False
        self._sweep_now = True
        self._read_again = False
        self._next_sweep = 0.0
        self._next_silent = 0.0
        self._next_tick = 0.0
        self._next_beat = 0.0
        self._next_look = 0.0
        self._next_overflow = 0.0
        self._between: set[str] = set()  # the paths that were hinted during the sweep
        self._turns_ended = 0
        self._next_retention = 0.0
        self._reported: set[str] = set()  # the lines about directories that the last sweep could not search
        self._registered = Registered()
        self._offers = Offers(self._hints, self._registered, self._service, self._show_life)
        self._listings = Listings()
        self._clock = Clock()

    def run(self) -> int:
        """Run until SIGTERM or SIGINT. Return the exit status.

        Raises CatalogLocked if another daemon runs, and CatalogUnavailable if another machine has this host's name.
        """
        with contextlib.suppress(OSError):  # Taking the lock reports the error.
            os.makedirs(os.path.dirname(beside(self._path)), exist_ok=True)
        self._lock.acquire(_START_SECONDS)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._state.open()
            self._service.listen(self._configured.now.metrics)
            self._beat()
            with self._opened() as writer:
                self._state.share_as(beside(self._path))
                self._service.opened()
                self._start_watching()
                try:
                    self._follow(writer)
                finally:
                    self._service.notifier.stopping()
                    self._stop_watching()
        except _Stopped:
            pass
        finally:
            self._answering.end()
            self._state.close()
            self._lock.release()
        self._report(Notice("stopped", "ended by a signal"))
        return 0

    def _opened(self) -> Writer:
        while not self._stop:
            try:
                return open_writer(self._path, timeout=_LOCK_SECONDS)
            except (CatalogLocked, CatalogUnreachable) as error:
                pause = self._service.trouble(error)
                self._beat()
                self._hints.wake.wait(pause)
                self._hints.wake.clear()
        raise _Stopped

    def _start_watching(self) -> None:
        if self._configured.now.poll is not None:
            return
        try:
            self._observer = TreeObserver(self._hints.take)
        except OSError as error:
            text = (
                f"cannot get file events ({error.strerror}), so all stores are checked every "
                f"{in_seconds(self._configured.now.interval)}: raise fs.inotify.max_user_instances"
            )
            self._report(Notice("polling", text, error=error.strerror))
            return
        self._observer.while_waiting = self._look_while_watching
        self._observer.is_waited_for = lambda: not self._stop
        self._observer.start()
        self._service.trees = self._observer
        self._watched = WatchedRoots(self._service.trees)

    def _stop_watching(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
        self._observer, self._service.trees, self._watched = None, None, WatchedRoots(None)

    # --- the loop -----------------------------------------------------------------------------------------------

    def _follow(self, writer: Writer) -> None:
        settings = self._configured.now.settings
        intake = Intake(writer, settings, self._report, self._service, self._others_wait, entries_at_once=AT_ONCE)
        self._writer, self._intake = writer, intake
        contents = Contents(writer, lambda: self._configured.now.settings, self._anybody_waits)
        self._contents = contents
        while not self._stop:
            try:
                self._claim.make(writer, take_over=self._take_over)
                self._configured.register(writer)
                self._reload(writer)
                break
            except _TEMPORARY as error:
                self._back_off(error)
        stores, roots = len(self._registered.stores), len(self._registered.roots)
        place = shown(displayed(self._path))
        text = f"watching {counted(stores, 'store')} and {counted(roots, 'root')} of {place}"
        self._report(Notice("started", text, path=place, stores=stores, roots=roots, pid=os.getpid()))
        if not stores and not roots:
            self._report(Notice("note", "there is nothing to follow yet: 'ocicat add PATH' adds a layout or a root"))
        while not self._stop:
            try:
                self._turn(writer, intake, contents)
                self._service.well()
            except (*_TEMPORARY, MemoryError) as error:
                self._sweep_now = True  # The sweep finds changes that were hinted but not yet offered.
                contents.begin_again()
                self._back_off(error if isinstance(error, CatalogUnavailable) else out_of_memory())
            except CatalogUnavailable:
                self._service.check()  # Raises a clearer error if the file was replaced.
                raise
            self._show_life()

    def _turn(self, writer: Writer, intake: Intake, contents: Contents) -> None:
        """Do one round: take hints, check files that have settled, do whatever is due. Then sleep until there is something to do."""
        now = time.monotonic()
        if self._read_again:
            self._configure(intake)
        self._configured.register(writer)
        self._follow_registry(writer, intake, contents)
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._service.check()
            self._configured.look()
            self._answering.look(wanted=self._configured.now.answer)
            if self._watched.have_changed():  # Not in one expression, because a signal may set `_sweep_now` meanwhile.
                self._sweep_now = True
        if now >= self._next_silent:
            self._next_silent = now + self._configured.now.silent
            self._hints.look(self._silent.look(self._registered.stores, self._show_life))
        is_overflown = self._hints.overflow and now >= self._next_overflow
        if self._sweep_now or is_overflown or now >= self._next_sweep:
            self._sweep(writer, intake, contents)
        else:
            self._offers.catch_up(writer, intake)
            self._take_hints(writer, intake)
        intake.look_again(LOOK_SECONDS)
        if shared := self._service.inodes.concerned():
            self._hints.look(shared)  # The event named only one of these stores.
            self._hints.wake.set()
        if self._watched.miss(self._service.recovered()):
            # A store came back after the watches were set and before it was read. Nobody watches it, so its next removal would
            # cause no event.
            self._sweep_now = True
        self._read_content(intake, contents)
        if now >= self._next_retention and not self._stop:
            self._retain(writer)
        if self._stop:
            return
        due = intake.next_due()
        wake_at = min(self._next_sweep, self._next_beat, self._next_tick)
        if self._silent.paths:
            wake_at = min(wake_at, self._next_silent)
        if self._sweep_now or contents.is_busy:
            wake_at = 0.0
        if due is not None:
            wake_at = min(wake_at, due)
        self._hints.wake.wait(wake_at - time.monotonic())
        self._hints.wake.clear()

    def _back_off(self, error: CatalogUnavailable) -> None:
        """Wait after an error that may be temporary, and publish signs of life meanwhile."""
        until = time.monotonic() + self._service.trouble(error)
        self._beat()
        while not self._stop and (left := until - time.monotonic()) > 0:
            self._service.check()
            self._show_life()
            self._hints.wake.wait(min(left, TICK_SECONDS))
            self._hints.wake.clear()

    def _others_wait(self, path: str, size: int) -> bool:
        """Return whether to end the turn of the store at `path`, because a smaller store changed or the daemon ends.

        `size` is the size of the store's index.json in bytes.
        """
        if self._intake is not None and self._intake.ended != self._turns_ended:
            self._turns_ended, self._next_beat = (
                self._intake.ended,
                0.0,
            )  # so that `ocicat status` lists stores that are put off
        self._show_life()
        if self._intake is not None:
            self._offers.hint_late(self._intake)
        stores, trees = self._hints.peek()
        return self._stop or changed_smaller(
            self._registered.stores, self._registered.root_paths, stores, trees, path, size
        )

    def _anybody_waits(self) -> bool:
        """Return whether a change of names waits, because names come before content."""
        due = None if self._intake is None else self._intake.next_due()
        return self._others_wait("", _ANY_SIZE) or (due is not None and due <= time.monotonic())

    def _configure(self, intake: Intake) -> None:
        """Read the configuration again and apply it."""
        self._read_again, self._sweep_now = False, True
        self._service.notifier.reloading()
        polled = self._configured.now.poll is not None
        self._configured.read_again()
        intake.use(self._configured.now.settings)
        if polled != (self._configured.now.poll is not None):
            self._stop_watching()
            self._start_watching()
            self._watch()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._sweep_now = self._read_again = True
        else:
            self._stop = True
        self._hints.wake.set()

    # --- looking ------------------------------------------------------------------------------------------------

    def _read_content(self, intake: Intake, contents: Contents) -> None:
        """Read content for a moment. Hints interrupt it, because names come first."""
        until = time.monotonic() + CONTENT_SECONDS
        while not self._stop and not self._hints.wake.is_set() and time.monotonic() < until:
            if not contents.step(intake.changed):
                return

    def _sweep(self, writer: Writer, intake: Intake, contents: Contents) -> None:
        """Check everything: search the roots, and check each store with a few stats."""
        began = time.monotonic()
        at_once, self._sweep_now = self._sweep_now, False
        self._next_look, self._between = began + LOOK_SECONDS, set()
        self._claim.check(writer)
        self._offers.begin()
        self._offers.catch_up(writer, intake)
        intake.look_again(LOOK_SECONDS)
        stores, trees = self._hints.collect()  # The sweep itself would come to known stores too late.
        self._offers.offer(writer, intake, {path for path in stores if path in self._registered.stores})
        lost = self._hints.recovered()
        if lost:
            self._service.figures.overflows += 1
            self._report(
                Notice("overflow", "events were lost because the kernel's queue was full: checking everything")
            )
            self._watch(again=True)
        reported: set[str] = set()

        def once(line: str) -> None:
            reported.add(line)
            if line not in self._reported:
                self._report(line)

        here = self._registered
        self._reload(writer)
        self._watched.retry()
        forget_gone(writer, self._registered.removed)
        known = here.left_out.union(here.stores)
        self._listings.begin(anew=at_once or lost or self._service.figures.sweeps % LIST_EVERY == 0)
        look = functools.partial(self._look_between, writer, intake)
        found = find_new(writer, here.roots, known, once, look, self._listings)
        self._reported = reported
        if found:
            self._reload(writer)
        self._find_silent()
        self._service.inodes.keep(here.stores)
        hinted = stores | trees | {store.path for store in intake.waiting} | set(self._silent.paths)
        missed = bool(found)
        again = self._rereading.due(here.stores, self._configured.now.reread, began)
        with Parents() as parents:
            for path in list(here.stores):
                if self._stop:
                    return
                look()
                store = here.stores.get(path)  # its current row
                if store is None:
                    continue
                at = parents.find(store.opened)
                taken = intake.offer(store, full=path in again, at=at)
                if (
                    not taken
                    and path not in again
                    and not (
                        is_below_any(path, hinted) or is_below_any(path, self._between) or path in self._offers.offered
                    )
                ):
                    missed = True
                contents.look(store, at_once=at_once or lost, at=at)
        contents.look_for_completed(here.stores.values())
        intake.commit()
        writer.end_bulk()  # in case a first index in another process was killed
        if missed and not lost and self._service.figures.last_sweep is not None:
            self._watch(again=True)  # A change caused no event, so something may be unwatched.
        self._service.swept(len(here.stores), began)
        ended = time.monotonic()
        self._next_sweep = ended + self._configured.now.interval
        self._next_overflow = ended + (ended - began)
        self._next_beat = 0.0

    def _look_between(self, writer: Writer, intake: Intake) -> None:
        """Take new hints now and then during a long sweep."""
        self._show_life()
        if self._stop:
            raise _Stopped  # because a search of many directories takes long
        if time.monotonic() < self._next_look:
            return
        intake.commit()
        self._offers.catch_up(writer, intake)
        self._between.update(*self._hints.peek())
        self._take_hints(writer, intake)
        intake.look_again(LOOK_SECONDS)
        self._next_look = time.monotonic() + LOOK_SECONDS

    def _look_while_watching(self) -> None:
        """Take changes of known stores while a tree is being watched, which may take many seconds."""
        self._show_life()
        if self._writer is None or self._intake is None or self._stop:
            return
        try:
            self._offers.catch_up(self._writer, self._intake)
            self._offers.take_known(self._writer, self._intake)
            self._intake.look_again(LOOK_SECONDS)
        except (*_TEMPORARY, MemoryError):
            self._sweep_now = True  # The sweep gets the same error, at a time when no watch is being set.

    def _take_hints(self, writer: Writer, intake: Intake) -> None:
        self._offers.take_known(writer, intake)
        stores, trees = self._hints.collect()
        if not stores and not trees:
            return
        here = self._registered
        if trees and self._watched.are_moved(trees):
            trees |= self._watch()
            self._find_silent()
        known = {path for path in stores if path in here.stores}
        if trees:
            known |= {path for path in here.stores if is_below_any(path, trees)}
            self._watched.search(trees)
        self._offers.take_first(writer, intake)
        roots = {root.path: root.archives for root in here.roots}
        new = [
            path
            for path in stores - known
            if (opened := opened_below(path, roots))
            and encode_path(path)[0] not in here.left_out
            and is_layout(opened, archives=has_archives(path, roots))
        ]
        if new and register(writer, new, self._report):
            known |= self._reload(writer)
            self._offers.take_first(writer, intake)
        self._offers.offer(writer, intake, known)

    # --- roots and stores ------------------------------------------------------------------------------------------

    def _follow_registry(self, writer: Writer, intake: Intake, contents: Contents) -> None:
        """Check whether another process has added or removed stores or roots, or found more to read."""
        contents.heard(writer.data_version())
        if self._registered.is_outdated(writer):
            self._offers.offer(writer, intake, self._reload(writer))

    def _reload(self, writer: Writer) -> set[str]:
        """Read the roots and stores from the catalog, and watch them.

        Returns the paths of stores that are new, or whose directory was replaced. They have to be checked, because changes before
        they were watched caused no events.
        """
        if not self._registered.read(writer):
            present = (
                path
                for path, store in self._registered.stores.items()
                if store.state != "missing" and path not in self._watched.files
            )
            if not self._watched.is_outdated(present):
                return set()
        changed = self._watch()
        return self._registered.new.union(path for path in self._registered.stores if is_below_any(path, changed))

    def _find_silent(self) -> None:
        new = self._silent.follow(self._registered.root_paths, self._registered.stores)
        self._service.renamed.silent = frozenset(self._silent.paths)
        if new:
            every = self._configured.now.silent
            text = f"checking {shown(', '.join(new))} every {in_seconds(every)}, because there are no file events there"
            self._report(Notice("silent", text, paths=[encode_path(path)[0] for path in new]))

    def _watch(self, *, again: bool = False) -> set[str]:
        here = self._registered
        followed = [path for path, store in here.stores.items() if store.by_name]
        files = {path for path, store in here.stores.items() if store.archive}
        return self._watched.follow(
            here.root_paths,
            here.stores.keys() - files,
            files=files,
            with_archives=(root.path for root in here.roots if root.archives),
            followed=followed,
            again=again,
        )

    # --- housekeeping -------------------------------------------------------------------------------------------

    def _retain(self, writer: Writer) -> None:
        self._next_retention = time.monotonic() + RETENTION_SECONDS
        if not self._clock.can_be_trusted():
            return
        settings = self._configured.now.settings
        for name in retain(writer, settings, now_ms()):
            text = f"{shown(name)}: missing for longer than the grace time, its rows are dropped"
            self._report(Notice("store-dropped", text, store=name))

    def _show_life(self) -> None:
        if time.monotonic() >= self._next_beat:
            self._beat()

    def _beat(self) -> None:
        """Publish the daemon's state for `ocicat status` and the next daemon."""
        self._next_beat = time.monotonic() + min(BEAT_SECONDS, self._service.notifier.interval or BEAT_SECONDS)
        figures = self._service.figures
        figures.stores, figures.roots = len(self._registered.stores), len(self._registered.roots)
        figures.silent = len(self._silent.paths)
        late = self._configured.now.late
        put_off = [] if self._contents is None else self._contents.put_off(PUT_OFF_SECONDS)
        self._state.publish(self._service.beat(self._intake, put_off, self._hints.last_event, late))

    def _running(self) -> str:
        values = read_daemon(self._path)
        who = f"process {values['pid']}" if values and "pid" in values else "another process"
        return f"a daemon already follows {shown(displayed(self._path))} ({who}): stop it first"


class _Stopped(Exception):
    """A signal came before the catalog was open, or in the middle of a search."""
