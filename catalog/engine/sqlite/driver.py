"""The driver for SQLite, below SQLAlchemy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.dialects import sqlite

from catalog.engine.driver import Cursor, raw_connection


class SqliteDriver:
    """The driver of a catalog in a file (catalog.engine.driver.Driver)."""

    is_shared = False
    flags: tuple[int, int] = (
        0,
        1,
    )  # sqlite3 searches for an adapter for each bool, which takes a third of a microsecond.

    def cursor(self, connection: Connection) -> Cursor:
        """See Driver."""
        cursor: Cursor = raw_connection(connection).cursor()
        return cursor

    def new_ids(self, cursor: Cursor, table: str) -> Iterator[int]:
        """See Driver. Only one process writes at a time, so new ids follow the largest one."""
        cursor.execute(f"SELECT coalesce(max(id), 0) FROM {table}")
        yield from itertools.count(cursor.fetchone()[0] + 1)

    def keep_edges(self, cursor: Cursor, *, still: bool) -> None:
        """Do nothing, because only one transaction writes at a time."""

    def host_id(self, cursor: Cursor) -> int | None:
        """See Driver. A file has only one host, even if the machine has been renamed."""
        row = cursor.execute("SELECT id FROM host ORDER BY id LIMIT 1").fetchone()
        return None if row is None else int(row[0])

    def dialect(self, connection: Connection) -> Dialect:
        """See Driver."""
        return connection.dialect

    def insert(self, table: Table) -> Any:
        """See Driver."""
        return sqlite.insert(table)


DRIVER = SqliteDriver()
