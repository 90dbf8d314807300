"""What is said between a process that asks in SQL and the one that runs its statement, and how it is written on a pipe.

Both are of the same ocicat and trust each other. A message is its length and a value in `marshal`, which knows just what a
row can hold. An answer is a number of frames, each a tuple of the fields of `Frame`.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

HEAP_BYTES = 512 << 20
"""How much memory one statement may take: what SQLite holds and the rows that are made of it, together."""

TIMEOUT_SECONDS = 60.0
"""How long one statement may work, unless something else is asked for."""

VALUE_BYTES = 16 << 20
"""How long one value may be, in the answer and on the way to it (on PostgreSQL: in the answer)."""

ROW_BYTES = 16 << 20
"""How long one row of an answer may be."""

FRAME_BYTES = 64 << 10
"""Rows are sent once there are so many bytes of them."""

HEADER = 8


class Question(NamedTuple):
    """One statement for the catalog at `path`.

    `seconds` are those that it may work; waiting for whoever reads the rows does not count. With `page_rows`, `page_bytes`
    or `page_cells` the answer ends before the row that would exceed one of them; 0 is no limit. With `is_ours` the statement is one of ocicat's own, which may read every table.
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
    """A piece of an answer: the columns (once), rows, each marshalled by itself, and in the last one how it ended.

    `is_last` ends the answer. `is_cut` says that a page was full before the rows were over. `is_spent` says that the process
    runs no other statement. `trouble` is a kind, one of the constants below, and its words.
    """

    columns: list[str] | None
    rows: list[bytes]
    is_last: bool = False
    is_cut: bool = False
    is_spent: bool = False
    trouble: tuple[str, str] | None = None


REFUSED = "refused"
"""The statement does more than read the public views: the words are what it tried."""
NO_QUESTION = "no question"
"""The statement has no rows to give."""
WRONG = "wrong"
"""The statement is no SQL, or fails: the words are the engine's."""
LATE = "late"
"""The statement ran past its time limit."""
MEMORY = "memory"
"""The statement, or a row, needs more memory than it may have."""
LONG = "long"
"""A row is longer than ROW_BYTES."""
ENDED = "ended"
"""The process of the statement was ended: the words say by what."""
ERROR = "error"
"""An error of catalog.errors: its type and its message, with a space between."""
DEFECT = "defect"
"""What nobody thought of."""


class Stopped(Exception):
    """A statement came to no end: `kind` is one of the constants above, `words` belong to it."""

    def __init__(self, kind: str, words: str = "") -> None:
        super().__init__(kind, words)
        self.kind = kind
        self.words = words


def packed(value: tuple[Any, ...]) -> bytes:
    """A message."""
    data = marshal.dumps(tuple(value))
    return len(data).to_bytes(HEADER, "big") + data


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`; raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_all(descriptor: int, count: int) -> bytes | None:
    """Just so many bytes, or None where the other side has closed before they came."""
    pieces = []
    while count:
        piece = os.read(descriptor, min(count, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
