"""One interface to the layer below SQLAlchemy, for ingest: the driver's cursors, new ids, and other differences between the engines.

Bulk rows are written through the driver. Handwritten statements have `?` for their parameters; statements that SQLAlchemy compiled
have the driver's own placeholders. Each SQLAlchemy engine carries its Driver as the execution option OPTION, so code that has
a connection need not know which database it leads to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, Self, cast

from sqlalchemy import Connection, Dialect, Table

OPTION = "ocicat_driver"


class Cursor(Protocol):
    """The part of a driver's cursor that ocicat uses."""

    @property
    def rowcount(self) -> int:
        """The number of rows that the last statement changed."""

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Self:
        """Run a statement and return this cursor, from which its rows can be fetched."""

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Run a statement once for each set of parameters."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""

    def __iter__(self) -> Iterator[Any]: ...


class Driver(Protocol):
    """The differences between the engines.

    `is_shared` is true if several hosts may write the catalog at once. `flags` are the values that rows hold for False and True.
    """

    is_shared: bool
    flags: tuple[int, int]

    def cursor(self, connection: Connection) -> Cursor:
        """Return a cursor of the driver inside the connection's transaction."""

    def new_ids(self, cursor: Cursor, table: str) -> Iterator[int]:
        """Return an iterator that yields any number of new ids for rows of `table`."""

    def keep_edges(self, cursor: Cursor, *, still: bool) -> None:
        """See `keep_edges` below."""

    def host_id(self, cursor: Cursor) -> int | None:
        """Return the id of this host; None if it has none yet."""

    def dialect(self, connection: Connection) -> Dialect:
        """Return the dialect that compiles statements for the cursor."""

    def insert(self, table: Table) -> Any:
        """Return a SQLAlchemy INSERT that supports ON CONFLICT DO NOTHING."""


def driver_of(connection: Connection) -> Driver:
    """Return the driver of the connection's engine."""
    return cast("Driver", connection.get_execution_options()[OPTION])


def cursor_of(connection: Connection) -> Cursor:
    """Return a cursor of the driver inside the connection's transaction."""
    return driver_of(connection).cursor(connection)


def keep_edges(connection: Connection, *, still: bool) -> None:
    """Lock the edges between contents until the transaction ends: with `still` so that no other host changes them, else to change them.

    Without this lock, a host could find nothing more to read in a store just before another host writes that one of the store's blobs
    is a child of some content, and the first host would never read that blob. On SQLite only one transaction writes at a time.
    """
    driver = driver_of(connection)
    driver.keep_edges(driver.cursor(connection), still=still)


def new_ids(connection: Connection, table: str) -> Iterator[int]:
    """Return an iterator that yields any number of new ids for rows of `table`."""
    driver = driver_of(connection)
    return driver.new_ids(driver.cursor(connection), table)


def own_host_id(connection: Connection) -> int | None:
    """Return the id of this host; None if it has none yet."""
    driver = driver_of(connection)
    return driver.host_id(driver.cursor(connection))


def raw_connection(connection: Connection) -> Any:
    """Return the driver's own connection; raise RuntimeError if it is closed."""
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("the connection is closed")
    return driver
