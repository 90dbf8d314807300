"""The two locks beside the catalog: `<catalog>.writer` is held by whoever writes, through commit,
checkpoint and close; `<catalog>.daemon` says that a daemon lives.

They are flock locks: the kernel drops them with their holder, so a killed process never leaves one behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time

from catalog.errors import CatalogLocked, CatalogUnavailable, NoRoom
from catalog.names.escape import shown
from catalog.names.exhausted import refuse_exhausted

WRITER = ".writer"
DAEMON = ".daemon"
_POLL_SECONDS = 0.01
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class FileLock:
    """An exclusive lock on a file that is made when it is not there. Not reentrant; one holder a process."""

    def __init__(self, path: str, busy: str) -> None:
        self.path = path
        self._busy = busy
        self._descriptor: int | None = None

    def acquire(self, timeout: float) -> None:
        """Take the lock, waiting `timeout` seconds at most; raises CatalogLocked after that."""
        deadline = time.monotonic() + timeout
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        except OSError as error:
            refuse_exhausted(error)
            if error.errno in _NO_ROOM:
                raise NoRoom(
                    f"cannot write beside the catalog ({shown(self.path)}: {error.strerror}): see to its disk"
                ) from error
            raise CatalogUnavailable(
                f"cannot write beside the catalog ({shown(self.path)}: {error.strerror}): check the directory's rights"
            ) from error
        try:
            while not _try(descriptor):
                if time.monotonic() >= deadline:
                    raise CatalogLocked(self._busy)
                time.sleep(_POLL_SECONDS)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def publish(self, data: bytes) -> None:
        """Let the file say `data`; its holder may, and a reader takes what it finds. Where there is no room, it says nothing."""
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, len(data))
            os.pwrite(self._descriptor, data, 0)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise

    def share_as(self, path: str) -> None:
        """Let those read the file who may read the file at `path`, as far as we may say so: as SQLite does with its own."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                found = os.stat(path)
                os.fchmod(self._descriptor, 0o600 | (found.st_mode & 0o044))
                os.fchown(self._descriptor, -1, found.st_gid)

    def release(self) -> None:
        """Give the lock up; nothing happens where it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: str) -> bool:
    """Whether somebody holds the lock at `path`, without taking it for longer than the question."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
