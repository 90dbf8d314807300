"""Choose the stores to read again although nothing shows that their `index.json` changed.

A writer that has mapped a file on a tmpfs neither changes the file's times nor causes an event, and neither does a failing disk. So
each store is read once per long interval. Different stores are read at different times, so that they are not all read at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection


class Rereading:
    """The time to read each store next, by its path, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def due(self, paths: Collection[str], interval: float, now: float) -> set[str]:
        """Return the paths in `paths` that are due now, and forget all paths that are not in `paths`.

        A path is first due within `interval` after it was first seen, and then once per `interval`.
        """
        before, self._next = self._next, {}
        due: set[str] = set()
        for path in paths:
            at = before.get(path)
            if at is None:
                at = now + interval * (zlib.crc32(path.encode("utf-8", "surrogateescape")) + 1) / (1 << 32)
            elif at <= now:
                due.add(path)
                at = now + interval
            self._next[path] = min(at, now + interval)  # The interval may have become shorter.
        return due
