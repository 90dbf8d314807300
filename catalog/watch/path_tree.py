"""A tree of watched paths, so that handling an event for one directory does not require a search of all watched directories."""

from __future__ import annotations

import os


class PathTree:
    """A set of absolute paths. Finding those at and below a path takes time in proportion to their number."""

    def __init__(self) -> None:
        self._below: dict[bytes, set[bytes]] = {}
        """By directory: its children that are in the set or have a path of the set below them."""
        self._paths: set[bytes] = set()

    def add(self, path: bytes) -> None:
        """Add a path. If nothing near it is in the set, the cost is its depth."""
        self._paths.add(path)
        above = os.path.dirname(path)
        while above != path:
            below = self._below.setdefault(above, set())
            if path in below:
                return
            below.add(path)
            path, above = above, os.path.dirname(above)

    def discard(self, path: bytes) -> None:
        """Remove a path if it is in the set."""
        self._paths.discard(path)
        above = os.path.dirname(path)
        while above != path and path not in self._paths and path not in self._below:
            below = self._below.get(above)
            if below is None:
                return
            below.discard(path)
            if below:
                return
            del self._below[above]
            path, above = above, os.path.dirname(above)

    def at_and_below(self, path: bytes) -> list[bytes]:
        """Return the paths in the set that are equal to `path` or below it."""
        found = []
        pending = [path]
        while pending:
            path = pending.pop()
            if path in self._paths:
                found.append(path)
            pending += self._below.get(path, ())
        return found
