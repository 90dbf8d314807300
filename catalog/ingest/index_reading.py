"""The result of reading a store, on its way from the disk into the catalog, and the stores that wait to be read."""

from __future__ import annotations

from typing import NamedTuple

from catalog.exhausted import TOO_LARGE, out_of_memory
from catalog.ingest.store_state import Store
from catalog.ingest.turns import LARGE_BYTES, LARGE_ENTRIES
from catalog.layout.files import ArchiveState, FileState, IndexChanged, IndexProblem
from catalog.layout.index import IndexContent, Marker, read_index, stat_index

_BLAMED_BYTES = 1 << 20
"""If memory runs out, a store with an index.json smaller than this is not blamed."""

_NO_MARKER = Marker(None, None)


class PutOff(NamedTuple):
    """A store that waits, the time when it began to wait (monotonic clock), and the reason."""

    store: Store
    since: float
    why: str


class WaitingStore:
    """A store that has not settled yet, or waits for its turn. Times are seconds of the monotonic clock.

    - `first` is the time when it began to wait, and `why` the reason.
    - `looks` is the state in which it was last seen, and `since` the time when it was first seen in that state.
    - `due` is the time to check it again.
    - `size` is the size of its index.json in bytes when last seen.
    - `ended` is the number of its turns that were ended (turns.py), and `long_turns` the number of longer turns among them since it
      last changed.
    - `turn_began` is the time when its last turn began.
    - `is_long` is True for an archive that took long to read.
    - `full` is True if the store is to be read even if it looks unchanged.
    """

    def __init__(self, store: Store, now: float, *, full: bool) -> None:
        self.store = store
        self.full = full
        self.first = now
        self.looks: tuple[object, ...] = ()
        self.since = now
        self.due = now
        self.size = 0
        self.is_queued = self.is_long = False
        self.ended = 0
        self.long_turns = 0
        self.turn_began = now
        self.why = ""

    @property
    def is_large(self) -> bool:
        """Whether the store is read and written alone, in a turn that may be ended."""
        return self.is_long or self.size > LARGE_BYTES or self.store.entries > LARGE_ENTRIES

    def take_size(self, file: FileState) -> None:
        """Record the size of its file. The size of an archive shows only how long reading may take, not the size of its index.json."""
        is_large = isinstance(file, ArchiveState) and self.is_large
        self.size = max(file.size, LARGE_BYTES + 1) if is_large else file.list_bytes

    def seen(self, now: float, looks: tuple[object, ...]) -> None:
        """Record the current state of the store."""
        if self.looks != looks:
            self.looks, self.since, self.long_turns = looks, now, 0


class IndexReading(NamedTuple):
    """The result of reading a store: its content, or the problem. `took_ms` is the time that reading took, in milliseconds."""

    waiting: WaitingStore
    content: IndexContent | None
    problem: IndexProblem | None
    marker: Marker = _NO_MARKER
    took_ms: int = 0

    @property
    def store(self) -> Store:
        return self.waiting.store

    def is_current(self, path: str) -> bool:
        """Return whether the store at `path` is still in the state in which it was read."""
        before = self.problem
        try:
            file = stat_index(path)
            if self.content is not None:
                return file == self.content.file
            if before is not None and before.file is not None:
                return file == before.file
            read_index(path).close()  # Only opening the file shows whether the problem is still the same.
        except IndexProblem as problem:
            return before is not None and before.file is None and problem.state == before.state
        except IndexChanged:
            return False
        return False


def no_memory(file: FileState) -> IndexProblem:
    """Return the problem of a store that needs more memory than there is. Raises Exhausted if it is too small to be blamed."""
    if file.size < _BLAMED_BYTES:
        raise out_of_memory()
    problem = IndexProblem("invalid", f"its {file.size} bytes {TOO_LARGE}")
    problem.file = file
    return problem
