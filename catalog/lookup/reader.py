"""The catalog opened for reading: the standard library's sqlite3, read-only, nothing else."""

from __future__ import annotations

import sqlite3

from catalog.db.failures import explain, find
from catalog.db.location import sqlite_uri
from catalog.errors import CatalogMissing, CatalogUnavailable, CatalogVersion
from catalog.lookup import frozen
from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_BUSY_SECONDS = 5.0


class Reader:
    """A read-only connection to the catalog at `path`; raises CatalogUnavailable and its kinds."""

    __slots__ = ("connection", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        find(path)
        try:
            self.connection = sqlite3.connect(
                sqlite_uri(path, "ro"), uri=True, isolation_level=None, timeout=_BUSY_SECONDS
            )
        except sqlite3.Error as error:
            raise explain(error, path) from error
        try:
            self._check_version()
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def rows(self, statement: str, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement, as they come; raises CatalogUnavailable."""
        try:
            for row in self.connection.execute(statement, parameters):  # noqa: UP028
                yield row  # `yield from` would close the cursor when nobody asks on, perhaps after its connection
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def row(self, statement: str, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """The first row of a statement, or None; raises CatalogUnavailable."""
        try:
            found: tuple[Any, ...] | None = self.connection.execute(statement, parameters).fetchone()
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        return found

    def _check_version(self) -> None:
        try:
            row = self.connection.execute(frozen.SCHEMA_VERSION).fetchone()
        except sqlite3.OperationalError as error:
            if not str(error).startswith("no such "):
                raise explain(error, self.path) from error
            if not self.row("SELECT 1 FROM sqlite_master", {}):
                raise CatalogMissing(f"{shown(self.path)} is empty: 'ocicat add PATH' makes a catalog of it") from error
            row = self._version_at_last()
        except sqlite3.Error as error:
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
        except sqlite3.Error as error:
            if str(error).startswith("no such "):
                return None
            raise explain(error, self.path) from error
        return found
