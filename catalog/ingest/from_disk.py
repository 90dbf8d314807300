"""Find out whether small files come from a disk, where several threads help, or from memory, where they do not."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import TypeVar

_TOGETHER = 32
"""After a group of files that came from a disk, this many groups are expected to come from there, too."""

T = TypeVar("T")


class FromDisk:
    """Finds out whether groups of small files have to be read from a disk or a server.

    Two threads that both run Python take a third more processor time than one, and more wall time. If they wait for a disk, two are
    faster. The kernel counts the blocks that it reads for each thread (getrusage(2), `ru_inblock`), whatever else the machine does.
    """

    def __init__(self) -> None:
        self._together = 0

    def is_expected(self) -> bool:
        """Return whether the next group is expected to come from a disk. Call this once for each group."""
        if not self._together:
            return False
        self._together -= 1
        return True

    def counted(self, read: Callable[[], T], files: int) -> T:
        """Call `read`, which reads a group of `files` files in this thread, and return its result."""
        before = _blocks_read()
        result = read()
        if _blocks_read() - before >= files:
            self._together = _TOGETHER
        return result


def _blocks_read() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
