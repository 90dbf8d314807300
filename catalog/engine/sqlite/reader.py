"""The catalog's file opened for reading, using only sqlite3 of the standard library."""

from __future__ import annotations

import sqlite3

from catalog.engine.location import is_still, reading_uri
from catalog.engine.sqlite import frozen
from catalog.engine.sqlite.failures import DRIVER_ERRORS, explain, find, gone
from catalog.errors import CatalogMissing
from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Self

    from catalog.engine.moments import Past
    from catalog.engine.names import Name

_VERSION = frozen.STATEMENTS["SCHEMA_VERSION"]
_SCHEMA = f"{frozen.SCHEMA_MAJOR}.{frozen.SCHEMA_MINOR}"
_MAPPED_BYTES = 4 << 20
_BUSY_SECONDS = 5.0
_POLL_SECONDS = 0.02


class SqliteReader:
    """A read-only `connection` to the catalog at `path` (catalog.engine.interface.Reader). Raises CatalogUnavailable or a subclass."""

    dialect = "sqlite"
    factory: type[sqlite3.Connection] = sqlite3.Connection
    __slots__ = ("_file", "_is_still", "_version", "connection", "known", "past", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.past: Past | None = None
        self.known: dict[object, Any] = {}  # cached results of the current question (catalog.lookup.below)
        self._file = find(path)
        self._is_still = is_still(path)
        try:
            self.connection = sqlite3.connect(
                reading_uri(path), uri=True, isolation_level=None, timeout=_BUSY_SECONDS, factory=self.factory
            )
        except DRIVER_ERRORS as error:
            raise explain(error, path) from error
        try:
            self._check_version()
        except BaseException:
            self.connection.close()
            raise
        # SQLite allocates and frees 80 KiB for each temporary table of a statement. If that is at the top of the heap, glibc gives it
        # back to the kernel each time, which takes longer than the statement. Freeing a block that has its own mapping raises the
        # thresholds for that (mallopt(3), M_MMAP_THRESHOLD). The pages of the block are never used.
        bytes(_MAPPED_BYTES)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def hold_state(self) -> None:
        """See Reader."""
        self._first("BEGIN", {})

    def release_state(self) -> None:
        """See Reader."""
        self._first("COMMIT", {})

    def check_current(self) -> None:
        """See Reader."""
        import os

        try:
            if os.path.samestat(os.stat(self.path), self._file) and (not self._is_still or is_still(self.path)):
                return
        except OSError:
            pass
        raise gone(self.path)

    def at(self, milliseconds: int) -> Self:
        """See Reader."""
        import copy

        from catalog.engine.moments import past_of

        then = copy.copy(self)
        then.past = past_of(self, milliseconds)
        return then

    def rows(self, name: Name, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """See Reader."""
        return self.select(frozen.STATEMENTS[name], parameters)

    def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """See Reader."""
        return self._first(frozen.STATEMENTS[name], parameters)

    def select(self, statement: str, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """See Reader."""
        if self.past is not None and self.past.numbers is not None:
            statement = self._then(statement, parameters)
            parameters = {**parameters, "moment": self.past.number}
        try:
            for row in self.connection.execute(statement, parameters):  # noqa: UP028
                yield row  # `yield from` would close an abandoned cursor, perhaps after its connection.
        except DRIVER_ERRORS as error:
            raise explain(error, self.path) from error

    def _first(self, statement: str, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        if self.past is not None and self.past.numbers is not None:
            statement = self._then(statement, parameters)
            parameters = {**parameters, "moment": self.past.number}
        try:
            found: tuple[Any, ...] | None = self.connection.execute(statement, parameters).fetchone()
        except DRIVER_ERRORS as error:
            raise explain(error, self.path) from error
        return found

    def host_of(self, store_id: int) -> str | None:  # noqa: ARG002
        """Return None, because all stores of a file belong to this host."""
        return None

    def copies(self) -> frozenset[int]:
        """Return an empty set, because a file has one host."""
        return frozenset()

    @staticmethod
    def _then(statement: str, parameters: Mapping[str, object]) -> str:
        from catalog.engine.moments import of_past

        return of_past(statement, frozenset(parameters))

    def listen(self) -> None:
        """See Reader."""
        self._version = self._first("PRAGMA data_version", {})

    def wait_for_change(self, seconds: float) -> None:
        """See Reader."""
        import time

        deadline = time.monotonic() + seconds
        while (now := self._first("PRAGMA data_version", {})) == self._version:
            self.check_current()
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(_POLL_SECONDS, left))
        self._version = now

    def limit(self, seconds: float) -> None:
        """Do nothing, because there is no server."""

    def cancel(self) -> None:
        """See Reader."""
        try:
            self.connection.interrupt()
        except sqlite3.Error:
            return  # It was closed in the meantime.

    def size_bytes(self) -> int:
        """See Reader."""
        import os

        files = [self.path + end for end in ("", "-wal")]
        return sum(os.path.getsize(file) for file in files if os.path.exists(file))

    def views(self) -> list[str]:
        """See Reader."""
        return [row[0] for row in self.select("SELECT sql FROM sqlite_master WHERE type = 'view' ORDER BY name", {})]

    def damage(self) -> list[str]:
        """See Reader."""
        found = [str(row[0]) for row in self.select("PRAGMA integrity_check", {})]
        broken = self.select("PRAGMA foreign_key_check", {})
        return ([] if found == ["ok"] else found) + [
            f"row {row[1]} of {row[0]} refers to a missing row of {row[2]}" for row in broken
        ]

    def _check_version(self) -> None:
        try:
            row = self.connection.execute(_VERSION).fetchone()
        except sqlite3.OperationalError as error:
            if not str(error).startswith("no such "):
                raise explain(error, self.path) from error
            if not self._first("SELECT 1 FROM sqlite_master", {}):
                raise CatalogMissing(
                    f"{shown(self.path)} is empty: 'ocicat add PATH' creates a catalog in it"
                ) from error
            row = self._version_again()
        except DRIVER_ERRORS as error:
            raise explain(error, self.path) from error
        if row is None or row[0] != _SCHEMA:  # The check is not imported for a catalog of exactly this version.
            from catalog.engine.version import check_readable

            check_readable(row and row[0], (frozen.SCHEMA_MAJOR, frozen.SCHEMA_MINOR), shown(self.path))

    def _version_again(self) -> tuple[Any, ...] | None:
        """Read the version once more, because the catalog's first writer may have committed by now. Return None if there still is none."""
        try:
            found: tuple[Any, ...] | None = self.connection.execute(_VERSION).fetchone()
        except DRIVER_ERRORS as error:
            if str(error).startswith("no such "):
                return None
            raise explain(error, self.path) from error
        return found
