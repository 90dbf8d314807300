"""Searches that must not take long: a shell that waits for its completions looks broken."""

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
        """A catalog opened for a few searches, which take a limited time in all."""

        def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
            """The first row of the statement `name`, or None; raises CatalogUnavailable, also past the time."""

        def close(self) -> None:
            """Close it."""


_MOST_SECONDS = 1.0  # each search is a round trip


class PatientReader:
    """Searches through a reader of a server's (BriefReader): none begins past the time."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._deadline = time.monotonic() + _MOST_SECONDS

    def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """As BriefReader says."""
        if time.monotonic() > self._deadline:
            raise NotInTime("completing takes too long: write it out")
        return self._reader.row(name, parameters)

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
