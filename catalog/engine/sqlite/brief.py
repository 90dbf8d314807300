"""A catalog's file opened for a few searches with a short time limit."""

from __future__ import annotations

import os
import sqlite3
import time

from catalog.engine.location import reading_uri
from catalog.engine.sqlite import frozen
from catalog.engine.version import version_of
from catalog.errors import CatalogMissing, CatalogUnavailable, CatalogVersion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from catalog.engine.names import Name

_WAIT_SECONDS = 0.05
"""How long to wait for a locked catalog."""
_MOST_SECONDS = 0.25
"""The time limit for all searches together."""


class SqliteBriefReader:
    """Searches in the catalog at `path` (catalog.engine.brief.BriefReader). Raises CatalogUnavailable or a subclass.

    Completion shows no errors, so the messages are short and no module is imported to explain them.
    """

    def __init__(self, path: str) -> None:
        if not os.path.isfile(path):
            raise CatalogMissing("there is no catalog")
        try:
            self._connection = sqlite3.connect(reading_uri(path), uri=True, isolation_level=None, timeout=_WAIT_SECONDS)
        except sqlite3.Error as error:
            raise CatalogUnavailable(str(error)) from error
        deadline = time.monotonic() + _MOST_SECONDS
        self._connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        row = self.row("SCHEMA_VERSION", {})
        if version_of(row and row[0], "the catalog")[0] != frozen.SCHEMA_MAJOR:
            raise CatalogVersion("the catalog is from another version of ocicat")

    def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """See BriefReader."""
        try:
            found: tuple[Any, ...] | None = self._connection.execute(frozen.STATEMENTS[name], parameters).fetchone()
        except sqlite3.Error as error:
            raise CatalogUnavailable(str(error)) from error
        return found

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
