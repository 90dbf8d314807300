"""Write log lines to stderr without blocking the daemon when nothing reads them and the pipe is full.

A separate thread writes the lines, so only that thread blocks. The total size of the waiting lines is limited. Lines beyond the
limit are dropped, and a line says how many as soon as there is room again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

from catalog.cli import messages

WAITING_BYTES = 1 << 20
_LAST_SECONDS = 1.0


@contextlib.contextmanager
def stderr_without_waiting(lost: Callable[[int], str]) -> Iterator[None]:
    """Within this block, send all messages to stderr through a LogPipe."""
    try:
        descriptor = sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):  # closed, or not a file: it cannot block
        yield
        return
    pipe = LogPipe(descriptor, lost)
    messages.route.write = pipe.write
    try:
        yield
    finally:
        messages.route.write = None
        pipe.close()


class LogPipe:
    """Writes text to a file descriptor from a thread of its own. `lost` makes the line that says how many were dropped."""

    def __init__(self, descriptor: int, lost: Callable[[int], str]) -> None:
        self._descriptor = descriptor
        self._make_lost = lost
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Queue `text`, one or more lines, or drop it if too much waits. Never blocks."""
        data = text.encode("utf-8", "replace")
        with self._changed:
            if self._bytes + len(data) > WAITING_BYTES:
                self._lost += 1
                return
            if self._lost:
                self._take(self._make_lost(self._lost).encode("utf-8", "replace"))
                self._lost = 0
            self._take(data)
            self._changed.notify()

    def close(self) -> None:
        """Write the lines that still wait, for at most _LAST_SECONDS."""
        with self._changed:
            if self._lost:
                self._take(self._make_lost(self._lost).encode("utf-8", "replace"))
                self._lost = 0
            self._is_closed = True
            self._changed.notify()
        self._thread.join(_LAST_SECONDS)

    def _take(self, data: bytes) -> None:
        self._waiting.append(data)
        self._bytes += len(data)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                data = self._waiting[0]
            # Not through sys.stderr: if this thread blocked there, its lock would keep the process from ending.
            self._write(data)
            with self._changed:
                self._waiting.popleft()
                self._bytes -= len(data)

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            return  # Nobody reads the log any more. The daemon continues, and its exit status still says how it ended.
