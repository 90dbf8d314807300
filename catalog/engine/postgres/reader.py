"""A shared catalog opened for reading, with the same statements as on SQLite, rendered for PostgreSQL by catalog/db/hosts.py.

An answer about the stores of many hosts lists this host's stores first, and names a store of another host `HOST:STORE`. A
plain name or a path means a store of this host.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

import psycopg

from catalog.db.fetching import ALL, FEW, ONE, WHOLE, WIDE
from catalog.db.view import ONCE
from catalog.engine.moments import Past, of_shared_past, past_of
from catalog.engine.names import Name
from catalog.engine.postgres import frozen
from catalog.engine.postgres.connect import explain, without_passwords
from catalog.engine.postgres.placeholders import named
from catalog.engine.postgres.session import Session
from catalog.engine.postgres.settings import STATE
from catalog.engine.version import check_readable
from catalog.errors import CatalogMissing
from catalog.names.escape import shown

FIRST = 200
"""How many rows are fetched at once for a statement that usually has few rows."""
_DAMAGE = "XX", "58", "22"
"""Classes of SQLSTATEs for rows that the server cannot read: internal errors, system errors, wrong data."""


_SHORTEST_POLL, _LONGEST_POLL = 0.1, 1.0  # seconds
_COPIES = f"SELECT store.id FROM store WHERE store.shared_as IS NOT NULL AND NOT {ONCE}"


def first_rows(text: str, fetch: str) -> str:
    """Return the text with which a statement is first executed, given its fetch hint."""
    return f"{text} LIMIT {FIRST}" if fetch == FEW else text


class PostgresReader:
    """A read-only session of the catalog at a URL (catalog.engine.interface.Reader). Raises CatalogUnavailable or a subclass."""

    dialect = "postgresql"
    __slots__ = ("_hosts", "_session", "_state", "_texts", "known", "past", "path")

    def __init__(self, url: str) -> None:
        self.path = url
        self.past: Past | None = None
        self.known: dict[object, Any] = {}
        self._texts: dict[str, frozen.Statement] = {}  # of the past
        self._hosts: dict[int, str | None] = {}
        self._state: tuple[Any, ...] | None = None
        self._session = Session(url)
        try:
            self._check_version()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def hold_state(self) -> None:
        """See Reader."""
        with self._explained():
            self._session.hold()

    def release_state(self) -> None:
        """See Reader."""
        with self._explained():
            self._session.release()

    def check_current(self) -> None:
        """Do nothing, because a session ends with its database."""

    def rows(self, name: Name, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """See Reader."""
        return self._rows(self._named(name), parameters)

    def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """See Reader."""
        return self._first(self._named(name), parameters)

    def select(self, statement: str, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """See Reader."""
        return self._rows(self._written(statement), parameters)

    def _rows(self, statement: frozen.Statement, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        if _is_nowhere(parameters):
            return
        text, fetch = statement
        values = {**parameters, **self._asof()}
        with self._explained():
            if fetch in (WIDE, ALL, WHOLE):
                yield from self._session.stream(text, values, freely=fetch == ALL, wholly=fetch == WHOLE)
            elif fetch == FEW:
                first = self._session.ask(first_rows(text, fetch), values).fetchall()
                yield from first
                if len(first) == FIRST:
                    had = set(first)
                    yield from (row for row in self._session.stream(text, values, freely=False) if row not in had)
            else:
                yield from self._session.ask(text, values).fetchall()

    def _first(self, statement: frozen.Statement, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        if _is_nowhere(parameters):
            return None
        text, _ = statement
        with self._explained():
            return self._session.ask(text, {**parameters, **self._asof()}).fetchone()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise explain(error, self.path) from None

    def at(self, milliseconds: int) -> Self:
        """See Reader."""
        then = copy.copy(self)
        then.past = past_of(self, milliseconds)
        then._texts, then._hosts = {}, {}  # noqa: SLF001 - of the same class
        return then

    def host_of(self, store_id: int) -> str | None:
        """See Reader."""
        if store_id not in self._hosts:
            statement = (
                "SELECT host.name, host.name = current_setting('ocicat.host') FROM store JOIN host ON host.id = host_id"
            )
            row = self._first(self._written(f"{statement} WHERE store.id = :store_id"), {"store_id": store_id})
            self._hosts[store_id] = None if row is None or row[1] else str(row[0])
        return self._hosts[store_id]

    def copies(self) -> frozenset[int]:
        """See Reader. This host's store answers for a layout, or else the store with the newest `index.json`."""
        return frozenset(row[0] for row in self.select(_COPIES, {}))

    def listen(self) -> None:
        """See Reader."""
        self._state = self._first(self._written(STATE), {})

    def wait_for_change(self, seconds: float) -> None:
        """See Reader. Polls the server, first every tenth of a second and then less often, down to once a second."""
        deadline = time.monotonic() + seconds
        pause = _SHORTEST_POLL
        while (now := self._first(self._written(STATE), {})) == self._state:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_POLL)
        self._state = now

    def limit(self, seconds: float) -> None:
        """See Reader."""
        self._session.limit(seconds)

    def cancel(self) -> None:
        """See Reader."""
        with contextlib.suppress(psycopg.Error):
            self._session.cancel()

    def size_bytes(self) -> int:
        """See Reader."""
        found = self._first(self._written("SELECT pg_database_size(current_database())"), {})
        return int(found[0]) if found else 0

    def views(self) -> list[str]:
        """See Reader."""
        from catalog.db.views import VIEWS

        return [view.create("postgresql") for view in sorted(VIEWS, key=lambda view: view.name)]

    def damage(self) -> list[str]:
        """See Reader. Reads every row of every table once."""
        from catalog.db.schema import metadata

        found = []
        for table in metadata.sorted_tables:
            try:
                self._session.ask(f"SELECT count(*), max(length({table.name}::text)) FROM {table.name}")
            except psycopg.Error as error:
                if not (error.sqlstate or "").startswith(_DAMAGE):
                    raise explain(error, self.path) from None
                found.append(f"{table.name}: {shown(str(error))}")
        return found

    def _named(self, name: Name) -> frozen.Statement:
        """Return a frozen statement, for the present or the past."""
        return frozen.STATEMENTS[name] if self._is_today() else self._then(name, frozen.STATEMENTS[name])

    def _written(self, statement: str) -> frozen.Statement:
        """Return a statement with `:name` for parameters, for the present or the past."""
        found = named(statement), ONE
        return found if self._is_today() else self._then(statement, found)

    def _is_today(self) -> bool:
        return self.past is None or self.past.numbers is None

    def _then(self, key: str, statement: frozen.Statement) -> frozen.Statement:
        if key not in self._texts:
            text, fetch = statement
            self._texts[key] = of_shared_past(text), fetch
        return self._texts[key]

    def _asof(self) -> dict[str, Any]:
        """Return the parameters that a statement about the past needs; empty for the present."""
        if self.past is None or self.past.numbers is None:
            return {}
        return {"hosts": list(self.past.numbers), "numbers": list(self.past.numbers.values())}

    def _check_version(self) -> None:
        found = self.row("SCHEMA_VERSION", {})
        where = shown(without_passwords(self.path))
        if found is None:
            raise CatalogMissing(f"{where} is not a catalog yet: 'ocicat db upgrade' creates one")
        check_readable(found[0], (frozen.SCHEMA_MAJOR, frozen.SCHEMA_MINOR), where)


def _is_nowhere(parameters: Mapping[str, object]) -> bool:
    """Return whether a parameter contains a NUL, which PostgreSQL refuses and no row contains."""
    return any(isinstance(value, str) and "\0" in value for value in parameters.values())
