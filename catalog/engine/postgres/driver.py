"""The driver for PostgreSQL, below SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.dialects import postgresql

from catalog.engine.driver import Cursor, raw_connection
from catalog.engine.host import this_host
from catalog.engine.postgres.connect import EDGES, EDGES_SHARED
from catalog.engine.postgres.placeholders import positional

_BLOCK = 500


class _Cursor:
    """psycopg's cursor with the interface of sqlite3's. It fetches all rows at once, so another statement may run between two rows."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount)

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Self:
        # Always with parameters, even if there are none: otherwise psycopg would not read %% as %.
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


class PostgresDriver:
    """The driver of a catalog on a server (catalog.engine.driver.Driver)."""

    is_shared = True
    flags: tuple[int, int] = (False, True)  # The server distinguishes booleans and numbers.

    def cursor(self, connection: Connection) -> Cursor:
        """See Driver."""
        return _Cursor(raw_connection(connection).cursor())

    def new_ids(self, cursor: Cursor, table: str) -> Iterator[int]:
        """See Driver. The ids come from the table's sequence."""
        size = 1  # Usually few ids are needed. Each block is a round trip, so blocks grow.
        while True:
            cursor.execute(f"SELECT nextval(pg_get_serial_sequence('{table}', 'id')) FROM generate_series(1, {size})")
            yield from [row[0] for row in cursor.fetchall()]
            size = min(size * 4, _BLOCK)

    def keep_edges(self, cursor: Cursor, *, still: bool) -> None:
        """See Driver."""
        cursor.execute(EDGES if still else EDGES_SHARED)

    def host_id(self, cursor: Cursor) -> int | None:
        """See Driver. Finds the host by its name."""
        row = cursor.execute("SELECT id FROM host WHERE name = ?", (this_host(),)).fetchone()
        return None if row is None else int(row[0])

    def dialect(self, connection: Connection) -> Dialect:  # noqa: ARG002 - the same for each
        """See Driver. The cursor needs positional parameters, which SQLAlchemy's dialect for psycopg does not use."""
        dialect: Dialect = postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
        return dialect

    def insert(self, table: Table) -> Any:
        """See Driver."""
        return postgresql.insert(table)


DRIVER = PostgresDriver()
