"""Lines on their way to a stderr that perhaps nobody reads: a pipe that is full stops whoever writes into it.

A thread of its own writes them, so that only it is stopped. What waits has a limit; what comes beyond that is left out, and
how much that was is said as soon as there is room again.
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
    """Let whatever is said go to stderr by a LogPipe, in this block."""
    try:
        descriptor = sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):  # closed, or no file: nothing that could stand still
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
    """Takes text for the descriptor `descriptor`; `lost` makes a line that says how many texts were left out."""

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
        """Take `text`, which is one line or several; never waits."""
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
        """Wait for what is still to be written, a second at most."""
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
            # Not by sys.stderr: its lock would be held by a thread that stands still while the process wants to end.
            self._write(data)
            with self._changed:
                self._waiting.popleft()
                self._bytes -= len(data)

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            return  # nobody can read it any more: the daemon goes on, and its exit status still says how it ended
