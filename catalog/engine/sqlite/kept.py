"""A catalog's file that stays open between the questions of many clients, and answers each as if it had just been opened.

On an open connection, each statement sees everything that was committed before it. But SQLite does not detect that a file was
replaced or written in place, or that its -wal or -shm was removed. So each question first checks these files, and opens them again
if anything about them has changed.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from typing import Any

from catalog.engine.sqlite.failures import DRIVER_ERRORS, explain, find
from catalog.engine.sqlite.reader import SqliteReader
from catalog.errors import CatalogUnavailable

_BESIDE = ("-wal", "-shm", "-journal")

_Signature = tuple[tuple[int, ...] | None, ...]


class _Connection(sqlite3.Connection):
    """A connection that can end all of its statements, because an unfinished one would show the next question an old state."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: list[weakref.ref[sqlite3.Cursor]] = []

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        cursor = super().execute(*arguments)
        self._cursors.append(weakref.ref(cursor))
        return cursor

    def end_statements(self) -> None:
        for each in self._cursors:
            cursor = each()
            if cursor is not None:
                cursor.close()
        self._cursors.clear()


class _Reader(SqliteReader):
    """A reader that stays open when its borrower closes it."""

    factory = _Connection
    __slots__ = ()

    def close(self) -> None:
        """Do nothing, because `KeptSqlite.settle` ends the question."""

    def again(self) -> None:
        """Forget the last question, and check that this version can still read the catalog. Raises CatalogUnavailable."""
        self.past = None
        self.known = {}
        self._check_version()

    @property
    def is_to_be_kept(self) -> bool:
        """Whether the connection sees commits of others. It does not if the file was opened as one that never changes."""
        return not self._is_still


class KeptSqlite:
    """See Kept. The last component of the path is not a symbolic link."""

    variables = ""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: str | None = path
        self._reader: _Reader | None = None
        self._signature: _Signature = ()

    def lend(self) -> SqliteReader:
        """See Kept."""
        reader = self._reader
        now = self._current()
        if now is reader:
            now.again()
        return now

    def rows(self, statement: str, parameters: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """See Kept."""
        try:
            return self._current().connection.execute(statement, parameters).fetchall()
        except DRIVER_ERRORS as error:
            raise explain(error, self.path) from error

    def _current(self) -> _Reader:
        """Return a reader of the current files. Raises CatalogUnavailable."""
        now = _signature(self.path)
        reader = self._reader
        if reader is None or now != self._signature:
            self.drop()
            find(self.path)  # This refuses files that must not be opened, as every reader does.
            reader = _Reader(self.path)
            self._reader, self._signature = reader, now
        return reader

    def identity(self) -> tuple[int, int]:
        """See Kept."""
        found = self._signature[0] if self._signature else None
        return (found[0], found[1]) if found else (0, 0)

    def settle(self) -> None:
        """See Kept."""
        reader = self._reader
        if reader is None:
            return
        connection = reader.connection
        if isinstance(connection, _Connection):
            connection.end_statements()
        if connection.in_transaction or not reader.is_to_be_kept:
            self.drop()

    def look(self) -> None:
        """See Kept."""
        if self._reader is not None and _signature(self.path) != self._signature:
            self.drop()

    def drop(self) -> None:
        """See Kept."""
        reader, self._reader, self._signature = self._reader, None, ()
        if reader is not None:
            try:
                reader.connection.close()
            except sqlite3.Error as error:
                raise CatalogUnavailable(f"the catalog could not be closed ({error}): try again") from error


def _signature(path: str) -> _Signature:
    """Return a value that changes if the catalog's files are replaced, or written by anything but SQLite. Never raises."""
    main: tuple[int, ...] | None = None
    try:
        found = os.stat(path)
        main = (
            found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode, found.st_uid, found.st_gid,
        )  # fmt: skip
    except OSError:
        pass
    return (main, *(_beside(path + end) for end in _BESIDE))


def _beside(path: str) -> tuple[int, ...] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mode, found.st_uid, found.st_gid, found.st_nlink
