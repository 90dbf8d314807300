"""What lies below SQLAlchemy: the driver's own cursors, and new ids, alike on both engines.

Bulk rows go through the driver. Statements written by hand have `?` for their parameters, those that
SQLAlchemy compiled have what the driver takes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, Self

from sqlalchemy import Connection

from catalog.db.placeholders import positional
from catalog.db.postgres import EDGES, EDGES_SHARED

_BLOCK = 500


class Cursor(Protocol):
    """The part of a driver's cursor that is used."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Self:
        """Run a statement; the cursor has its rows."""

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Run a statement once for each."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """The rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class _Postgres:
    """psycopg's cursor as sqlite3's is used. Rows are all fetched at once, so that another statement may run between two."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount)

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Self:
        # With parameters always, though there be none: only so does psycopg read %% as one.
        self._cursor.execute(positional(statement) if "?" in statement else statement, parameters)
        return self

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> None:
        rows = list(parameters)
        if rows:
            self._cursor.executemany(positional(statement) if "?" in statement else statement, rows)

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        found: list[Any] = self._cursor.fetchall()
        return found

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor.fetchall())


def is_postgres(connection: Connection) -> bool:
    """Whether the catalog is on PostgreSQL."""
    return connection.dialect.name == "postgresql"


def cursor_of(connection: Connection) -> Cursor:
    """A cursor of the driver inside the connection's transaction."""
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("the connection is closed")
    cursor: Cursor = driver.cursor() if not is_postgres(connection) else _Postgres(driver.cursor())
    return cursor


def keep_edges(connection: Connection, *, still: bool) -> None:
    """Until the end of the transaction let no other host write what contents point to (`still`), or let none rely on it.

    A host that finds nothing more to read in a store, while another one is about to write that something is a child of its
    own, would never read it. On SQLite one transaction writes at a time.
    """
    if is_postgres(connection):
        cursor_of(connection).execute(EDGES if still else EDGES_SHARED)


def new_ids(connection: Connection, table: str) -> Iterator[int]:
    """New ids for rows of `table`, as many as are asked for.

    On SQLite one process writes at a time, so they follow the greatest; elsewhere they come from the table's sequence.
    """
    cursor = cursor_of(connection)
    if not is_postgres(connection):
        cursor.execute(f"SELECT coalesce(max(id), 0) FROM {table}")
        yield from itertools.count(cursor.fetchone()[0] + 1)
    size = 1  # few rows are the rule, and each is a round trip; many come in bulk
    while True:
        cursor.execute(f"SELECT nextval(pg_get_serial_sequence('{table}', 'id')) FROM generate_series(1, {size})")
        yield from [row[0] for row in cursor.fetchall()]
        size = min(size * 4, _BLOCK)
