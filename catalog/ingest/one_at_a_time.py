"""Threads that take turns with files that are in memory, where Python's lock would make them wait for one another all the time."""

from __future__ import annotations

import resource
import threading

_TOGETHER = 32
"""After files that came from the disk, so many pieces of work are done without taking turns before that is counted again."""


class OneAtATime:
    """Lets threads take turns with pieces of work on small files, unless these have to be read from a disk or a server.

    Two threads that both run Python take a third more time of the processor than one, and more by the clock. If they wait for a disk,
    two are faster. What the kernel has to read for a thread, it counts (getrusage(2), `ru_inblock`), whatever else the machine does.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._together = 0

    def begin(self) -> int | None:
        """Wait for a turn, if it takes one. Give what this returns to `end`, in the same thread."""
        if self._together > 0:
            self._together -= 1  # Two threads may count as one, which only puts off the next count.
            return None
        self._turn.acquire()
        return _blocks_read()

    def end(self, begun: int | None, files: int) -> None:
        """End the turn, after work on so many files."""
        if begun is None:
            return
        if _blocks_read() - begun >= files:
            self._together = _TOGETHER
        self._turn.release()


def _blocks_read() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
