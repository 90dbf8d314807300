"""The one door through which a change of a store comes into the catalog (docs/architecture.md): `add`, `index`, the watcher, `--fresh`.

Strategy. A change counts when its file has stood still for the settling time (docs/resolution.md), and no state that
never stood still is ever taken (writers rewrite in place, and each half-written state of a same-length
retag is valid JSON). A store that is offered is looked at once:
- Its file's own times say that it stood still for long enough: it is read at once.
- They say that it did not, or it changed while it was read: it waits, and is looked at again when its time has come.
- They lie in the future, or there is no file at all: it waits until it was seen the same for the settling time.
- Somebody has it open for writing: it waits for them, but for a minute at most after the last change.
Reading happens outside of the catalog's lock; writing under it, several stores a transaction, since the number of commits
rules the time, and never a store split over two. Between the two the file is looked at once more: had
another process taken a later change meanwhile, an older reading must not win.
A store with much to read has its turn after the others (turns.py).
"""

from __future__ import annotations

import functools
import gc
import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sqlalchemy import Connection

from catalog.engine.interface import Writer
from catalog.errors import CatalogUnavailable, Exhausted
from catalog.exhausted import give_back, out_of_memory, reserve
from catalog.ingest.apply import Outcome, write_content, write_state
from catalog.ingest.notice import Notice
from catalog.ingest.registry import Registry
from catalog.ingest.rows import Rows
from catalog.ingest.settings import Settings
from catalog.ingest.store_state import Store, differs, has_problem
from catalog.ingest.turns import LARGE_BYTES, LARGE_ENTRIES, LONGEST_SECONDS, PAUSE_SECONDS, Turn, TurnEnded, patience
from catalog.layout.beneath import Found
from catalog.layout.held import OpenFiles
from catalog.layout.index import (
    FileState,
    IndexChanged,
    IndexContent,
    IndexProblem,
    Marker,
    read_index,
    read_marker,
    stat_index,
)
from catalog.names.escape import shown

BATCH_STORES = 500
BATCH_ENTRIES = 50_000

_BLAMED_BYTES = 1 << 20
"""A store with a smaller index.json is not to blame where memory ends."""
_RETRY_SECONDS = 0.02  # to a file that was just changing
_HELD_SECONDS = 0.1  # to a file that somebody has open for writing
_HELD_SHARE = 10  # so many times as long as the look at who has it open took

_NO_MARKER = Marker(None, None)

Report = Callable[[str], None]


class _IndexReading(NamedTuple):
    """What was found at a store: its content, or the state it is in and why."""

    store: Store
    content: IndexContent | None
    problem: IndexProblem | None
    marker: Marker
    took_ms: int
    full: bool
    waiting: _Waiting

    @property
    def is_large(self) -> bool:
        return self.waiting.is_large


class PutOff(NamedTuple):
    """A store that waits: since when by the monotonic clock, and why, in words."""

    store: Store
    since: float
    why: str


class _Waiting:
    """A store that does not stand still, or has no turn yet: since when it waits, what it looked like and since when, when to
    look again, and why it waits.

    Times are those of the monotonic clock, in seconds; `size` is that of its index.json in bytes, as last seen.
    """

    def __init__(self, store: Store, now: float, *, full: bool) -> None:
        self.store = store
        self.full = full
        self.first = now
        self.looks: tuple[object, ...] = ()
        self.since = now
        self.due = now
        self.size = 0
        self.is_queued = False
        self.ended = 0
        self.why = ""

    @property
    def is_large(self) -> bool:
        return self.size > LARGE_BYTES or self.store.entries > LARGE_ENTRIES


class Listener:
    """Hears all that an intake does, beside what is worth a person's notice. This one does not care."""

    def committed(self, seconds: float, lags: list[float]) -> None:
        """A transaction took so many seconds to read and write; `lags` has for each store that changed in it, and had been
        read before, the seconds since its file did.
        """

    def looked(self, store: Store, file: FileState | None) -> None:
        """The `index.json` of `store` was looked at; None where there is no file to read."""

    def shares(self, store: Store) -> bool:  # noqa: ARG002
        """Whether other stores have the same `index.json`: one change of that is a change of them all."""
        return False

    def heard(self, notice: Notice) -> None:
        """Something went as it should."""

    def is_held(self, store: Store, file: FileState) -> bool | None:  # noqa: ARG002
        """Whether events tell that somebody has the `index.json` of `store` open for writing; None where they do not tell."""
        return None


