"""What went wrong with the catalog's file, as an error of ours that says what to do. On the way of every answer."""

from __future__ import annotations

import os
import sqlite3

from catalog.errors import CatalogLocked, CatalogMissing, CatalogUnavailable
from catalog.names.escape import shown


def find(path: str) -> None:
    """Raise CatalogMissing where nothing is at `path`, CatalogUnavailable where that cannot be told."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CatalogMissing(f"there is no catalog at {shown(path)}: 'ocicat add PATH' makes one") from error
    except OSError as error:
        raise CatalogUnavailable(
            f"cannot look at {shown(path)} ({error.strerror}): check the rights of its directory"
        ) from error


def explain(error: sqlite3.Error, path: str) -> CatalogUnavailable:
    """The error of ours for what SQLite said about the catalog at `path`."""
    where = shown(path)
    if os.path.isdir(path):
        return CatalogUnavailable(f"{where} is a directory: give the path of the catalog's file with --db")
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return CatalogLocked(f"{where} is locked by another process: try again")
    if code == sqlite3.SQLITE_FULL:
        return CatalogUnavailable(f"no room to write {where}: free some space on its disk, nothing was lost")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CatalogUnavailable(
            f"{where} is damaged or no catalog ({error}): move it away and run 'ocicat add' again; the layouts have it all"
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH):
        return CatalogUnavailable(
            f"no permission to use {where} ({error}): check the rights of the file and of its directory"
        )
    return CatalogUnavailable(f"{where} cannot be used ({error}): 'ocicat db check' looks for damage")
