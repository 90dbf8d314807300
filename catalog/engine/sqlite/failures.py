"""Turns errors about the catalog's file into ocicat's errors, with a message that says what to do. Every answer loads this module."""

from __future__ import annotations

import os
import sqlite3
import stat

from catalog.engine.neighbours import refuse_strange
from catalog.errors import CatalogLocked, CatalogMissing, CatalogUnavailable, NoRoom
from catalog.names.escape import shown


def find(path: str) -> os.stat_result:
    """Return the stat of the catalog's file.

    Raises CatalogMissing if there is no file at `path`. Raises CatalogUnavailable if its status cannot be read, or if it, or a
    file that SQLite would open beside it, must not be opened.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CatalogMissing(f"there is no catalog at {shown(path)}: 'ocicat add PATH' creates one") from error
    except PermissionError as error:
        from catalog.engine.access import how_to_read

        raise CatalogUnavailable(f"no permission to read {shown(path)}: {how_to_read(path)}") from error
    except OSError as error:
        raise CatalogUnavailable(
            f"cannot read the file status of {shown(path)} ({error.strerror}): check the permissions of its directory"
        ) from error
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # For a directory, see `explain`.
        raise CatalogUnavailable(f"{shown(path)} is not a regular file: give the path of the catalog's file with --db")
    refuse_strange(path, found)
    return found


DRIVER_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""The exceptions that sqlite3 raises for a catalog that cannot be used. It decodes SQLite's messages as UTF-8, but a message about a
damaged schema may quote other bytes."""


def explain(error: sqlite3.Error | UnicodeDecodeError, path: str) -> CatalogUnavailable:
    """Return ocicat's error for an error of SQLite about the catalog at `path`."""
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
    cannot_open = code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
    if cannot_open and os.access(path, os.R_OK) and not _has_temporary_directory():
        return NoRoom(
            f"no directory for temporary files, which {where} needs for large sorts: make /var/tmp or /tmp writable, "
            "or set SQLITE_TMPDIR to a directory that you may write"
        )
    if code == sqlite3.SQLITE_IOERR:
        return NoRoom(f"reading or writing {where} failed ({error}): check whether its disk is full or failing")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM):
        out_of = _out_of(code)
        if out_of is not None:
            return out_of
    if extended == sqlite3.SQLITE_READONLY_DBMOVED:
        return gone(path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CatalogUnavailable(
            f"{where} is damaged or not a catalog ({error}): move it away and run 'ocicat add' again; the layouts contain everything"
        )
    if not os.access(path, os.R_OK):
        from catalog.engine.access import how_to_read

        return CatalogUnavailable(f"no permission to read {where}: {how_to_read(path)}")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH):
        return CatalogUnavailable(
            f"no permission to use {where} ({error}): check the permissions of the file and its directory"
        )
    return CatalogUnavailable(f"{where} cannot be used ({error}): 'ocicat db check' looks for damage")


def _has_temporary_directory() -> bool:
    """Return whether SQLite finds a directory for its temporary files (sqlite.org/tempfiles.html, section 5)."""
    usual = ("/var/tmp", "/usr/tmp", "/tmp")  # noqa: S108 - nothing is made there
    places = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), *usual)
    return any(each and os.path.isdir(each) and os.access(each, os.W_OK | os.X_OK) for each in places)


def gone(path: str) -> CatalogUnavailable:
    """Return the error for a catalog whose file is no longer the one that was opened."""
    return CatalogUnavailable(f"{shown(path)} was deleted or replaced while it was open: run the command again")


def _out_of(code: int) -> CatalogUnavailable | None:
    """Return the error for the resource that this process has run out of, or None if SQLite failed for another reason.

    SQLite itself does not report this.
    """
    import errno

    from catalog.exhausted import exhausted

    if code == sqlite3.SQLITE_NOMEM:
        return exhausted(errno.ENOMEM)
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return exhausted(error.errno)
    return None
