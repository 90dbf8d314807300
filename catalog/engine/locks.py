"""The locks beside a catalog.

`<catalog>.writer-lock` is held by whoever writes, through commit, checkpoint and close. `<catalog>.daemon-lock` is held while a
daemon lives, and `<catalog>.daemon` is the file in which the daemon says how it is.

A user who may only read the catalog must not be able to hold up who writes it, and flock asks for no more than a descriptor
that reads. So a lock file can be opened by those alone who may write the catalog. The daemon's state has to be readable. It is
a new file for each daemon, locked before anybody else can open it, and whether it is locked is asked without taking a lock.

They are record locks that belong to an open file (F_OFD_SETLK): to hold one for writing takes a descriptor that writes, and
the kernel drops them with their holder, so a killed process never leaves one behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
import time
from typing import NoReturn

from catalog.engine.neighbours import open_beside, stat_or_none
from catalog.errors import CatalogLocked, CatalogUnavailable, NoRoom
from catalog.exhausted import refuse_exhausted
from catalog.names.escape import shown

LOCK_SECONDS = 30.0
"""How long a writer waits for another one before it ends with status 4."""
WRITER = ".writer-lock"
DAEMON = ".daemon"
"""The file that says how the daemon is."""
DAEMON_LOCK = ".daemon-lock"
OLD_WRITER = ".writer"
"""The lock of ocicat 0.1, by flock."""
_OLD_SECONDS = 5.0
_POLL_SECONDS = 0.01
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_ENDS = (WRITER, DAEMON, DAEMON_LOCK, OLD_WRITER)
_FLOCK = "hhqqi0q"  # struct flock: type, whence, start, length, pid; its size is a multiple of that of a long


class FileLock:
    """An exclusive lock on a file that is made when it is not there. Not reentrant; one holder a process.

    Only those can open the file who may write the catalog that it stands beside.
    """

    def __init__(self, path: str, busy: str) -> None:
        self.path = path
        self._busy = busy
        self._descriptor: int | None = None

    def acquire(self, timeout: float) -> None:
        """Take the lock, waiting `timeout` seconds at most; raises CatalogLocked after that."""
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
            os.close(descriptor)  # it was removed meanwhile, and others lock another file
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock up; nothing happens where it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self, catalog: os.stat_result | None) -> int:
        if catalog is not None and not os.access(_without_end(self.path), os.W_OK, effective_ids=True):
            # Its lock would stand in the way of those who may write.
            raise CatalogUnavailable(
                f"cannot write {shown(_without_end(self.path))} (Permission denied): check the rights of the file"
            )
        try:
            descriptor, found = open_beside(self.path, os.O_RDWR | os.O_CREAT, catalog)
        except OSError as error:
            _explain(self.path, error)
        with contextlib.suppress(OSError):  # it is another writer's, who has seen to it
            _let_writers_open(descriptor, found, catalog)
        return descriptor


class StateFile:
    """A file that is locked for as long as it is open, and that everybody may read who may read the catalog."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = None

    def open(self) -> None:
        """Put a new and empty file in the place of the one that is there; raises CatalogUnavailable."""
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
        """Let the file say `data`, and a reader takes what it finds. Without room on the disk, it says nothing."""
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
                os.fchown(self._descriptor, found.st_uid if os.geteuid() == 0 else -1, found.st_gid)

    def close(self) -> None:
        """Empty the file and let it go; nothing happens where it is not open."""
        if self._descriptor is not None:
            try:
                self.publish(b"")
            finally:
                os.close(self._descriptor)
                self._descriptor = None


def is_held(path: str) -> bool:
    """Whether somebody who may write the file at `path` holds it locked. Takes no lock, and never waits."""
    try:
        descriptor, _ = open_beside(path, os.O_RDONLY, _catalog_of(path))
    except (OSError, CatalogUnavailable):
        return False
    try:
        return _is_locked(descriptor)
    finally:
        os.close(descriptor)


def read_held(path: str, limit: int) -> bytes | None:
    """The first `limit` bytes of the file at `path` if somebody holds it locked who may write it, else None."""
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
    """Remove the lock of ocicat 0.1 beside `catalog`, which everybody could take who may read it.

    A writer of that version is waited for, but no longer than for a lock of SQLite's: it may as well be a reader who holds it.
    """
    path = catalog + OLD_WRITER
    if not os.path.lexists(path):
        return
    try:
        descriptor, _ = open_beside(path, os.O_RDWR, stat_or_none(catalog))
    except (OSError, CatalogUnavailable):
        return  # what somebody else has put there is nobody's lock
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
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as POSIX has it
        return False
    return True


def _is_locked(descriptor: int) -> bool:
    """Whether a lock is held that keeps out even readers: that takes a descriptor that writes."""
    asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    return bool(struct.unpack_from("h", fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)


def _is_at(path: str, descriptor: int) -> bool:
    """Whether the open file is still the one at `path`."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    return False


def _let_writers_open(descriptor: int, found: os.stat_result, catalog: os.stat_result | None) -> None:
    """Let nobody open the lock but those who may write the catalog."""
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
        raise NoRoom(f"cannot write beside the catalog ({shown(path)}: {error.strerror}): see to its disk") from error
    raise CatalogUnavailable(
        f"cannot write beside the catalog ({shown(path)}: {error.strerror}): check the directory's rights"
    ) from error


def _without_end(path: str) -> str:
    return next((path.removesuffix(end) for end in _ENDS if path.endswith(end)), path)


def _catalog_of(path: str) -> os.stat_result | None:
    """The stat of the catalog's file that a lock stands beside, None where it is on a server, or not there yet."""
    catalog = _without_end(path)
    return None if catalog == path else stat_or_none(catalog)
