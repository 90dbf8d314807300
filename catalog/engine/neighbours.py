"""The files beside a catalog, which may lie in a directory that others can write: which of them may be opened at all.

Whoever can write the directory can put anything where a lock, a WAL or the daemon's state is expected: a FIFO that blocks
who opens it, a link, a device, or a file of their own that SQLite would take for its journal. Such a file is refused, with
a message that names it; it is never opened, followed or written. On the way of every answer: imports nothing but `os`.
"""

from __future__ import annotations

import os
import stat

from catalog.errors import CatalogUnavailable
from catalog.names.escape import shown

SQLITE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite opens beside a database: it reads them all, and writes them."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def why_strange(found: os.stat_result, catalog: os.stat_result | None) -> str | None:
    """Why a file beside `catalog` is not to be touched, as the end of a sentence; None for a file that is one of ours.

    One of ours is a regular file of the catalog's owner, of this user, or of root. Where a group may write the catalog, the
    files of its members have that group. `catalog` is None where there is no such file, since it is on a server.
    """
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    if found.st_uid in (0, os.geteuid()) or (catalog is not None and found.st_uid == catalog.st_uid):
        return None
    if catalog is not None and catalog.st_mode & stat.S_IWGRP and found.st_gid == catalog.st_gid:
        return None
    return "belongs to somebody else"


def strange(path: str, why: str) -> CatalogUnavailable:
    """The error for a file at `path` that is not to be touched."""
    return CatalogUnavailable(
        f"{shown(path)} {why}: it is not touched; remove it, and let nobody else write the directory of the catalog"
    )


def refuse_strange(path: str, catalog: os.stat_result) -> None:
    """Raise CatalogUnavailable if a file that SQLite would open beside the catalog at `path` may be somebody else's."""
    for end in SQLITE_FILES:
        try:
            found = os.lstat(path + end)
        except OSError:
            continue
        why = why_strange(found, catalog)
        if why is None and found.st_nlink > 1 and _others_write(path):
            why = "has a second name elsewhere"
        if why is not None:
            raise strange(path + end, why)


def open_beside(path: str, flags: int, catalog: os.stat_result | None) -> tuple[int, os.stat_result]:
    """A descriptor of the file at `path`, and its stat; it is opened without blocking and without following a link.

    A file that this creates is readable by its owner only. Raises OSError, and CatalogUnavailable if `why_strange` refuses it.
    """
    # Looked at first: merely to open a device can do something.
    try:
        why = why_strange(os.lstat(path), catalog)
    except FileNotFoundError:
        why = None
    if why is not None:
        raise strange(path, why)
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(descriptor)
        why = why_strange(found, catalog)
        if why is not None:
            raise strange(path, why)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, found


def stat_or_none(path: str) -> os.stat_result | None:
    """The stat of `path`, following links; None if there is none."""
    try:
        return os.stat(path)
    except OSError:
        return None


def _others_write(path: str) -> bool:
    found = stat_or_none(os.path.dirname(path) or ".")
    return found is not None and bool(found.st_mode & _OTHERS_WRITE)
