"""What lies below SQLAlchemy: the driver's own cursors, new ids and what else differs, behind one interface.

Bulk rows go through the driver. Statements written by hand have `?` for their parameters, those that SQLAlchemy compiled
have what the driver takes. Whoever makes an engine of SQLAlchemy's gives it a Driver as the execution option OPTION, so that
nobody who has a connection asks which database it leads to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, Self, cast

from sqlalchemy import Connection, Dialect, Table

OPTION = "ocicat_driver"


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


class Driver(Protocol):
    """What one engine does in its own way.

    `is_shared` is whether many hosts write the catalog at once. `flags` are False and True, as a row is to hold them.
    """

    is_shared: bool
    flags: tuple[int, int]

    def cursor(self, connection: Connection) -> Cursor:
        """A cursor of the driver inside the connection's transaction."""

    def new_ids(self, cursor: Cursor, table: str) -> Iterator[int]:
        """New ids for rows of `table`, as many as are asked for."""

    def keep_edges(self, cursor: Cursor, *, still: bool) -> None:
        """As `keep_edges` below."""

    def host_id(self, cursor: Cursor) -> int | None:
        """The id of this host; None if it has none yet."""

    def dialect(self, connection: Connection) -> Dialect:
        """The dialect that compiles statements to what the cursor takes."""

    def insert(self, table: Table) -> Any:
        """An INSERT of SQLAlchemy's that can be told to do nothing on a conflict."""


def driver_of(connection: Connection) -> Driver:
    """The driver of the engine that the connection leads to."""
    return cast("Driver", connection.get_execution_options()[OPTION])


def cursor_of(connection: Connection) -> Cursor:
    """A cursor of the driver inside the connection's transaction."""
    return driver_of(connection).cursor(connection)


def keep_edges(connection: Connection, *, still: bool) -> None:
    """Until the end of the transaction let no other host write what contents point to (`still`), or let none rely on it.

    A host that finds nothing more to read in a store, while another one is about to write that something is a child of its
    own, would never read it. On SQLite one transaction writes at a time.
    """
    driver = driver_of(connection)
    driver.keep_edges(driver.cursor(connection), still=still)


def new_ids(connection: Connection, table: str) -> Iterator[int]:
    """New ids for rows of `table`, as many as are asked for."""
    driver = driver_of(connection)
    return driver.new_ids(driver.cursor(connection), table)


def own_host_id(connection: Connection) -> int | None:
    """The id of this host; None if it has none yet."""
    driver = driver_of(connection)
    return driver.host_id(driver.cursor(connection))


def raw_connection(connection: Connection) -> Any:
    """The driver's own connection; raises RuntimeError if it is closed."""
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("the connection is closed")
    return driver
