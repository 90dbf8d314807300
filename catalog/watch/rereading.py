"""Which stores are to be read again although nothing tells that their `index.json` changed.

On a tmpfs a writer who keeps the file mapped changes none of its times and causes no event; nor does a disk that goes bad. So each
store is read once in a long interval, and each at a time of its own, so that not all of them are read at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection


class Rereading:
    """When each store, by its path, is to be read next. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def due(self, paths: Collection[str], interval: float, now: float) -> set[str]:
        """Return those of `paths` that are to be read now, and forget all others that were there before.

        The first time comes within `interval` after a path was first seen, then each comes after another `interval`.
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
            self._next[path] = min(at, now + interval)  # the interval may be a shorter one by now
        return due