class Intake:
    """Takes changes of stores through `writer`. `report` gets a line for each thing worth a person's notice.

    `others_wait` is asked during the turn of a large store, with its path and the size of its index.json in bytes, whether
    anybody smaller waits of whom the intake does not know, or time is up.
    `changed` counts the stores whose entries changed, `done` those that were dealt with, `ended` the turns that were ended.
    """

    def __init__(
        self,
        writer: Writer,
        settings: Settings,
        report: Report,
        listener: Listener | None = None,
        others_wait: Callable[[str, int], bool] = lambda _path, _size: False,
    ) -> None:
        self._writer = writer
        self.use(settings)
        self._report = report
        self._listener = listener or Listener()
        self._batch: list[_IndexReading] = []
        self._batch_entries = 0
        self._others_wait = others_wait
        self._turn: Turn | None = None
        self._in_turn: _Waiting | None = None
        self._kept: tuple[int, IndexContent] | None = None  # what was read of the store whose turn was ended last
        self.ended = 0
        self._waiting: dict[int, _Waiting] = {}
        self._open_files = OpenFiles()
        self.changed = 0
        self.done = 0

    def use(self, settings: Settings) -> None:
        """Go by these settings from now on."""
        self._settings = settings
        self._settle = settings.settle_ms / 1000

    # --- offering -----------------------------------------------------------------------------------------------

    def offer(self, store: Store, *, full: bool = False, at: Found | None = None) -> bool:
        """Look at `store` now; what is to be taken is, at the next `commit`. `full` reads it although it looks unchanged.

        `at` is its directory if it was just found.

        Returns whether the catalog says already what was found.
        """
        now = time.monotonic()
        waiting = self._waiting.pop(store.id, None)
        if waiting is None:
            waiting = _Waiting(store, now, full=full)
        waiting.store = store
        waiting.full = waiting.full or full
        return self._look(waiting, now, at)

    def look_again(self, seconds: float = math.inf) -> None:
        """Look at the stores whose time has come, and commit: the small ones first, and of the large ones until one's turn ends.

        After about so many seconds the rest is left for another call.
        """
        now = time.monotonic()
        due = [waiting for waiting in self._waiting.values() if waiting.due <= now]
        due.sort(key=lambda waiting: (waiting.is_large, self._listener.shares(waiting.store), waiting.size))
        try:
            for waiting in due:
                if time.monotonic() - now > seconds:
                    break
                if waiting.is_large:
                    self.commit()
                    self._in_turn = waiting
                    self._turn = Turn(functools.partial(self._is_over, waiting, time.monotonic()))
                del self._waiting[waiting.store.id]
                self._look(waiting, time.monotonic())
            self.commit()
        except TurnEnded:
            pass
        finally:
            self._turn = self._in_turn = None

    def _is_over(self, waiting: _Waiting, began: float) -> bool:
        """Whether the turn of a large store, which began then, is over."""
        others = any(w.due <= time.monotonic() and w.size < waiting.size for w in list(self._waiting.values()))
        # Asked in any case: the daemon shows that it is alive.
        return (self._others_wait(waiting.store.path, waiting.size) or others) and (
            began - waiting.since < patience(waiting.size) or time.monotonic() - began > LONGEST_SECONDS
        )

    def _ended(self, waiting: _Waiting) -> None:
        """The turn of a large store was ended: it has another."""
        waiting.ended += 1
        self.ended += 1
        waiting.why = f"reading it takes long, and others waited: its turn was ended {waiting.ended} times"
        self._put_off(waiting, time.monotonic() + PAUSE_SECONDS)

    def put_off(self, patience: float) -> list[PutOff]:
        """The stores whose turn was ended, or that have waited for more than `patience` seconds; the oldest first."""
        now = time.monotonic()
        at_work = [] if self._in_turn is None else [self._in_turn]
        every = {w.store.id: w for w in (*self._waiting.values(), *at_work)}.values()
        found = [w for w in every if w.ended or now - w.first > patience]
        return [PutOff(w.store, w.first, w.why) for w in sorted(found, key=lambda w: w.first)]

    def next_due(self) -> float | None:
        """When to call `look_again`, by the monotonic clock; None where nothing waits."""
        return min((w.due for w in self._waiting.values()), default=None)

    def oldest(self) -> float | None:
        """Since when, by the monotonic clock, the store waits that waits longest; None where none does."""
        return min((w.first for w in self._waiting.values()), default=None)

    @property
    def waiting(self) -> list[Store]:
        """The stores that do not stand still."""
        return [w.store for w in self._waiting.values()]

    def late(self, patience: float) -> list[PutOff]:
        """The stores that wait for longer than `patience` seconds."""
        now = time.monotonic()
        return [PutOff(w.store, w.first, w.why) for w in self._waiting.values() if now - w.first > patience]

    def give_up(self, patience: float) -> list[Store]:
        """Forget the stores that wait for longer than `patience` seconds; returns them. Their last rows stay."""
        now = time.monotonic()
        late = [w for w in self._waiting.values() if now - w.first > patience and not w.is_queued]
        for waiting in late:
            del self._waiting[waiting.store.id]
            self.done += 1
        return [w.store for w in late]

    # --- looking ------------------------------------------------------------------------------------------------

    def _look(self, waiting: _Waiting, now: float, at: Found | None = None) -> bool:
        """Take the store, or let it wait; returns whether there is nothing to do."""
        try:
            return self._look_at(waiting, now, at)
        except TurnEnded:
            if waiting.store.id not in self._waiting:
                self._ended(waiting)
            raise
        except Exhausted:
            self._put_off(waiting, now + _RETRY_SECONDS)
            raise

    def _look_at(self, waiting: _Waiting, now: float, at: Found | None) -> bool:
        store = waiting.store
        try:
            file = stat_index(store.opened, at)
        except IndexProblem as problem:
            self._listener.looked(store, None)
            return self._look_at_problem(waiting, now, problem)
        self._listener.looked(store, file)
        waiting.size = file.size
        if not waiting.full and not differs(store, file):
            self.done += 1
            return True
        self._seen(waiting, now, (file,))
        remaining = None if (age := _age(file)) < 0 else self._settle - age
        if remaining is None:  # its times say nothing: go by what was seen
            remaining = waiting.since + self._settle - now
        if remaining > 0:
            self._put_off(waiting, now + remaining, "it does not stand still")
            return False
        if waiting.is_large and self._turn is None:
            waiting.is_queued = True
            self._put_off(waiting, now, "it is large, and smaller ones are read first")
            return False
        waiting.is_queued = False
        if self._is_held(waiting, now, file):
            pause_seconds = max(_HELD_SECONDS, _HELD_SHARE * self._open_files.took)
            self._put_off(waiting, now + pause_seconds, "somebody has its index.json open for writing")
            return False
        reserve()
        began = time.monotonic()
        pause = _no_pause if self._turn is None else self._turn.pause
        try:
            content = self._kept_of(store, file) if waiting.is_large else None
            if content is None:
                content = read_index(store.opened, self._settings.limits, pause=pause)
        except MemoryError:
            self._take(_IndexReading(store, None, _no_memory(file), _NO_MARKER, 0, waiting.full, waiting))
        except IndexChanged:
            # What could not be read to its end took time for nothing: as long again is left to others.
            took = time.monotonic() - began
            self._put_off(waiting, time.monotonic() + max(_RETRY_SECONDS, took), "it changes while it is read")
        except IndexProblem as problem:
            if problem.file is None and has_problem(store, problem):
                self.done += 1  # as before: it may not be opened, or its directory is a link
                return True
            if problem.file in (file, None):
                self._take(_IndexReading(store, None, problem, _NO_MARKER, 0, waiting.full, waiting))
            else:
                self._put_off(waiting, now + _RETRY_SECONDS)
        else:
            if content.file != file:  # written anew between the look and the reading: that one has not stood still yet
                content.close()
                self._put_off(waiting, now + _RETRY_SECONDS)
                return False
            took = int((time.monotonic() - began) * 1000)
            marker = read_marker(store.opened)
            self._take(_IndexReading(store, content, None, marker, took, waiting.full, waiting))
        return False

    def _is_held(self, waiting: _Waiting, now: float, file: FileState) -> bool:
        """Whether somebody has the file open for writing: who pauses in the middle leaves one that only looks as if it stood still.

        Where its last change is `held_ms` ago that no longer matters.
        """
        changed = max(file.mtime_ns, file.ctime_ns)
        since = (time.time_ns() - changed) / 1e9
        if since < 0:  # its times say nothing: go by what was seen
            since, changed = now - waiting.since, time.time_ns()
        if since >= self._settings.held_ms / 1000:
            return False
        told = self._listener.is_held(waiting.store, file)
        return self._open_files.has(waiting.store.opened, file, changed) if told is None else told

    def _kept_of(self, store: Store, file: FileState) -> IndexContent | None:
        """What was read of that file of the store in a turn that was ended; of whatever else nothing is kept any more."""
        kept, self._kept = self._kept, None
        return kept[1] if kept is not None and kept[0] == store.id and kept[1].file == file else None

    def _look_at_problem(self, waiting: _Waiting, now: float, problem: IndexProblem) -> bool:
        """No file to read: that is a change too, once it has lasted for the settling time."""
        store = waiting.store
        if has_problem(store, problem):
            self.done += 1
            return True
        self._seen(waiting, now, (problem.state, problem.reason))
        if now - waiting.since >= self._settle:
            self._take(_IndexReading(store, None, problem, _NO_MARKER, 0, waiting.full, waiting))
        else:
            self._put_off(waiting, waiting.since + self._settle)
        return False

    @staticmethod
    def _seen(waiting: _Waiting, now: float, looks: tuple[object, ...]) -> None:
        if waiting.looks != looks:
            waiting.looks, waiting.since = looks, now

    def _put_off(self, waiting: _Waiting, due: float, why: str = "it changes") -> None:
        waiting.due = due
        waiting.why = waiting.why if waiting.ended else why
        self._waiting[waiting.store.id] = waiting

    # --- taking -------------------------------------------------------------------------------------------------

    def _take(self, reading: _IndexReading) -> None:
        streamed = reading.content is not None and (reading.content.streamed or reading.is_large)
        if streamed:
            self.commit()  # alone in its transaction: what it holds is only known at its end, or it may be undone
        self._batch.append(reading)
        self._batch_entries += reading.content.elements if reading.content is not None else 0
        if streamed or len(self._batch) >= BATCH_STORES or self._batch_entries >= BATCH_ENTRIES:
            self.commit()

    def commit(self) -> None:
        """Write what was taken, in one transaction."""
        batch, self._batch, self._batch_entries = self._batch, [], 0
        if not batch:
            return
        try:
            self._write(batch)
        except CatalogUnavailable:
            for reading in batch:
                self._later(reading)
            raise
        except TurnEnded:
            self._ended(batch[0].waiting)  # alone in its batch as well
            content = batch[0].content
            if content is not None and not content.streamed:
                self._kept = batch[0].store.id, content
            raise
        except IndexChanged:
            # Only a streamed file can say so here, and it is alone in its batch: nothing else was undone.
            self._later(batch[0])
        except MemoryError:
            if len(batch) > 1:
                for reading in batch:
                    self._batch = [reading]
                    self.commit()
            else:
                self._without_memory(batch[0])
        except IndexProblem as problem:
            problem.file = batch[0].content.file if batch[0].content is not None else None
            self._batch.append(batch[0]._replace(content=None, problem=problem))
            self.commit()
        finally:
            for reading in batch:
                if reading.content is not None:
                    reading.content.close()

    def _without_memory(self, reading: _IndexReading) -> None:
        """Let a store that takes more memory than there is say so, and cost the others nothing."""
        if reading.content is None:
            raise out_of_memory()
        self._batch = [reading._replace(content=None, problem=_no_memory(reading.content.file))]
        self.commit()

    def _write(self, batch: list[_IndexReading]) -> None:
        # Rows by the ten thousand, none of them in a cycle: the collector would go through them again and again.
        collects = gc.isenabled()
        gc.disable()
        try:
            self._write_all(batch)
        finally:
            if collects:
                gc.enable()

    def _write_all(self, batch: list[_IndexReading]) -> None:
        began = time.monotonic()
        reserve()
        pause = _no_pause if self._turn is None else self._turn.pause
        later, told = self._writer.write(lambda connection: _written(connection, batch, pause))
        for reading in later:
            self._later(reading)
        self.done += len(batch) - len(later)
        lags: list[float] = []
        for store, reading, outcome in told:
            if outcome.applied is not None and reading.content is not None:
                self.changed += 1
                if store.indexed_before:
                    lags.append(_age(reading.content.file))
            self._tell(store, outcome)
        self._listener.committed(time.monotonic() - began + sum(reading.took_ms for reading in batch) / 1000, lags)

    def _tell(self, store: Store, outcome: Outcome) -> None:
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
            text = f"{shown(store.name)}: {added} entries came, {removed} went, {moved} moved ({shown(store.path)})"
            self._listener.heard(Notice("store-changed", text, **fields, added=added, removed=removed, moved=moved))

    def _later(self, reading: _IndexReading) -> None:
        now = time.monotonic()
        waiting = reading.waiting
        waiting.looks, waiting.since = (), now
        self._put_off(waiting, now + _RETRY_SECONDS, "it changes while it is read")


