"""Sends the rows of a statement out of the process that runs it, in frames, and limits their size and the statement's time and memory."""

from __future__ import annotations

import marshal
import resource
import time
from collections.abc import Callable
from typing import Any

from catalog.engine import question
from catalog.engine.question import FRAME_BYTES, ROW_BYTES, Frame, Question, Stopped

_LOOK_SECONDS = 0.1
_MORE_BYTES = 64 << 20
"""How much memory a process may use in addition to the statement's."""


class TimeLimit:
    """The time limit of a statement. Time during which its rows wait for their reader does not count."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._paused: float | None = None

    def left(self) -> float:
        """Return the number of seconds left; negative if the time is over."""
        return self._deadline - (time.monotonic() if self._paused is None else self._paused)

    def is_over(self) -> bool:
        """Return whether the time is over."""
        return self.left() <= 0

    def pause(self) -> None:
        """Stop the clock while the statement waits for the reader of its rows."""
        self._paused = time.monotonic()

    def go_on(self) -> None:
        """Start the clock again after `pause`."""
        if self._paused is not None:
            self._deadline += time.monotonic() - self._paused
            self._paused = None


class Sink:
    """Takes the columns and rows of one answer and passes frames to `write`. `end` or `fail` sends the last frame."""

    def __init__(self, asked: Question, write: Callable[[Frame], None]) -> None:
        self.clock = TimeLimit(asked.seconds)
        """`begin` starts it anew."""
        self._asked = asked
        self._write = write
        self._columns: list[str] | None = None
        self._rows: list[bytes] = []
        self._bytes = 0
        self._count = 0
        self._cells = 0
        self._total = 0
        self._sent_at = 0.0
        self._is_cut = False

    def begin(self) -> None:
        """Report that the catalog is open and the statement is about to run, and start its time limit."""
        self._write(Frame(None, []))
        self.clock = TimeLimit(self._asked.seconds)

    def columns(self, names: list[str]) -> None:
        """Set the names of the columns, before the first row."""
        self._columns = names

    def row(self, row: tuple[Any, ...]) -> bool:
        """Take a row and return True, or return False if the page is full. Raises Stopped if the row is too long."""
        data = marshal.dumps(row)
        if len(data) > ROW_BYTES:
            raise Stopped(question.LONG)
        asked = self._asked
        self._count += 1
        self._cells += len(row)
        self._total += len(data)
        if (
            (asked.page_rows and self._count > asked.page_rows)
            or (asked.page_bytes and self._total > asked.page_bytes)
            or (asked.page_cells and self._cells > asked.page_cells)
        ):
            self._is_cut = True
            return False
        self._rows.append(data)
        self._bytes += len(data)
        if self._bytes >= FRAME_BYTES or time.monotonic() - self._sent_at > _LOOK_SECONDS:
            self._send(Frame(self._columns, self._rows))
        return True

    def end(self, *, is_spent: bool) -> None:
        """Send the last frame."""
        self._send(Frame(self._columns, self._rows, is_last=True, is_cut=self._is_cut, is_spent=is_spent))

    def fail(self, kind: str, words: str, *, is_spent: bool) -> None:
        """Send the last frame of a statement that did not finish."""
        self._send(Frame(self._columns, self._rows, is_last=True, is_spent=is_spent, trouble=(kind, words)))

    def _send(self, frame: Frame) -> None:
        self._columns, self._rows, self._bytes = None, [], 0
        self.clock.pause()
        self._write(frame)
        self.clock.go_on()
        self._sent_at = time.monotonic()


def limit_memory(heap_bytes: int) -> None:
    """Limit the address space to its current size plus the memory of a statement and a reserve."""
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = now + heap_bytes + _MORE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
