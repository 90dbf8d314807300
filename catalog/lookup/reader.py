"""The catalog opened for reading: the standard library's sqlite3, read-only, nothing else."""

from __future__ import annotations

import sqlite3

from catalog.db.failures import DRIVER_ERRORS, explain, find, gone
from catalog.db.location import is_url, sqlite_uri
from catalog.errors import CatalogMissing, CatalogUnavailable, CatalogVersion, UnknownStore
from catalog.lookup import frozen
from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Self

    from catalog.lookup.moments import Past

_STORES_OF_HOST = "SELECT store.id FROM store JOIN host ON host.id = store.host_id WHERE host.name = :name"
_BUSY_SECONDS = 5.0
_POLL_SECONDS = 0.02


def open_reader(where: str) -> Reader:
    """The catalog at a path or a URL, opened for reading; raises CatalogUnavailable and its kinds."""
    if is_url(where):
        from catalog.lookup.postgres import PostgresReader

        return PostgresReader(where)
    return Reader(where)


class Reader:
    """A read-only connection to the catalog at `path`; raises CatalogUnavailable and its kinds."""

    __slots__ = ("_file", "_version", "connection", "known", "past", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.past: Past | None = None
        self.known: dict[object, Any] = {}  # what the question at hand has found out (catalog.lookup.below)
        self._file = find(path)
        try:
            self.connection = sqlite3.connect(
                sqlite_uri(path, "ro"), uri=True, isolation_level=None, timeout=_BUSY_SECONDS
            )
        except DRIVER_ERRORS as error:
            raise explain(error, path) from error
        try:
            self._check_version()
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def check_current(self) -> None:
        """Raise CatalogUnavailable if the catalog's file was deleted, or replaced by another, since it was opened."""
        import os

        try:
            if os.path.samestat(os.stat(self.path), self._file):
                return
        except OSError:
            pass
        raise gone(self.path)

    def at(self, milliseconds: int) -> Self:
        """A reader over the same connection that asks what was at a time (since 1970, UTC); raises CatalogUnavailable."""
        import copy

        from catalog.lookup.moments import past_of

        then = copy.copy(self)
        then.past = past_of(self, milliseconds)
        return then

    def rows(self, statement: str, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement, as they come; raises CatalogUnavailable."""
        if self.past is not None and self.past.numbers is not None:
            statement = self._then(statement, parameters)
            parameters = {**parameters, "moment": self.past.number}
        try:
            for row in self.connection.execute(statement, parameters):  # noqa: UP028
                yield row  # `yield from` would close the cursor when nobody asks on, perhaps after its connection
        except DRIVER_ERRORS as error:
            raise explain(error, self.path) from error

    def row(self, statement: str, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """The first row of a statement, or None; raises CatalogUnavailable."""
        if self.past is not None and self.past.numbers is not None:
            statement = self._then(statement, parameters)
            parameters = {**parameters, "moment": self.past.number}
        try:
            found: tuple[Any, ...] | None = self.connection.execute(statement, parameters).fetchone()
        except DRIVER_ERRORS as error:
            raise explain(error, self.path) from error
        return found

    def host_of(self, store_id: int) -> str | None:  # noqa: ARG002 - a file is one machine's
        """The host that a store belongs to, None where that is this one."""
        return None

    def copies(self) -> frozenset[int]:
        """The stores, at this moment, whose layouts are seen by another host too, which is the one to ask about them."""
        return frozenset()

    def ids_of_host(self, name: str) -> frozenset[int]:
        """The ids of the stores of a host; raises UnknownStore for one that there is not."""
        if self.row("SELECT 1 FROM host WHERE name = :name", {"name": name}) is None:
            raise UnknownStore(
                f"no host is called {shown(name)}: 'ocicat stores --format json' says whose each store is"
            )
        return frozenset(row[0] for row in self.rows(_STORES_OF_HOST, {"name": name}))

    @staticmethod
    def _then(statement: str, parameters: Mapping[str, object]) -> str:
        from catalog.lookup.moments import of_past

        return of_past(statement, frozenset(parameters))

    def listen(self) -> None:
        """Begin to notice what others commit."""
        self._version = self.row("PRAGMA data_version", {})

    def wait_for_change(self, seconds: float) -> None:
        """Wait until somebody has committed since `listen` or the last call, `seconds` at most; raises as `check_current`."""
        import time

        deadline = time.monotonic() + seconds
        while (now := self.row("PRAGMA data_version", {})) == self._version:
            self.check_current()
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(_POLL_SECONDS, left))
        self._version = now

    def limit(self, seconds: float) -> None:
        """Have a server end each statement of this connection after so many seconds, whatever becomes of this process."""

    def cancel(self) -> None:
        """End what a server does for this connection; a thread of its own calls it, and the process ends then."""

    def size_bytes(self) -> int:
        """What the catalog takes on its disk."""
        import os

        files = [self.path + end for end in ("", "-wal")]
        return sum(os.path.getsize(file) for file in files if os.path.exists(file))

    def views(self) -> list[str]:
        """The statements that made the public views, with their documentation, by name."""
        return [row[0] for row in self.rows("SELECT sql FROM sqlite_master WHERE type = 'view' ORDER BY name", {})]

    def damage(self) -> list[str]:
        """What is wrong with the database, a line each; goes through all of it."""
        found = [str(row[0]) for row in self.rows("PRAGMA integrity_check", {})]
        broken = self.rows("PRAGMA foreign_key_check", {})
        return ([] if found == ["ok"] else found) + [f"row {row[1]} of {row[0]} lacks its {row[2]}" for row in broken]

    def _check_version(self) -> None:
        try:
            row = self.connection.execute(frozen.SCHEMA_VERSION).fetchone()
        except sqlite3.OperationalError as error:
            if not str(error).startswith("no such "):
                raise explain(error, self.path) from error
            if not self.row("SELECT 1 FROM sqlite_master", {}):
                raise CatalogMissing(f"{shown(self.path)} is empty: 'ocicat add PATH' makes a catalog of it") from error
            row = self._version_at_last()
        except DRIVER_ERRORS as error:
            raise explain(error, self.path) from error
        major, _, minor = str(row and row[0]).partition(".")
        if not (major.isdecimal() and minor.isdecimal()):
            raise CatalogUnavailable(f"{shown(self.path)} is no catalog of ocicat's: give another path with --db")
        if int(major) != frozen.SCHEMA_MAJOR:
            what = "upgrade ocicat" if int(major) > frozen.SCHEMA_MAJOR else "run 'ocicat db upgrade'"
            raise CatalogVersion(
                f"{shown(self.path)} has schema {row[0]} and this ocicat reads {frozen.SCHEMA_MAJOR}: {what}"
            )
        if int(minor) < frozen.SCHEMA_MINOR:
            raise CatalogVersion(f"{shown(self.path)} is of an older ocicat: run 'ocicat db upgrade'")

    def _version_at_last(self) -> tuple[Any, ...] | None:
        """The version of a catalog whose first writer has committed since it was asked for; None where it has none."""
        try:
            found: tuple[Any, ...] | None = self.connection.execute(frozen.SCHEMA_VERSION).fetchone()
        except DRIVER_ERRORS as error:
            if str(error).startswith("no such "):
                return None
            raise explain(error, self.path) from error
        return found
