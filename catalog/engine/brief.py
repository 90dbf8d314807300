"""Searches with a short time limit, for completion: a shell that waits for its completions looks broken."""

from __future__ import annotations

import time

from catalog.errors import NotInTime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from catalog.engine.interface import Reader
    from catalog.engine.names import Name

    class BriefReader(Protocol):
        """A catalog opened for a few searches, with a time limit for all of them together."""

        def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
            """Return the first row of the statement `name`, or None. Raises CatalogUnavailable, also if the time is over."""

        def close(self) -> None:
            """Close the connection."""


_MOST_SECONDS = 1.0  # More than for a file, because each search is a round trip to the server.


class PatientReader:
    """A BriefReader for a catalog on a server: no search begins after the time limit."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._deadline = time.monotonic() + _MOST_SECONDS

    def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """See BriefReader."""
        if time.monotonic() > self._deadline:
            raise NotInTime("completion takes too long: type the rest")
        return self._reader.row(name, parameters)

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
