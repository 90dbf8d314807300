"""One pass over roots and stores: what changed since is read, the rest is a stat (cli.md, `index`).

Strategy. Reading happens outside of the catalog's lock; writing under it, several stores a transaction, since the number
of commits rules the time (facts.md section 5), and never a store split over two. Between the two the file is looked at
once more: had another process taken a later change meanwhile, an older reading must not win.

A change counts when its file has stood still for the settling time (resolution.md section 10). Files that are younger, or
that change while they are read, are put off until the others are done; one that never stands still keeps its last rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from catalog.db.engine import Writer
from catalog.ingest.apply import SERVES, Outcome, identity, write_content, write_state
from catalog.ingest.registry import Registry, Root, Store
from catalog.ingest.rows import Rows
from catalog.ingest.settings import Settings
from catalog.layout.discover import discover
from catalog.layout.index import (
    FileState,
    IndexChanged,
    IndexContent,
    IndexProblem,
    read_index,
    read_layout_version,
    stat_index,
)
from catalog.names.escape import shown

BATCH_STORES = 500
BATCH_ENTRIES = 50_000

Report = Callable[[str], None]
Progress = Callable[[int, int], None]


class Summary(NamedTuple):
    """How many stores a pass looked at, found new, changed, and could not settle."""

    stores: int
    found: int
    changed: int
    unsettled: int


class _Reading(NamedTuple):
    """What was found at a store: its content, or the state it is in and why."""

    store: Store
    content: IndexContent | None
    problem: IndexProblem | None
    version: str | None
    took_ms: int


class _Waiting:
    """A store whose file was not yet seen standing still: what it looked like, and since when it looks so."""

    def __init__(self, store: Store, deadline: float) -> None:
        self.store = store
        self.deadline = deadline
        self.looks: tuple[object, ...] | None = None
        self.since = time.monotonic()


class Sweep:
    """A pass with `writer`. `report` gets one line for each thing worth a person's notice, `progress` (done, total)."""

    def __init__(self, writer: Writer, settings: Settings, report: Report, progress: Progress | None = None) -> None:
        self._writer = writer
        self._settings = settings
        self._report = report
        self._progress = progress or (lambda _done, _total: None)
        self._batch: list[_Reading] = []
        self._batch_entries = 0
        self._waiting: list[_Waiting] = []
        self._deadlines: dict[int, float] = {}
        self._done = self._total = self._changed = 0
        self._full = False

    def run(self, roots: Iterable[Root], stores: Iterable[Store] | None, *, full: bool = False) -> Summary:
        """Look for new layouts below `roots`, then at `stores` (None: every one, those just found included).

        `full` reads each index.json although it looks unchanged.
        """
        self._full = full
        found = self._discover(roots)
        with self._writer.transaction() as connection:
            registered = Registry(connection).stores()
        if stores is not None:
            wanted = {s.id for s in stores} | set(found)
            registered = [s for s in registered if s.id in wanted]
        self._total = len(registered)
        for each in registered:
            if full or self._differs(each):
                self._read(each)
            else:
                self._count()
        self._commit()
        unsettled = self._settle()
        return Summary(len(registered), len(found), self._changed, unsettled)

    # --- finding ------------------------------------------------------------------------------------------------

    def _discover(self, roots: Iterable[Root]) -> list[int]:
        """Register the layouts below `roots` that are not known yet; returns their ids."""
        with self._writer.transaction() as connection:
            registry = Registry(connection)
            known = {s.path for s in registry.stores()}
            left_out = registry.left_out()
        new = [path for each in roots for path in discover(each.path, self._unreadable) if path not in known]
        new = [path for path in new if path not in left_out]
        ids: list[int] = []
        if new:
            now = now_ms()
            with self._writer.transaction() as connection:
                registry = Registry(connection)
                for path in new:
                    registered = registry.discovered(path, now)
                    if registered is None:
                        continue
                    ids.append(registered[0])
                    if registered[1] is not None:
                        self._report(f"{shown(path)}: its name was taken, it is called {shown(registered[1])}")
        return ids

    def _unreadable(self, path: str, error: OSError) -> None:
        self._report(f"{shown(path)}: cannot be searched for layouts: {error.strerror or error}")

    # --- reading ------------------------------------------------------------------------------------------------

    def _differs(self, store: Store) -> bool:
        """Whether a stat says that there is something to read, or a state to note."""
        if store.keyed_by is not None and store.keyed_by != store.keys_should_be():
            return True
        try:
            file = stat_index(store.path)
        except IndexProblem as problem:
            return store.state != problem.state or store.keyed_by is None
        # A store that was invalid or gone and looks as it did when it was good is good again: read it.
        return store.file_identity != identity(file) or store.state not in SERVES

    def _read(self, store: Store) -> None:
        began = time.monotonic()
        file: FileState | None = None
        try:
            file = stat_index(store.path)
            if not self._stood_still(file):
                self._put_off(store)
                return
            content = read_index(store.path, self._settings.limits)
        except IndexChanged:
            self._put_off(store)
        except IndexProblem as problem:
            if file is not None and not self._stood_still(file):
                self._put_off(store)
            else:
                self._take(_Reading(store, None, problem, None, 0))
        else:
            took = int((time.monotonic() - began) * 1000)
            self._take(_Reading(store, content, None, read_layout_version(store.path), took))

    def _stood_still(self, file: FileState) -> bool:
        """Whether the file's own times say that it stood still for the settling time. A time to come says nothing."""
        age = time.time_ns() - max(file.mtime_ns, file.ctime_ns)
        return age >= self._settings.settle_ms * 1_000_000

    # --- writing ------------------------------------------------------------------------------------------------

    def _take(self, reading: _Reading) -> None:
        content = reading.content
        if content is not None and content.streamed:
            self._commit()  # alone in its transaction: what it holds is only known at its end
        self._batch.append(reading)
        self._batch_entries += content.elements if content is not None else 0
        if (
            len(self._batch) >= BATCH_STORES
            or self._batch_entries >= BATCH_ENTRIES
            or (content is not None and content.streamed)
        ):
            self._commit()

    def _commit(self) -> None:
        batch, self._batch, self._batch_entries = self._batch, [], 0
        if not batch:
            return
        try:
            with self._writer.transaction() as connection:
                registry, rows = Registry(connection), Rows(connection)
                for reading in batch:
                    self._write(registry, rows, reading)
        except (IndexChanged, IndexProblem) as error:
            # Only a streamed file can say so here, and it is alone in its batch: nothing else was undone.
            reading = batch[0]
            if isinstance(error, IndexProblem):
                with self._writer.transaction() as connection:
                    self._write(Registry(connection), Rows(connection), reading._replace(content=None, problem=error))
            else:
                self._put_off(reading.store)
        finally:
            for reading in batch:
                if reading.content is not None:
                    reading.content.close()

    def _write(self, registry: Registry, rows: Rows, reading: _Reading) -> None:
        fresh = registry.stores(reading.store.id)
        if not fresh:
            return  # removed by another process meanwhile
        store, now = fresh[0], now_ms()
        if reading.content is None:
            if reading.problem is not None:
                outcome = write_state(registry.connection, store, reading.problem.state, reading.problem.reason, now)
                self._tell(store, outcome)
            self._count()
            return
        if not _still(store.path, reading.content.file):
            self._put_off(store)
            return
        outcome = write_content(
            registry.connection, rows, store, reading.content, reading.version, now, reading.took_ms, full=self._full
        )
        self._tell(store, outcome)
        self._count()

    def _tell(self, store: Store, outcome: Outcome) -> None:
        if outcome.applied is not None:
            self._changed += 1
        if outcome.error is not None:
            self._report(f"{shown(store.name)}: {outcome.state}: {outcome.error} ({shown(store.path)})")

    def _count(self) -> None:
        self._done += 1
        self._progress(self._done, self._total)

    # --- settling -----------------------------------------------------------------------------------------------

    def _put_off(self, store: Store) -> None:
        deadline = self._deadlines.setdefault(store.id, time.monotonic() + self._settings.patience_ms / 1000)
        self._waiting.append(_Waiting(store, deadline))

    def _settle(self) -> int:
        """Take what was put off once it stands still; returns how many stores never did."""
        unsettled = 0
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                self._look_again(each)
            self._commit()
            late = [each for each in self._waiting if time.monotonic() > each.deadline]
            for each in late:
                self._report(
                    f"{shown(each.store.name)}: is being written all the time, its last rows stay ({shown(each.store.path)})"
                )
                self._count()
            unsettled += len(late)
            self._waiting = [each for each in self._waiting if each not in late]
            if self._waiting:
                time.sleep(min(self._settings.settle_ms, 50) / 1000)
        return unsettled

    def _look_again(self, each: _Waiting) -> None:
        """Take the store when two looks, the settling time apart, saw the same file and the same bytes."""
        content: IndexContent | None = None
        problem: IndexProblem | None = None
        began = time.monotonic()
        try:
            content = read_index(each.store.path, self._settings.limits)
            looks: tuple[object, ...] = (content.file, None if content.streamed else content.sha256)
        except IndexChanged:
            looks = (object(),)
        except IndexProblem as error:
            problem = error
            looks = (error.state, error.reason, _file_state(each.store.path))
        if looks == each.looks and began - each.since >= self._settings.settle_ms / 1000:
            took = int((time.monotonic() - began) * 1000)
            version = None if content is None else read_layout_version(each.store.path)
            self._take(_Reading(each.store, content, problem, version, took))
            return
        if content is not None:
            content.close()
        if looks != each.looks:
            each.looks, each.since = looks, began
        self._waiting.append(each)


def now_ms() -> int:
    """The time in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def _still(path: str, file: FileState) -> bool:
    return _file_state(path) == file


def _file_state(path: str) -> FileState | None:
    try:
        return stat_index(path)
    except IndexProblem:
        return None
