"""Which stores to read again although nothing shows that their `index.json` changed.

On a tmpfs, a writer who has the file mapped neither changes its times nor causes an event, and the same is true of a failing disk. So
each store is read once per long interval, at a time of its own, so that they are not all read at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection


class Rereading:
    """When to read each store next, by its path. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def due(self, paths: Collection[str], interval: float, now: float) -> set[str]:
        """Return those of `paths` that are due now, and forget all paths that are not among them.

        A path is first due within `interval` after it was first seen, and then after each further `interval`.
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
            self._next[path] = min(at, now + interval)  # The interval may be shorter now.
        return due
