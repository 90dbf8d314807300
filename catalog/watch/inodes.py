"""Which stores have the same file as their `index.json`, through hard links as `cp -al` creates them.

An inotify event names only the directory through which a file was changed. If a file is in two stores, the other one gets no event
although its answers change too. So the file that was last seen in each store is recorded. When that changes, all stores
that have the file now, or had it before, have to be looked at.
"""

from __future__ import annotations

from collections.abc import Container

from catalog.layout.files import FileState

_Inode = tuple[int, int]


class Inodes:
    """The `index.json` of each store as it was last seen, by the path of the store."""

    def __init__(self) -> None:
        self._seen: dict[str, FileState] = {}
        self._paths: dict[_Inode, set[str]] = {}
        self._changed: set[_Inode] = set()
        self._left: set[_Inode] = set()

    def saw(self, path: str, file: FileState | None) -> None:
        """Record the current `index.json` of the store at `path`; None if there is none."""
        before = self._seen.get(path)
        if file == before:
            return
        if before is not None:
            if file is None or file[:2] != before[:2]:
                self._left.add(before[:2])  # The other links see a change too, because the number of links has changed.
            self._leave(path, before[:2])
        if file is None:
            del self._seen[path]
            return
        self._seen[path] = file
        self._changed.add(file[:2])
        self._paths.setdefault(file[:2], set()).add(path)

    def concerned(self) -> set[str]:
        """Return the stores that share a file which changed since the last call."""
        changed, left = self._changed, self._left
        self._changed, self._left = set(), set()
        found: set[str] = set()
        for inode in changed | left:
            paths = self._paths.get(inode, set())
            if inode in left or len(paths) > 1:
                found |= paths
        return found

    def shares(self, path: str) -> bool:
        """Return whether other stores had the same file as the store at `path` when they were last seen."""
        seen = self._seen.get(path)
        return seen is not None and len(self._paths[seen[:2]]) > 1

    def keep(self, paths: Container[str]) -> None:
        """Forget all stores except those at `paths`."""
        for path in [path for path in self._seen if path not in paths]:
            self._leave(path, self._seen.pop(path)[:2])

    def _leave(self, path: str, inode: _Inode) -> None:
        left = self._paths[inode]
        left.discard(path)
        if not left:
            del self._paths[inode]