def _written(
    connection: Connection, batch: list[_IndexReading], pause: Callable[[], None]
) -> tuple[list[_IndexReading], list[tuple[Store, _IndexReading, Outcome]]]:
    """Write a batch; returns what is to be read later, since it changed meanwhile, and what the others came to."""
    try:
        return _write_batch(connection, batch, pause)
    except MemoryError:
        give_back()
        raise


def _write_batch(
    connection: Connection, batch: list[_IndexReading], pause: Callable[[], None]
) -> tuple[list[_IndexReading], list[tuple[Store, _IndexReading, Outcome]]]:
    later: list[_IndexReading] = []
    told: list[tuple[Store, _IndexReading, Outcome]] = []
    registry, rows = Registry(connection), Rows(connection)
    rows.pause = pause
    fresh = {store.id: store for store in registry.stores([reading.store.id for reading in batch])}
    for reading in batch:
        store = fresh.get(reading.store.id)
        if store is None:
            continue  # removed by another process meanwhile
        if not _is_still(store.opened, reading):
            later.append(reading)
            continue
        if reading.content is not None:
            outcome = write_content(
                rows,
                store,
                reading.content,
                reading.marker,
                reading.took_ms,
                full=reading.full,
            )
        elif reading.problem is not None:
            outcome = write_state(connection, rows, store, reading.problem)
        told.append((store, reading, outcome))
    rows.flush()
    return later, told


