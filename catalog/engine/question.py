"""The messages between a process that has an SQL statement and the process that runs it, and their encoding on a pipe.

Both processes belong to the same ocicat and trust each other. A message is a length and a value encoded with `marshal`, which
supports every type that a row can hold. An answer consists of frames, each a tuple of the fields of `Frame`.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

HEAP_BYTES = 512 << 20
"""How much memory one statement may use, for SQLite and its rows together."""

TIMEOUT_SECONDS = 60.0
"""How long one statement may run by default."""

VALUE_BYTES = 16 << 20
"""How long one value may be: in the answer, and on SQLite in intermediate results too."""

ROW_BYTES = 16 << 20
"""How long one row of an answer may be."""

FRAME_BYTES = 64 << 10
"""Collected rows are sent when they reach this many bytes."""

HEADER = 8


class Question(NamedTuple):
    """One statement for the catalog at `path`.

    It may run for `seconds`, not counting time during which it waits for the reader of its rows. The answer ends before the row
    that would exceed `page_rows`, `page_bytes` or `page_cells`; 0 means no limit. `is_ours` marks a statement that ocicat itself
    wrote, which may read every table.
    """

    path: str
    statement: str
    parameters: Mapping[str, object] | list[object]
    seconds: float
    heap_bytes: int = HEAP_BYTES
    page_rows: int = 0
    page_bytes: int = 0
    page_cells: int = 0
    is_ours: bool = False


class Frame(NamedTuple):
    """A piece of an answer: the columns (only once), rows (each marshalled separately), and in the last frame how the answer ended.

    `is_last` marks the last frame. `is_cut` means that the page was full before the last row. `is_spent` means that the process will
    not run another statement. `trouble` is one of the kinds below and a text that explains it (may be empty), or None.
    """

    columns: list[str] | None
    rows: list[bytes]
    is_last: bool = False
    is_cut: bool = False
    is_spent: bool = False
    trouble: tuple[str, str] | None = None


REFUSED = "refused"
"""The statement does more than read public views; the text says what it tried."""
NO_QUESTION = "no question"
"""The statement returns no rows."""
WRONG = "wrong"
"""The statement is not valid SQL or fails; the text is the engine's message."""
LATE = "late"
"""The statement exceeded its time limit."""
MEMORY = "memory"
"""The statement or a row needs more memory than allowed."""
LONG = "long"
"""A row is longer than ROW_BYTES."""
ENDED = "ended"
"""The process that ran the statement ended; the text says how."""
ERROR = "error"
"""An error of catalog.errors; the text is its type and message, separated by a space."""
DEFECT = "defect"
"""An unexpected error."""


class Stopped(Exception):
    """A statement did not finish: `kind` is one of the constants above, and `words` is the text that explains it."""

    def __init__(self, kind: str, words: str = "") -> None:
        super().__init__(kind, words)
        self.kind = kind
        self.words = words


def packed(value: tuple[Any, ...]) -> bytes:
    """Return the bytes of a message."""
    data = marshal.dumps(tuple(value))
    return len(data).to_bytes(HEADER, "big") + data


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_all(descriptor: int, count: int) -> bytes | None:
    """Return exactly `count` bytes, or None if the other side closes the pipe first."""
    pieces = []
    while count:
        piece = os.read(descriptor, min(count, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
