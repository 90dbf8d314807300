"""Checks the files beside a catalog before they are opened, because other users may be able to write its directory.

A user who can write the directory can replace a lock, a WAL or the daemon's state with anything: a FIFO that blocks the process
that opens it, a link, a device, or a file that SQLite would take for its journal. Such a file is refused with a message that
names it. It is never opened, followed or written. Every answer loads this module, so it imports only `os` and `stat`.
"""

from __future__ import annotations

import os
import stat

from catalog.errors import CatalogUnavailable
from catalog.names.escape import shown

SQLITE_FILES = ("-wal", "-shm", "-journal")
"""The endings of the files that SQLite opens, reads and writes beside a database."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def why_strange(found: os.stat_result, catalog: os.stat_result | None) -> str | None:
    """Return why a file beside `catalog` must not be touched, as the end of a sentence; None if it may be used.

    A file may be used if it is a regular file and belongs to the owner of the catalog, to this user or to root, or to the catalog's
    group if that group may write the catalog. `catalog` is None if the catalog is on a server.
    """
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if found.st_uid in (0, os.geteuid()) or (catalog is not None and found.st_uid == catalog.st_uid):
        return None
    if catalog is not None and catalog.st_mode & stat.S_IWGRP and found.st_gid == catalog.st_gid:
        return None
    return "belongs to somebody else"


def strange(path: str, why: str) -> CatalogUnavailable:
    """Return the error for a file at `path` that must not be touched; `why` is what `why_strange` returned."""
    return CatalogUnavailable(
        f"{shown(path)} {why}, so it is not used: remove it, and let nobody else write the directory of the catalog"
    )


def refuse_strange(path: str, catalog: os.stat_result) -> None:
    """Raise CatalogUnavailable if a file that SQLite would open beside the catalog at `path` must not be touched.

    A file with another hard link is refused, too, if other users may write the directory: it may belong to somebody else.
    """
    for end in SQLITE_FILES:
        try:
            found = os.lstat(path + end)
        except OSError:
            continue
        why = why_strange(found, catalog)
        if why is None and found.st_nlink > 1 and _others_write(path):
            why = "has another hard link"
        if why is not None:
            raise strange(path + end, why)


def open_beside(path: str, flags: int, catalog: os.stat_result | None) -> tuple[int, os.stat_result]:
    """Open the file at `path` without blocking or following a link; return its descriptor and stat.

    A new file is readable only by its owner. Raises OSError, and CatalogUnavailable if `why_strange` refuses the file.
    """
    # Look first, because merely opening a device can have an effect.
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
    """Return the stat of `path`, following links; None if that fails."""
    try:
        return os.stat(path)
    except OSError:
        return None


def _others_write(path: str) -> bool:
    found = stat_or_none(os.path.dirname(path) or ".")
    return found is not None and bool(found.st_mode & _OTHERS_WRITE)