def _no_memory(file: FileState) -> IndexProblem:
    """The problem of a store that takes more memory than there is; raises Exhausted where it is too small to be to blame."""
    if file.size < _BLAMED_BYTES:
        raise out_of_memory()
    reason = (
        f"its {file.size} bytes need more memory than there is: give this process more, and run 'ocicat index --full'"
    )
    problem = IndexProblem("invalid", reason)
    problem.file = file
    return problem


def _no_pause() -> None:
    pass


def unsettled(stores: Iterable[Store], report: Report) -> None:
    """Say which stores never stood still."""
    for store in stores:
        text = f"{shown(store.name)}: is being written all the time, its last rows stay ({shown(store.path)})"
        report(Notice("unsettled", text, store=store.name, path=store.path))


def now_ms() -> int:
    """The time in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def _age(file: FileState) -> float:
    """Seconds since the file's own times say that it changed; less than nothing where they are of a time to come."""
    return (time.time_ns() - max(file.mtime_ns, file.ctime_ns)) / 1e9


def _is_still(path: str, reading: _IndexReading) -> bool:
    """Whether the store looks as it did when it was read."""
    before = reading.problem
    try:
        file = stat_index(path)
        if reading.content is not None:
            return file == reading.content.file
        if before is not None and before.file is not None:
            return file == before.file
        read_index(path).close()  # only opening it can tell
    except IndexProblem as problem:
        return before is not None and before.file is None and problem.state == before.state
    except IndexChanged:
        return False
    return False
