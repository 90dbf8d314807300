"""What was found at a store, on its way from the disk into the catalog, and the stores that wait to be read."""

from __future__ import annotations

from typing import NamedTuple

from catalog.exhausted import TOO_LARGE, out_of_memory
from catalog.ingest.store_state import Store
from catalog.ingest.turns import LARGE_BYTES, LARGE_ENTRIES
from catalog.layout.files import ArchiveState, FileState, IndexChanged, IndexProblem
from catalog.layout.index import IndexContent, Marker, read_index, stat_index

_BLAMED_BYTES = 1 << 20
"""A store with a smaller index.json is not to blame if memory runs out."""

_NO_MARKER = Marker(None, None)


class PutOff(NamedTuple):
    """A store that waits, with the time by the monotonic clock and the reason."""

    store: Store
    since: float
    why: str


class WaitingStore:
    """A store that has not settled yet, or waits for its turn.

    `first` is when it began to wait, `looks` what it last looked like, `since` when it began to look so, `due` when to look again, and
    `why` the reason. Times are seconds of the monotonic clock. `size` is that of its index.json in bytes when last seen, `ended`
    how many of its turns were ended (turns.py), `long_turns` how many of those were longer turns since it last changed, `turn_began`
    when its last turn began, `is_long` whether it is an archive that took long to read, and `full` whether to read it even if it
    looks unchanged.
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
        """Whether it is read and written alone, in a turn that may be ended."""
        return self.is_long or self.size > LARGE_BYTES or self.store.entries > LARGE_ENTRIES

    def take_size(self, file: FileState) -> None:
        """Note the size of its file. That of an archive says nothing about its list, but how long it may take to read."""
        is_large = isinstance(file, ArchiveState) and self.is_large
        self.size = max(file.size, LARGE_BYTES + 1) if is_large else file.list_bytes

    def seen(self, now: float, looks: tuple[object, ...]) -> None:
        """Record what the store looks like now."""
        if self.looks != looks:
            self.looks, self.since, self.long_turns = looks, now, 0


class IndexReading(NamedTuple):
    """What was found at a store: its content, or the problem. `took_ms` is how long reading took."""

    waiting: WaitingStore
    content: IndexContent | None
    problem: IndexProblem | None
    marker: Marker = _NO_MARKER
    took_ms: int = 0

    @property
    def store(self) -> Store:
        return self.waiting.store

    def is_current(self, path: str) -> bool:
        """Return whether the store at `path` still looks as it did when it was read."""
        before = self.problem
        try:
            file = stat_index(path)
            if self.content is not None:
                return file == self.content.file
            if before is not None and before.file is not None:
                return file == before.file
            read_index(path).close()  # Only opening it can tell.
        except IndexProblem as problem:
            return before is not None and before.file is None and problem.state == before.state
        except IndexChanged:
            return False
        return False


def no_memory(file: FileState) -> IndexProblem:
    """Return the problem of a store that needs more memory than there is; raise Exhausted if it is too small to be blamed."""
    if file.size < _BLAMED_BYTES:
        raise out_of_memory()
    problem = IndexProblem("invalid", f"its {file.size} bytes {TOO_LARGE}")
    problem.file = file
    return problem
