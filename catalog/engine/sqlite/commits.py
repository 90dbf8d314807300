"""Detects commits to a catalog's file without reading its tables."""

from __future__ import annotations

import itertools
import sqlite3

from catalog.engine.sqlite.failures import DRIVER_ERRORS
from catalog.engine.sqlite.reader import SqliteReader
from catalog.errors import CatalogUnavailable

_numbers = itertools.count()


class Commits:
    """Detects whether the catalog at `path` has changed. Only the thread that created the object may use it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._reader: SqliteReader | None = None
        self._number = 0

    def state(self) -> tuple[int, int] | None:
        """Return a value that stays equal until somebody commits or the file is replaced; None if the catalog cannot be read.

        This takes a few microseconds: a stat, and a look at the shared memory of the WAL.
        """
        try:
            if self._reader is None:
                self._reader, self._number = SqliteReader(self._path), next(_numbers)
            self._reader.check_current()
            return self._number, self._reader.connection.execute("PRAGMA data_version").fetchone()[0]
        except (CatalogUnavailable, *DRIVER_ERRORS):
            self.close()
            return None

    def close(self) -> None:
        """Close the connection. `state` opens it again."""
        reader, self._reader = self._reader, None
        if reader is not None:
            try:
                reader.close()
            except sqlite3.Error:
                return
