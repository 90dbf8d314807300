"""Take some changes before the settling time is over: an `index.json` that was renamed into place is complete (docs/resolution.md).

A writer could still write to the file, or to another name of it, and a half-written list can be valid JSON. So such a file is taken
only if
- the last event for its name is the rename, and every event up to the stat of the file was read: an event that ocicat made after the
  stat has come (marker.py). No event was lost, and the file system reports writes.
- its times are older than a tick of the clock by which the kernel sets them. A later write changes the times, and the reader of the
  file compares them.
- it has one name, is an `index.json` of moderate size, and nobody has it open for writing, as far as this process can see.
- this store was not taken in this way within the last second, and finding out who has files open takes a tenth of the time at most.
Any other change waits for the settling time.
"""

from __future__ import annotations

import os
import time

from catalog.ingest.store_state import Store
from catalog.layout.beneath import open_directory
from catalog.layout.files import ArchiveState, FileState
from catalog.layout.held import OpenFiles
from catalog.watch.hints import is_below_any
from catalog.watch.observer import TreeObserver

_TICK_SECONDS = 0.02
_SOON_SECONDS = 0.006
"""The time to wait for the event that ocicat made. The observer reads events every five milliseconds."""
_PAUSE_SECONDS = 1.0
_HELD_SHARE = 10
_MOST_BYTES = 1 << 20


class Renamed:
    """Decides when stores whose `index.json` was renamed into place may be read.

    In the directories `silent`, not every write causes an event.
    """

    def __init__(self) -> None:
        self.silent: frozenset[str] = frozenset()
        self._asked: dict[int, tuple[FileState, int]] = {}
        self._next: dict[int, float] = {}  # the time when a store may be taken at once again, by id
        self._next_look = 0.0
        self._open_files = OpenFiles()

    def wait(self, trees: TreeObserver, store: Store, file: FileState, age: float) -> float | None:
        """Return after how many seconds to check the store again, 0 if `file` may be read now, or None if it has to settle like others.

        `file` was just found, and last changed `age` seconds ago.
        """
        now = time.monotonic()
        path = os.fsencode(store.path)
        if isinstance(file, ArchiveState) or file.size > _MOST_BYTES or not trees.is_renamed(path):
            self._asked.pop(store.id, None)
            return None
        if is_below_any(store.path, set(self.silent)):
            return None
        if now < (allowed := max(self._next.get(store.id, 0.0), self._next_look)):
            return allowed - now
        if age < _TICK_SECONDS:
            return _TICK_SECONDS - age + 0.001
        asked = self._asked.pop(store.id, None)
        if asked is None or asked[0] != file:
            number = trees.mark()
            if number is not None:
                self._asked[store.id] = file, number
            return _SOON_SECONDS
        if not trees.has_read(asked[1]):
            self._asked[store.id] = asked
            return _SOON_SECONDS
        if not trees.is_renamed(path) or not _has_one_name(store, file):
            return None
        is_held = self._open_files.has(store.opened, file, max(file.mtime_ns, file.ctime_ns))
        self._next_look = now + _HELD_SHARE * self._open_files.took
        if is_held:
            return None
        if len(self._next) > 10_000:
            self._next = {each: until for each, until in self._next.items() if until > now}
        self._next[store.id] = now + _PAUSE_SECONDS
        return 0.0


def _has_one_name(store: Store, file: FileState) -> bool:
    """Return whether the `index.json` is still this file, and has no other hard link."""
    try:
        directory = open_directory(store.opened)
        try:
            found = os.stat("index.json", dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(directory)
    except OSError:
        return False
    return found.st_nlink == 1 and (found.st_dev, found.st_ino, found.st_ctime_ns) == (
        file.dev,
        file.ino,
        file.ctime_ns,
    )
