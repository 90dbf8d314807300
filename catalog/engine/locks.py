"""The locks beside a catalog.

A process that writes holds `<catalog>.writer-lock` through commit, checkpoint and close. A running daemon holds
`<catalog>.daemon-lock`, and publishes its state in the file `<catalog>.daemon`.

A user who may only read the catalog must not be able to block its writers, and flock works with a read-only descriptor. So only
users who may write the catalog can open a lock file. The daemon's state file has to be readable. Each daemon creates a new one and
locks it before anybody else can open it, and checking its lock takes no lock.

All of these are record locks that belong to an open file (F_OFD_SETLK). An exclusive lock needs a writable descriptor. The kernel
releases the locks of a process that ends, so a killed process leaves none behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
import time

from catalog.engine.neighbours import open_beside, stat_or_none
from catalog.errors import CatalogLocked, CatalogUnavailable, NoRoom
from catalog.exhausted import refuse_exhausted
from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

LOCK_SECONDS = 30.0
"""How long a writer waits for another writer before it gives up with exit status 4."""
WRITER = ".writer-lock"
DAEMON = ".daemon"
"""The file with the state of the daemon."""
DAEMON_LOCK = ".daemon-lock"
OLD_WRITER = ".writer"
"""The lock of ocicat 0.1, which used flock."""
_OLD_SECONDS = 5.0
_POLL_SECONDS = 0.01
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_ENDS = (WRITER, DAEMON, DAEMON_LOCK, OLD_WRITER)
_FLOCK = "hhqqi0q"  # struct flock: type, whence, start, length, pid; padded to a multiple of the size of a long


class FileLock:
    """An exclusive lock on a file, which is created if needed. It is not reentrant, and excludes other locks of the same process too.

    Only users who may write the catalog beside it can open the file. `busy` is the message if somebody else holds the lock.
    """

    def __init__(self, path: str, busy: str) -> None:
        self.path = path
        self._busy = busy
        self._descriptor: int | None = None

    def acquire(self, timeout: float) -> None:
        """Take the lock; wait for at most `timeout` seconds, then raise CatalogLocked.

        Raises CatalogUnavailable or NoRoom if the file cannot be opened.
        """
        deadline = time.monotonic() + timeout
        catalog = _catalog_of(self.path)
        while True:
            descriptor = self._open(catalog)
            try:
                while not _try(descriptor):
                    if time.monotonic() >= deadline:
                        raise CatalogLocked(self._busy)
                    time.sleep(_POLL_SECONDS)
                if _is_at(self.path, descriptor):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # The file was removed meanwhile, and others lock a new one.
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock; do nothing if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self, catalog: os.stat_result | None) -> int:
        if catalog is not None and not os.access(_without_end(self.path), os.W_OK, effective_ids=True):
            from catalog.engine.access import not_written

            raise not_written(_without_end(self.path))  # Holding the lock would block those who may write.
        try:
            descriptor, found = open_beside(self.path, os.O_RDWR | os.O_CREAT, catalog)
        except OSError as error:
            _explain(self.path, error)
        with contextlib.suppress(OSError):  # The file belongs to another writer, who has set its mode.
            _let_writers_open(descriptor, found, catalog)
        return descriptor


class StateFile:
    """A file that is locked while it is open, and readable by everybody who may read the catalog."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = None

    def open(self) -> None:
        """Replace the file with a new, empty one; raise CatalogUnavailable if that fails."""
        new = f"{self.path}.{os.urandom(8).hex()}"
        try:
            descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _try(descriptor)
                os.replace(new, self.path)
            except BaseException:
                os.close(descriptor)
                os.unlink(new)
                raise
        except OSError as error:
            _explain(self.path, error)
        self._descriptor = descriptor

    def publish(self, data: bytes) -> None:
        """Write `data` into the file. If the disk is full or failing, the data may be missing, and nothing is raised."""
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, len(data))
            os.pwrite(self._descriptor, data, 0)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise

    def share_as(self, path: str) -> None:
        """Give the file the read permissions of the file at `path`, as SQLite does with its files. Does nothing if this process may not."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                found = os.stat(path)
                os.fchmod(self._descriptor, 0o600 | (found.st_mode & 0o044))
                os.fchown(self._descriptor, found.st_uid if os.geteuid() == 0 else -1, found.st_gid)

    def close(self) -> None:
        """Empty the file and close it; do nothing if it is not open."""
        if self._descriptor is not None:
            try:
                self.publish(b"")
            finally:
                os.close(self._descriptor)
                self._descriptor = None


def is_held(path: str) -> bool:
    """Return whether a process that may write the file at `path` holds its lock. Takes no lock, and never waits."""
    try:
        descriptor, _ = open_beside(path, os.O_RDONLY, _catalog_of(path))
    except (OSError, CatalogUnavailable):
        return False
    try:
        return _is_locked(descriptor)
    finally:
        os.close(descriptor)


def read_held(path: str, limit: int) -> bytes | None:
    """Return the first `limit` bytes of the file at `path` if a process that may write it holds its lock, else None.

    The bytes are empty if the file cannot be read.
    """
    try:
        descriptor, _ = open_beside(path, os.O_RDONLY, _catalog_of(path))
    except (OSError, CatalogUnavailable):
        return None
    try:
        return os.pread(descriptor, limit, 0) if _is_locked(descriptor) else None
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def retire_old_lock(catalog: str) -> None:
    """Remove the lock of ocicat 0.1 beside `catalog`, which everybody who may read the file could take.

    Waits for a writer of that version, but no longer than for a lock of SQLite, because a process that only reads may hold the lock.
    """
    path = catalog + OLD_WRITER
    if not os.path.lexists(path):
        return
    try:
        descriptor, _ = open_beside(path, os.O_RDWR, stat_or_none(catalog))
    except (OSError, CatalogUnavailable):
        return  # It belongs to somebody else, so it is not a lock of ocicat.
    deadline = time.monotonic() + _OLD_SECONDS
    try:
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_POLL_SECONDS)
        with contextlib.suppress(OSError):
            os.unlink(path)
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, according to POSIX
        return False
    return True


def _is_locked(descriptor: int) -> bool:
    """Return whether a process holds an exclusive lock. To take one, it needs a writable descriptor."""
    asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    return bool(struct.unpack_from("h", fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)


def _is_at(path: str, descriptor: int) -> bool:
    """Return whether the open file is still the one at `path`."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    return False


