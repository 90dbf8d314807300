"""The intake: every change of a store enters the catalog here (docs/architecture.md), from `add`, `index`, `watch` and `--fresh`.

A change counts when its file has not changed for the settling time (docs/resolution.md). A state that never settled is never
written, because writers rewrite files in place, and each half-written state of a retag of the same length is valid JSON. A
store that is offered is checked once, and then
- read at once, if the times of its file show that it has settled.
- put off and checked again later, if the times show that it has not settled, or if it changed while it was read.
- observed for the settling time, if the times are in the future, or if there is no file.
- put off while somebody has the file open for writing, but at most for a minute after its last change.

Files are read without the catalog's lock and written under it, several stores in one transaction, because the number of commits
determines how long this takes. A store is never split over two transactions. Just before writing, each file is checked once more:
if another process has written a later change meanwhile, an older reading must not replace it. A store with much to read has its
turn after all others (turns.py).

This module is longer than others because the four outcomes above share one record of the stores that are put off, and the order in
which a store is checked, read, checked again and written is what makes it correct.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable

from catalog.collector import CollectorPaused
from catalog.engine.interface import Writer
from catalog.errors import CatalogUnavailable, Exhausted
from catalog.exhausted import out_of_memory, reserve
from catalog.ingest.apply import NotFirst, Outcome, Written, write_readings
from catalog.ingest.index_reading import IndexReading, PutOff, WaitingStore, no_memory
from catalog.ingest.listener import Listener, Report
from catalog.ingest.notice import Notice
from catalog.ingest.settings import Settings
from catalog.ingest.store_state import Store, differs, has_problem
from catalog.ingest.turns import LARGE_BYTES, PAUSE_SECONDS, Turn, TurnEnded, TurnRules, comes_first, had_turn
from catalog.layout.beneath import Found
from catalog.layout.docker_save import add_saved_names
from catalog.layout.files import ArchiveState, NoArchive
from catalog.layout.held import OpenFiles
from catalog.layout.index import (
    FileState,
    IndexChanged,
    IndexContent,
    IndexProblem,
    read_index,
    read_marker,
    stat_index,
)
from catalog.names.escape import shown
from catalog.names.sizes import counted

BATCH_STORES = 500
BATCH_ENTRIES = 50_000
BULK_ENTRIES = 20_000
"""The least number of entries in one transaction for which it pays to create the indexes at the end."""
BATCH_BYTES = 16 << 20
"""The bytes of `index.json` files that are kept for one transaction, because an entry may have long texts."""

_RETRY_SECONDS = 0.02  # until the next check of a file that was changing
_HELD_SECONDS = 0.1  # until the next check of a file that somebody has open for writing
_PAUSES = 32  # An archive that takes more pauses than this, a tenth of a second, is read in a turn.
_HELD_SHARE = 10  # wait at least this many times as long as it took to find out whether somebody has the file open


class Intake:
    """Takes changes of stores through `writer`. `report` receives a line for everything that a person should know.

    `others_wait` is called during the turn of a large store, with its path and the size of its index.json in bytes. It returns
    whether a smaller store waits that the intake does not know of, or whether the time is up. One transaction writes about
    `entries_at_once` entries, unless one store has more. If a transaction has at least `bulk_from` entries, an empty catalog is written
    without the indexes that only queries use, until the caller calls `end_bulk` of the writer. `changed` counts the stores whose entries
    changed, `done` the stores that were dealt with, and `ended` the turns that were ended.
    """

    def __init__(
        self,
        writer: Writer,
        settings: Settings,
        report: Report,
        listener: Listener | None = None,
        others_wait: Callable[[str, int], bool] = lambda _path, _size: False,
        *,
        entries_at_once: int = BATCH_ENTRIES,
        rules: TurnRules | None = None,
        bulk_from: float = math.inf,
    ) -> None:
        self._writer = writer
        self._entries_at_once = entries_at_once
        self._bulk_from = bulk_from
        self._rules = rules or TurnRules()
        self._last_turns: dict[int, float] = {}  # the time when each store last had a turn or was read, by id
        self._last_turn = time.monotonic()
        self.use(settings)
        self._report = report
        self._listener = listener or Listener()
        self._batch: dict[int, IndexReading] = {}  # by store, in the order in which they were taken
        self._batch_entries = self._batch_bytes = 0
        self._others_wait = others_wait
        self._turn: Turn | None = None
        self._in_turn: WaitingStore | None = None
        self._kept: tuple[int, IndexContent] | None = None  # the id and content of the store whose turn was last ended
        self.ended = 0
        self._waiting: dict[int, WaitingStore] = {}
        self._open_files = OpenFiles()
        self.changed = 0
        self.done = 0

    def use(self, settings: Settings) -> None:
        """Use these settings from now on."""
        self._settings = settings
        self._settle = settings.settle_ms / 1000

    # --- offering -----------------------------------------------------------------------------------------------

    def offer(self, store: Store, *, full: bool = False, at: Found | None = None) -> bool:
        """Check `store` now. If it has changed and settled, the next `commit` writes it.

        With `full`, read it even if it looks unchanged. `at` is its directory if it was just found. Returns whether the catalog
        is already up to date with the store.
        """
        now = time.monotonic()
        waiting = self._waiting.pop(store.id, None)
        if waiting is None:
            waiting = WaitingStore(store, now, full=full)
        waiting.store = store
        waiting.full = waiting.full or full
        return self._look(waiting, now, at)

    def look_again(self, seconds: float = math.inf, *, first_only: bool = False) -> None:
        """Check the stores that are due, small stores first, and commit. Stop when the turn of a large store is ended.

        After about `seconds` the rest is left for another call. Large stores have a turn now and then in any case, beginning with the one
        that has waited longest for a turn. With `first_only`, check only the stores that come before all others (turns.py).
        """
        now = time.monotonic()
        due = [w for w in self._waiting.values() if w.due <= now and (not first_only or self._comes_first(w))]
        if first_only and not due:
            return
        due.sort(key=self._precedence)
        is_overdue = now - self._last_turn > self._rules.large_every
        try:
            for waiting in due:
                if time.monotonic() - now > seconds and not (waiting.is_large and is_overdue):
                    if is_overdue:
                        continue
                    break
                if waiting.is_large:
                    self.commit()
                    self._begin_turn(waiting)
                elif (
                    self._listener.shares(waiting.store)
                    and self._batch
                    and not self._listener.shares(next(reversed(self._batch.values())).store)
                ):
                    self.commit()  # so that the stores before do not wait for the many stores that share one file
                    is_overdue = False
                del self._waiting[waiting.store.id]
                self._look(waiting, time.monotonic())
            self.commit()
        except TurnEnded:
            pass
        finally:
            self._turn = self._in_turn = None

    def _precedence(self, waiting: WaitingStore) -> tuple[bool, bool, bool, float, int]:
        """Return a sort key: small stores come before large ones. In each group, the store that has waited longest for a turn is first."""
        last = self._last_turns.get(waiting.store.id, 0.0)
        if waiting.is_large:
            return True, False, False, last, waiting.size
        last = had_turn(last, waiting.size / LARGE_BYTES)
        return False, self._listener.shares(waiting.store), not waiting.store.indexed_before, last, waiting.size

    def _comes_first(self, waiting: WaitingStore) -> bool:
        return not waiting.is_large and comes_first(waiting.store, shares=self._listener.shares(waiting.store))

    def _begin_turn(self, waiting: WaitingStore) -> None:
        self._in_turn = waiting
        waiting.turn_began = self._last_turn = self._last_turns[waiting.store.id] = time.monotonic()
        self._turn = Turn(functools.partial(self._is_over, waiting))

    def _is_over(self, waiting: WaitingStore) -> bool:
        """Return whether the turn of a large store is over."""
        others = any(w.due <= time.monotonic() and w.size < waiting.size for w in list(self._waiting.values()))
        # `_others_wait` is called in any case, because the daemon reports in it that it is alive.
        if not (self._others_wait(waiting.store.path, waiting.size) or others):
            return False
        took = time.monotonic() - waiting.turn_began
        return not self._is_longer(waiting) or took > self._rules.longest(waiting.long_turns)

    def _is_longer(self, waiting: WaitingStore) -> bool:
        """Return whether a large store has a longer turn: when the turn began, its file had been unchanged for its patience."""
        return waiting.turn_began - waiting.since >= self._rules.patience(waiting.size)

    def _end_turn(self, waiting: WaitingStore) -> None:
        """Put off a large store whose turn was ended."""
        waiting.ended += 1
        self.ended += 1
        waiting.why = f"reading it takes long: its turn was ended {counted(waiting.ended, 'time')} for other stores"
        now = time.monotonic()
        pause = PAUSE_SECONDS
        if self._is_longer(waiting):
            waiting.long_turns += 1
            pause = max(pause, self._rules.pause_share * (now - waiting.turn_began))
        self._put_off(waiting, now + pause)

    # --- waiting stores -----------------------------------------------------------------------------------------

    def put_off(self, patience: float) -> list[PutOff]:
        """Return the stores whose turn was ended, or that have waited for more than `patience` seconds, the oldest first."""
        now = time.monotonic()
        in_turn = [] if self._in_turn is None else [self._in_turn]
        every = {w.store.id: w for w in (*self._waiting.values(), *in_turn)}.values()
        found = [w for w in every if w.ended or now - w.first > patience]
        return [PutOff(w.store, w.first, w.why) for w in sorted(found, key=lambda w: w.first)]

    def next_due(self) -> float | None:
        """Return the time to call `look_again`, by the monotonic clock, or None if no store waits."""
        return min((w.due for w in self._waiting.values()), default=None)

    def due_before(self, then: float) -> set[int]:
        """Return the ids of the stores that are due before `then`, by the monotonic clock."""
        return {store_id for store_id, waiting in self._waiting.items() if waiting.due < then}

    def oldest(self) -> float | None:
        """Return when the store that has waited longest began to wait (monotonic clock), or None if no store waits."""
        return min((w.first for w in self._waiting.values()), default=None)

    @property
    def waiting(self) -> list[Store]:
        """The stores that have not settled yet, or wait for their turn."""
        return [w.store for w in self._waiting.values()]

    def late(self, patience: float) -> list[PutOff]:
        """Return the stores that have waited for more than `patience` seconds."""
        now = time.monotonic()
        return [PutOff(w.store, w.first, w.why) for w in self._waiting.values() if now - w.first > patience]

    def give_up(self, patience: float) -> list[Store]:
        """Forget and return the stores that have waited for more than `patience` seconds. Their last rows stay."""
        now = time.monotonic()
        late = [w for w in self._waiting.values() if now - w.first > patience and not w.is_queued]
        for waiting in late:
            del self._waiting[waiting.store.id]
            self.done += 1
        return [w.store for w in late]

    def _put_off(self, waiting: WaitingStore, due: float, why: str = "it changes") -> None:
        waiting.due = due
        waiting.why = waiting.why if waiting.ended else why
        self._waiting[waiting.store.id] = waiting

    # --- looking ------------------------------------------------------------------------------------------------

    def _look(self, waiting: WaitingStore, now: float, at: Found | None = None) -> bool:
        """Read the store if it has settled, else put it off. Return whether there is nothing to do."""
        try:
            try:
                file = stat_index(waiting.store.opened, at)
            except IndexProblem as problem:
                self._listener.looked(waiting.store, None)
                return self._look_at_problem(waiting, now, problem)
            self._listener.looked(waiting.store, file)
            waiting.take_size(file)
            if not waiting.full and not differs(waiting.store, file):
                self.done += 1
                return True
            if self._has_settled(waiting, now, file):
                return self._read(waiting, now, file)
        except TurnEnded:
            if waiting.store.id not in self._waiting:
                self._end_turn(waiting)
            raise
        except Exhausted:
            self._put_off(waiting, now + _RETRY_SECONDS)
            raise
        return False

    def _has_settled(self, waiting: WaitingStore, now: float, file: FileState) -> bool:
        """Return whether the file may be read now. If not, put the store off."""
        waiting.seen(now, (file,))
        age = _age(file)
        # Times in the future are useless, so the time since the file was first seen in this state counts instead.
        remaining = self._settle - age if age >= 0 else waiting.since + self._settle - now
        if remaining > 0:
            sooner = None
            if age >= 0 and not waiting.is_large:
                sooner = self._listener.may_read_sooner(waiting.store, file, age)
            if sooner == 0:
                return True
            self._put_off(waiting, now + min(remaining, sooner or remaining), "its file keeps changing")
            return False
        if waiting.is_large and self._turn is None:
            waiting.is_queued = True
            self._put_off(waiting, now, "it is large, and smaller stores are read first")
            return False
        waiting.is_queued = False
        if self._is_held(waiting, now, file):
            pause_seconds = max(_HELD_SECONDS, _HELD_SHARE * self._open_files.took)
            self._put_off(waiting, now + pause_seconds, "somebody has its index.json open for writing")
            return False
        return True

    def _is_held(self, waiting: WaitingStore, now: float, file: FileState) -> bool:
        """Return whether somebody has the file open for writing. Such a file may look settled only because its writer pauses.

        An open file is ignored if its last change is more than `held_ms` ago.
        """
        changed = max(file.mtime_ns, file.ctime_ns)
        since = (time.time_ns() - changed) / 1e9
        if since < 0:  # As above, times in the future are useless.
            since, changed = now - waiting.since, time.time_ns()
        if since >= self._settings.held_ms / 1000:
            return False
        held = self._listener.is_held(waiting.store, file)
        return self._open_files.has(waiting.store.opened, file, changed, self._pause) if held is None else held

    def _read(self, waiting: WaitingStore, now: float, file: FileState) -> bool:
        """Read the file, and take its content or its problem. Return whether there is nothing to do."""
        store = waiting.store
        reserve()
        began = self._last_turns[store.id] = time.monotonic()
        try:
            content = self._kept_of(store, file) if waiting.is_large else None
            if content is None:
                content = read_index(store.opened, self._settings.limits, pause=self._pause_in(waiting, file))
                if content.streamed and not waiting.is_large:
                    content.close()
                    raise _TakesLong
                add_saved_names(content, store.opened, self._settings.limits, self._pause_in(waiting, file))
            marker = read_marker(store.opened, self._settings.limits, self._pause)
        except _TakesLong:
            waiting.is_long = waiting.is_queued = True
            waiting.take_size(file)
            self._put_off(waiting, now, "reading it takes long, and other stores are read first")
        except MemoryError:
            self._take(IndexReading(waiting, None, no_memory(file)))
        except IndexChanged:
            # The time that reading took is lost, so other stores get the same time first.
            took = time.monotonic() - began
            self._put_off(waiting, time.monotonic() + max(_RETRY_SECONDS, took), "it changes while it is read")
        except IndexProblem as found:
            problem = _of_archive(found, file) if store.archive and isinstance(found, NoArchive) else found
            if problem.file is None and has_problem(store, problem):
                self.done += 1  # As before, the file may not be opened, or its directory is a link.
                return True
            if problem.file in (file, None):
                self._take(IndexReading(waiting, None, problem))
            else:
                self._put_off(waiting, now + _RETRY_SECONDS)
        else:
            if (
                content.file != file
            ):  # The file was replaced between the stat and the reading, and the new file has not settled.
                content.close()
                self._put_off(waiting, now + _RETRY_SECONDS)
                return False
            took_ms = int((time.monotonic() - began) * 1000)
            self._take(IndexReading(waiting, content, None, marker, took_ms))
        return False

    @property
    def _pause(self) -> Callable[[], None]:
        """A function to call often while reading and writing. It ends the turn of a large store when the time is up."""
        return _no_pause if self._turn is None else self._turn.pause

    def _pause_in(self, waiting: WaitingStore, file: FileState) -> Callable[[], None]:
        """Return a function to call often while a store is read. Outside a turn, it stops reading an archive that takes long."""
        if waiting.is_large or not isinstance(file, ArchiveState):
            return self._pause
        left = iter(range(_PAUSES))

        def pause() -> None:
            if next(left, None) is None:
                raise _TakesLong

        return pause

    def _kept_of(self, store: Store, file: FileState) -> IndexContent | None:
        """Remove and return the content of `file` that was read in a turn that was ended, or None if another file was read."""
        kept, self._kept = self._kept, None
        return kept[1] if kept is not None and kept[0] == store.id and kept[1].file == file else None

    def _look_at_problem(self, waiting: WaitingStore, now: float, problem: IndexProblem) -> bool:
        """Take the problem of a store without a readable file. It counts as a change once it has lasted for the settling time."""
        if has_problem(waiting.store, problem):
            self.done += 1
            return True
        waiting.seen(now, (problem.state, problem.reason))
        if now - waiting.since >= self._settle:
            self._take(IndexReading(waiting, None, problem))
        else:
            self._put_off(waiting, waiting.since + self._settle)
        return False

    # --- taking -------------------------------------------------------------------------------------------------

    def _take(self, reading: IndexReading) -> None:
        is_alone = reading.content is not None and (reading.content.streamed or reading.waiting.is_large)
        if is_alone:
            self.commit()  # It gets a separate transaction: an error may only show at its end, or its turn may be ended.
        elif reading.store.id in self._batch:
            self.commit()  # The row of a store is read once per transaction, so it cannot be written twice in one transaction.
        self._batch[reading.store.id] = reading
        if reading.content is not None:
            self._batch_entries += reading.content.elements
            self._batch_bytes += reading.content.size
        is_full = self._batch_entries >= self._entries_at_once or self._batch_bytes >= BATCH_BYTES
        if is_alone or is_full or len(self._batch) >= BATCH_STORES:
            self.commit()

    def commit(self) -> None:
        """Write all readings that were taken, in one transaction."""
        batch, self._batch, self._batch_entries, self._batch_bytes = list(self._batch.values()), {}, 0, 0
        if not batch:
            return
        try:
            self._write(batch)
        except CatalogUnavailable:
            for reading in batch:
                self._read_later(reading)
            raise
        except TurnEnded:
            self._end_turn(batch[0].waiting)  # It is alone in its batch.
            content = batch[0].content
            if content is not None and not content.streamed:
                self._kept = batch[0].store.id, content
            raise
        except IndexChanged:
            self._read_later(batch[0])  # Only a streamed file raises this here, and it is alone in its batch.
        except MemoryError:
            if len(batch) > 1:
                self._commit_one_by_one(batch)
            else:
                self._blame(batch[0])
        except IndexProblem as problem:
            problem.file = batch[0].content.file if batch[0].content is not None else None
            self._batch[batch[0].store.id] = batch[0]._replace(content=None, problem=problem)
            self.commit()
        finally:
            for reading in batch:
                if reading.content is not None:
                    reading.content.close()

    def _commit_one_by_one(self, batch: list[IndexReading]) -> None:
        """Write each store in its own transaction, because one transaction for all takes more memory than there is.

        If one of them alone takes too much, the others are written before Exhausted is raised.
        """
        error: Exhausted | None = None
        for number, reading in enumerate(batch, 1):
            self._batch = {reading.store.id: reading}
            try:
                self.commit()
            except Exhausted as found:
                error = found
            except CatalogUnavailable:
                for left in batch[number:]:
                    self._read_later(left)
                raise
        if error is not None:
            raise error

    def _blame(self, reading: IndexReading) -> None:
        """Record that writing a store takes more memory than there is, so that it does not block other stores.

        Raises Exhausted if the store is too small to be blamed; then it is read again later.
        """
        try:
            if reading.content is None:
                raise out_of_memory()
            problem = no_memory(reading.content.file)
        except Exhausted:
            self._read_later(reading)
            raise
        self._batch = {reading.store.id: reading._replace(content=None, problem=problem)}
        self.commit()

    def _write(self, batch: list[IndexReading]) -> None:
        began = time.monotonic()
        reserve()
        first = not any(reading.store.entries for reading in batch)
        if self._bulk_from < math.inf:
            self._look_at_bulk(batch, first=first)
        with CollectorPaused():
            try:
                later, written = self._written(batch, first=first)
            except NotFirst:
                self._writer.end_bulk()
                later, written = self._written(batch, first=False)
        for reading in later:
            self._read_later(reading)
        self.done += len(batch) - len(later)
        lags: list[float] = []
        for store, reading, outcome in written:
            if outcome.applied is not None and reading.content is not None:
                self.changed += 1
                if store.indexed_before:
                    lags.append(_age(reading.content.file))
            self._report_outcome(store, outcome)
        self._listener.committed(time.monotonic() - began + sum(reading.took_ms for reading in batch) / 1000, lags)

    def _written(self, batch: list[IndexReading], *, first: bool) -> Written:
        return self._writer.write(
            lambda connection: write_readings(
                connection, batch, self._pause, first=first, is_bulk=self._writer.is_bulk
            ),
            unchecked=first,
        )

    def _look_at_bulk(self, batch: list[IndexReading], *, first: bool) -> None:
        """Do without indexes from the first large batch on, until a batch has a store with entries, because finding those needs indexes."""
        if self._writer.is_bulk and not first:
            self._writer.end_bulk()
        elif first and not self._writer.is_bulk:
            contents = [reading.content for reading in batch if reading.content is not None]
            if sum(content.elements for content in contents) >= self._bulk_from or any(
                one.streamed for one in contents
            ):
                self._writer.begin_bulk()
                first = self._writer.is_bulk
        if not first:
            self._bulk_from = math.inf

    def _report_outcome(self, store: Store, outcome: Outcome) -> None:
        fields = {"store": store.name, "path": store.path, "state": outcome.state}
        if outcome.error is not None:
            text = f"{shown(store.name)}: {outcome.state}: {outcome.error} ({shown(store.path)})"
            self._report(Notice("store-state", text, **fields, error=outcome.error))
            return
        if store.indexed_before and store.state not in ("ok", "empty"):
            text = f"{shown(store.name)}: can be read again ({shown(store.path)})"
            self._listener.heard(Notice("store-recovered", text, **fields))
        if outcome.applied is not None:
            added, removed, moved = outcome.applied
            text = f"{shown(store.name)}: {counted(added, 'entry', 'entries')} added, {removed} removed, {moved} moved ({shown(store.path)})"
            self._listener.heard(Notice("store-changed", text, **fields, added=added, removed=removed, moved=moved))

    def _read_later(self, reading: IndexReading) -> None:
        now = time.monotonic()
        waiting = reading.waiting
        waiting.looks, waiting.since = (), now
        self._put_off(waiting, now + _RETRY_SECONDS, "it changes while it is read")


class _TakesLong(Exception):
    """Reading an archive takes long. It needs a turn, and reading continues in that turn."""


def _of_archive(problem: NoArchive, file: FileState) -> IndexProblem:
    """Return the problem of an archive that was overwritten with something else. The file is still there, so its last entries stay."""
    invalid = IndexProblem("invalid", problem.reason.replace("directory", "archive"))
    invalid.file = file
    return invalid


def _no_pause() -> None:
    pass


def _age(file: FileState) -> float:
    """Return the seconds since the file changed, by its own times; negative if they are in the future."""
    return (time.time_ns() - max(file.mtime_ns, file.ctime_ns)) / 1e9
