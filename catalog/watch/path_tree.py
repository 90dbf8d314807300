"""A tree of watched paths, so that an event about one directory does not cost a look at every other watched directory."""

from __future__ import annotations

import os


class PathTree:
    """A set of absolute paths that finds those at and below a path in time proportional to what it finds."""

    def __init__(self) -> None:
        self._below: dict[bytes, set[bytes]] = {}
        """The directories directly below one, of those that are in the set or above a path in it."""
        self._paths: set[bytes] = set()

    def add(self, path: bytes) -> None:
        """Add a path; costs its depth if nothing near it is in the set."""
        self._paths.add(path)
        above = os.path.dirname(path)
        while above != path:
            below = self._below.setdefault(above, set())
            if path in below:
                return
            below.add(path)
            path, above = above, os.path.dirname(above)

    def discard(self, path: bytes) -> None:
        """Take a path out, if it is in."""
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
        """Return the paths of the set that are `path` or lie below it."""
        found = []
        pending = [path]
        while pending:
            path = pending.pop()
            if path in self._paths:
                found.append(path)
            pending += self._below.get(path, ())
        return found
