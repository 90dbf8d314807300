"""A session with a shared catalog that stays open between the questions of many clients.

Each statement sees everything that was committed before it, because no transaction stays open between two questions.
"""

from __future__ import annotations

from typing import Any

import psycopg

from catalog.engine.postgres.reader import PostgresReader

_STATEMENT_SECONDS = 5.0
"""After how many seconds the server ends a statement. The process that asked has given up long before."""


class _Reader(PostgresReader):
    """A reader that stays open when its borrower closes it."""

    __slots__ = ("_is_lent",)

    def close(self) -> None:
        """Do nothing, because `KeptPostgres.settle` ends the question. Before `keep` was called, close the session."""
        if not getattr(self, "_is_lent", False):
            super().close()

    def limit(self, seconds: float) -> None:
        """Do nothing, because the session has its limit from the start."""

    def again(self) -> None:
        """Forget the last question, and check that this version can still read the catalog. Raises CatalogUnavailable."""
        self.past = None
        self.known = {}
        self._texts, self._hosts = {}, {}
        self._check_version()

    @property
    def is_idle(self) -> bool:
        """Whether the session is open, and outside of a transaction."""
        return self._session.is_idle

    def keep(self) -> None:
        """Keep the session open from now on, with a time limit for each statement."""
        self._is_lent = True
        super().limit(_STATEMENT_SECONDS)

    def end(self) -> None:
        """Close the session."""
        super().close()


class KeptPostgres:
    """See Kept."""

    variables = "PG"  # the variables of libpq

    def __init__(self, url: str) -> None:
        self.path = url
        self.file: str | None = None
        self._reader: _Reader | None = None

    def lend(self) -> PostgresReader:
        """See Kept."""
        reader = self._reader
        if reader is None:
            reader = _Reader(self.path)
            self._reader = reader
            reader.keep()
        else:
            reader.again()
        return reader

    def rows(self, statement: str, parameters: tuple[str, ...]) -> list[tuple[Any, ...]]:  # noqa: ARG002
        """See Kept."""
        return []

    def identity(self) -> tuple[int, int]:
        """See Kept."""
        return 0, 0

    def settle(self) -> None:
        """See Kept."""
        if self._reader is not None and not self._reader.is_idle:
            self.drop()

    def look(self) -> None:
        """Do nothing, because a session ends with its database."""

    def drop(self) -> None:
        """See Kept."""
        reader, self._reader = self._reader, None
        if reader is not None:
            try:
                reader.end()
            except psycopg.Error:  # The server has closed it first.
                return
