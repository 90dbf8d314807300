"""Find the stores whose `index.json` is the same file, through hard links as `cp -al` creates them.

An inotify event names only the directory through which a file was changed. If a file is in two stores, the other store gets no event
although its answers change too. So the file that was last seen in each store is recorded. When it changes, all stores that have the
file now, or had it before, have to be checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

from catalog.layout.files import FileState

_Inode = tuple[int, int]


class Inodes:
    """The `index.json` of each store as it was last seen, by the path of the store."""

    def __init__(self) -> None:
        self._seen: dict[str, FileState] = {}
        self._paths: dict[_Inode, set[str]] = {}
        self._alike: Counter[FileState] = Counter()  # the number of stores that were seen with each state
        self._changed: set[_Inode] = set()
        self._left: set[_Inode] = set()

    def saw(self, path: str, file: FileState | None) -> None:
        """Record the current `index.json` of the store at `path`. `file` is None if there is none."""
        before = self._seen.get(path)
        if file == before:
            return
        if before is not None:
            if file is None or file[:2] != before[:2]:
                self._left.add(before[:2])  # The stat of the other links changes too, because their number has changed.
            self._leave(path, before)
        if file is None:
            del self._seen[path]
            return
        self._seen[path] = file
        self._alike[file] += 1
        self._changed.add(file[:2])
        self._paths.setdefault(file[:2], set()).add(path)

    def concerned(self) -> set[str]:
        """Return the paths of the stores whose file changed in another store, or is no longer in another store, since the last call."""
        changed, left = self._changed, self._left
        self._changed, self._left = set(), set()
        found: set[str] = set()
        for inode in changed | left:
            paths = self._paths.get(inode, set())
            if inode in left or len(paths) > 1:
                found |= paths
        return found

    def shares(self, path: str) -> bool:
        """Return whether other stores were last seen with the same file in the same state as the store at `path`.

        The same inode is not enough. A file system gives the inode of a deleted file to the next file, so a store whose file was
        replaced may seem to have the inode of another store's new file until it is checked.
        """
        seen = self._seen.get(path)
        return seen is not None and self._alike[seen] > 1

    def keep(self, paths: Container[str]) -> None:
        """Forget all stores except those at `paths`."""
        for path in [path for path in self._seen if path not in paths]:
            self._leave(path, self._seen.pop(path))

    def _leave(self, path: str, file: FileState) -> None:
        self._alike[file] -= 1
        if not self._alike[file]:
            del self._alike[file]
        left = self._paths[file[:2]]
        left.discard(path)
        if not left:
            del self._paths[file[:2]]