def _let_writers_open(descriptor: int, found: os.stat_result, catalog: os.stat_result | None) -> None:
    """Set the mode and owner of a lock file, so that only users who may write the catalog can open it."""
    mode, may_write = 0o600, 0 if catalog is None else catalog.st_mode
    if may_write & stat.S_IWGRP:
        mode |= 0o060
    if may_write & stat.S_IWOTH:
        mode |= 0o006
    if stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(descriptor, mode)
    if catalog is None:
        return
    owner = catalog.st_uid if os.geteuid() == 0 else found.st_uid
    group = catalog.st_gid if mode & 0o060 else found.st_gid
    if (owner, group) != (found.st_uid, found.st_gid):
        os.fchown(descriptor, owner, group)


def _explain(path: str, error: OSError) -> NoReturn:
    refuse_exhausted(error)
    if error.errno in _NO_ROOM:
        raise NoRoom(f"cannot write beside the catalog ({shown(path)}: {error.strerror}): check its disk") from error
    raise CatalogUnavailable(
        f"cannot write beside the catalog ({shown(path)}: {error.strerror}): check the permissions of the directory"
    ) from error


def _without_end(path: str) -> str:
    return next((path.removesuffix(end) for end in _ENDS if path.endswith(end)), path)


def _catalog_of(path: str) -> os.stat_result | None:
    """Return the stat of the catalog's file beside a lock; None if the catalog is on a server or does not exist yet."""
    catalog = _without_end(path)
    return None if catalog == path else stat_or_none(catalog)
