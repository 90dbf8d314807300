"""What went wrong with the catalog's file, as an error of ours that says what to do. On the way of every answer."""

from __future__ import annotations

import os
import sqlite3
import stat

from catalog.engine.neighbours import refuse_strange
from catalog.errors import CatalogLocked, CatalogMissing, CatalogUnavailable, NoRoom
from catalog.names.escape import shown


def find(path: str) -> os.stat_result:
    """The stat of the catalog's file. Raise CatalogMissing if nothing is at `path`, and CatalogUnavailable if that cannot be told, or if it, or a file that
    SQLite would open beside it, is nothing that may be opened.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CatalogMissing(f"there is no catalog at {shown(path)}: 'ocicat add PATH' makes one") from error
    except OSError as error:
        raise CatalogUnavailable(
            f"cannot look at {shown(path)} ({error.strerror}): check the rights of its directory"
        ) from error
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # of a directory SQLite's error tells
        raise CatalogUnavailable(f"{shown(path)} is no regular file: give the path of the catalog's file with --db")
    refuse_strange(path, found)
    return found


DRIVER_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises for a catalog that cannot be used. It decodes SQLite's messages as UTF-8, and a message about a damaged
schema quotes bytes that are none."""


def explain(error: sqlite3.Error | UnicodeDecodeError, path: str) -> CatalogUnavailable:
    """The error of ours for what SQLite said about the catalog at `path`."""
    where = shown(path)
    if os.path.isdir(path):
        return CatalogUnavailable(f"{where} is a directory: give the path of the catalog's file with --db")
    extended = getattr(error, "sqlite_errorcode", None) or 0
    if isinstance(error, UnicodeDecodeError):
        extended = sqlite3.SQLITE_CORRUPT
    code = extended & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return CatalogLocked(f"{where} is locked by another process: try again")
    if code == sqlite3.SQLITE_FULL:
        return NoRoom(f"no room to write {where}: free some space on its disk, nothing was lost")
    if code == sqlite3.SQLITE_IOERR:
        return NoRoom(f"the disk of {where} does not do as it is told ({error}): see whether it is full or failing")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM):
        out_of = _out_of(code)
        if out_of is not None:
            return out_of
    if extended == sqlite3.SQLITE_READONLY_DBMOVED:
        return gone(path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CatalogUnavailable(
            f"{where} is damaged or no catalog ({error}): move it away and run 'ocicat add' again; the layouts have it all"
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH):
        return CatalogUnavailable(
            f"no permission to use {where} ({error}): check the rights of the file and of its directory"
        )
    return CatalogUnavailable(f"{where} cannot be used ({error}): 'ocicat db check' looks for damage")


def gone(path: str) -> CatalogUnavailable:
    """The error for a catalog whose file is another one than was opened."""
    return CatalogUnavailable(
        f"{shown(path)} was deleted or replaced while it was open: start again, on what is there now"
    )


def _out_of(code: int) -> CatalogUnavailable | None:
    """What this process has run out of, where that is why SQLite could not go on; SQLite does not say so itself."""
    import errno

    from catalog.exhausted import exhausted

    if code == sqlite3.SQLITE_NOMEM:
        return exhausted(errno.ENOMEM)
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return exhausted(error.errno)
    return None
