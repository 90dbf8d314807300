"""The kernel's inotify, through watchdog's reading thread.

This depends on internals of watchdog 7.1 (`InotifyFD` and its callbacks). pyproject.toml pins that series, and
tests/watch/test_observer.py tests everything that is used here.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sys
import termios
import time

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

MASK = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)
"""One mask for every watch, because a second mask on the same directory would replace the first. ATTRIB is included because
permissions and modification times can change a store although nothing is written. MODIFY gives no hint; it shows that a
writer has written to the file and not yet closed it."""

_PAUSE_SECONDS = 0.005
"""The pause between two reads of events, so that not every event wakes the thread. Meanwhile the kernel merges equal events."""

logging.getLogger("watchdog").setLevel(logging.CRITICAL)  # The daemon itself reports that events were lost.


class InotifyDescriptor(InotifyFD):
    """watchdog's inotify descriptor, except that a directory may be watched again and EACCES is raised like any other error."""

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        """Watch the directory `path` and return the watch, which may already exist. Raises OSError."""
        with self._lock:
            watch = self._get_or_create_watch(path, mask)
            if watch.wd == -1:
                del self._watch_for_wd[watch.wd]
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            watch.callbacks[id_] = callback
            return watch.wd

    def read_events(self, **options: int) -> list[InotifyEvent]:
        """Return the unread events. If there are none, wait for one."""
        events = super().read_events(**options)
        time.sleep(_PAUSE_SECONDS)
        return events

    def unread(self) -> int:
        """Return the number of bytes of unread events, or 0 if it is unknown."""
        waiting = bytearray(4)
        try:
            fcntl.ioctl(self._inotify_fd, termios.FIONREAD, waiting)
        except OSError:
            return 0
        return int.from_bytes(waiting, sys.byteorder)
