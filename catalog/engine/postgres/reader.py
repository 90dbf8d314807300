"""The shared catalog opened for reading: the same statements as on SQLite, as catalog/db/hosts.py renders them for PostgreSQL.

What is asked of the stores of many hosts answers for this one first, and calls the store of another one `HOST:STORE`. A
plain name, and a path, are those of this host.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any, LiteralString, Self

import psycopg

from catalog.db.fetching import ALL, FEW, ONE, WIDE
from catalog.db.view import ONCE
from catalog.engine.moments import Past, of_shared_past, past_of
from catalog.engine.names import Name
from catalog.engine.postgres import frozen
from catalog.engine.postgres.connect import CHANNEL, connect, explain, timeout_ms, without_passwords
from catalog.engine.postgres.placeholders import named
from catalog.engine.version import check_readable
from catalog.errors import CatalogMissing
from catalog.names.escape import shown

_CHUNK = 2000
_CANCEL_SECONDS = 2.0
_NO_CONSTANTS: dict[str, str | int] = {}
FIRST = 200
"""So many rows are fetched at once of a statement that has few as a rule."""
_DAMAGE = "XX", "58", "22"
"""Classes of what the server says of rows that it cannot read: its own state, its disk, their data."""


def _planner(freely: str) -> str:
    """Let the planner join as it likes, or only by searching an index from row to row, as SQLite does.

    A lookup goes by no statistics then. Those lag behind a first load, and take a name that one store has a thousand times
    for one that a thousand stores have: it would start other processes for one row, which takes ten times as long as it does.
    """
    settings = dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin"), freely)
    settings["max_parallel_workers_per_gather"] = "0"
    return f"SELECT {', '.join(f'set_config({name!r}, {value!r}, false)' for name, value in settings.items())}"


_SEARCHING, _FREELY = _planner("off"), _planner("on")
_TIMEOUT = "SELECT set_config('statement_timeout', :milliseconds, false)"
_COPIES = f"SELECT store.id FROM store WHERE store.shared_as IS NOT NULL AND NOT {ONCE}"


def first_rows(text: str, fetch: str) -> str:
    """The text of a statement, with its hint how to fetch its rows, as it is asked first."""
    return f"{text} LIMIT {FIRST}" if fetch == FEW else text


class PostgresReader:
    """A read-only session of the catalog at a URL (catalog.engine.interface.Reader); raises CatalogUnavailable and its kinds."""

    dialect = "postgresql"
    holds_state = False  # they wait in a cursor of the server's
    __slots__ = ("_hosts", "_listening", "_session", "_texts", "known", "past", "path")

    def __init__(self, url: str) -> None:
        self.path = url
        self.past: Past | None = None
        self.known: dict[object, Any] = {}
        self._texts: dict[str, frozen.Statement] = {}  # of the past
        self._hosts: dict[int, str | None] = {}
        self._listening: psycopg.Connection[tuple[Any, ...]] | None = None
        self._session = connect(url, read_only=True)
        try:
            self._first(self._written(_SEARCHING), {})
            self._check_version()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the session."""
        for session in (self._session, self._listening):
            if session is not None:
                session.close()

    def hold_state(self) -> None:
        """As Reader says."""
        self._execute("BEGIN ISOLATION LEVEL REPEATABLE READ")

    def release_state(self) -> None:
        """As Reader says."""
        self._execute("COMMIT")

    def _execute(self, statement: LiteralString) -> None:
        try:
            self._session.execute(statement)
        except psycopg.Error as error:
            raise explain(error, self.path) from None

    def check_current(self) -> None:
        """Nothing to do: a session ends with its database."""

    def rows(self, name: Name, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """As Reader says."""
        return self._rows(self._named(name), parameters)

    def row(self, name: Name, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        """As Reader says."""
        return self._first(self._named(name), parameters)

    def select(self, statement: str, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """As Reader says."""
        return self._rows(self._written(statement), parameters)

    def _rows(self, statement: frozen.Statement, parameters: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        if _is_nowhere(parameters):
            return
        text, constants, fetch = statement
        values = {**constants, **parameters, **self._asof()}
        try:
            if fetch in (WIDE, ALL):
                yield from self._streamed(text, values, freely=fetch == ALL)
            elif fetch == FEW:
                first = self._session.execute(first_rows(text, fetch), values).fetchall()
                yield from first
                if len(first) == FIRST:
                    had = set(first)
                    yield from (row for row in self._streamed(text, values, freely=False) if row not in had)
            else:
                yield from self._session.execute(text, values).fetchall()
        except psycopg.Error as error:
            raise explain(error, self.path) from None

    def _first(self, statement: frozen.Statement, parameters: Mapping[str, object]) -> tuple[Any, ...] | None:
        if _is_nowhere(parameters):
            return None
        text, constants, _ = statement
        try:
            return self._session.execute(text, {**constants, **parameters, **self._asof()}).fetchone()
        except psycopg.Error as error:
            raise explain(error, self.path) from None

    def at(self, milliseconds: int) -> Self:
        """As Reader says."""
        then = copy.copy(self)
        then.past = past_of(self, milliseconds)
        then._texts, then._hosts = {}, {}  # noqa: SLF001 - of this very class
        return then

    def host_of(self, store_id: int) -> str | None:
        """The host that a store belongs to, None where that is this one."""
        if store_id not in self._hosts:
            asked = (
                "SELECT host.name, host.name = current_setting('ocicat.host') FROM store JOIN host ON host.id = host_id"
            )
            row = self._first(self._written(f"{asked} WHERE store.id = :store_id"), {"store_id": store_id})
            self._hosts[store_id] = None if row is None or row[1] else str(row[0])
        return self._hosts[store_id]

    def copies(self) -> frozenset[int]:
        """The stores whose layouts another host sees too and is the one to ask: this one, or who saw it change last."""
        return frozenset(row[0] for row in self.select(_COPIES, {}))

    def listen(self) -> None:
        """Begin to notice what others commit."""
        self._listening = self._connect_listening()

    def wait_for_change(self, seconds: float) -> None:
        """Wait until somebody has committed since `listen` or the last call, `seconds` at most."""
        if self._listening is None:
            self._listening = self._connect_listening()
        try:
            for _ in self._listening.notifies(timeout=seconds, stop_after=1):
                pass
        except psycopg.Error as error:
            raise explain(error, self.path) from None

    def _connect_listening(self) -> psycopg.Connection[tuple[Any, ...]]:
        session = connect(self.path, read_only=True)
        try:
            session.execute(f"LISTEN {CHANNEL}")
        except psycopg.Error as error:
            session.close()
            raise explain(error, self.path) from None
        return session

    def limit(self, seconds: float) -> None:
        """Have the server end each statement of this session after so many seconds; raises CatalogUnavailable."""
        self._first(self._written(_TIMEOUT), {"milliseconds": str(timeout_ms(seconds))})

    def cancel(self) -> None:
        """End what the server does for this session; a thread of its own calls it, and the process ends then."""
        with contextlib.suppress(psycopg.Error):
            self._session.cancel_safe(timeout=_CANCEL_SECONDS)

    def size_bytes(self) -> int:
        """What the database takes on the server's disk."""
        found = self._first(self._written("SELECT pg_database_size(current_database())"), {})
        return int(found[0]) if found else 0

    def views(self) -> list[str]:
        """The statements that made the public views, with their documentation, by name."""
        from catalog.db.views import VIEWS

        return [view.create("postgresql") for view in sorted(VIEWS, key=lambda view: view.name)]

    def damage(self) -> list[str]:
        """What is wrong with the database, a line each: every row of every table is read once."""
        from catalog.db.schema import metadata

        found = []
        for table in metadata.sorted_tables:
            try:
                self._session.execute(f"SELECT count(*), max(length({table.name}::text)) FROM {table.name}")
            except psycopg.Error as error:
                if not (error.sqlstate or "").startswith(_DAMAGE):
                    raise explain(error, self.path) from None
                found.append(f"{table.name}: {shown(str(error))}")
        return found

    def _streamed(self, text: str, values: dict[str, Any], *, freely: bool) -> Iterator[tuple[Any, ...]]:
        # With hold: other statements run between two rows, and each is a transaction of its own.
        with self._session.cursor(name=f"wide_{id(values)}", withhold=True) as cursor:
            cursor.itersize = _CHUNK
            if freely:
                self._session.execute(_FREELY)
            try:
                cursor.execute(text, values)
            finally:
                if freely:
                    self._session.execute(_SEARCHING)
            yield from cursor

    def _named(self, name: Name) -> frozen.Statement:
        """A frozen statement, as it is asked of today or of the past."""
        return frozen.STATEMENTS[name] if self._is_today() else self._then(name, frozen.STATEMENTS[name])

    def _written(self, statement: str) -> frozen.Statement:
        """A statement with `:name` for parameters, in the same way."""
        found = named(statement), _NO_CONSTANTS, ONE
        return found if self._is_today() else self._then(statement, found)

    def _is_today(self) -> bool:
        return self.past is None or self.past.numbers is None

    def _then(self, key: str, statement: frozen.Statement) -> frozen.Statement:
        if key not in self._texts:
            text, constants, fetch = statement
            self._texts[key] = of_shared_past(text), constants, fetch
        return self._texts[key]

    def _asof(self) -> dict[str, Any]:
        """The parameters by which a statement asks the past."""
        if self.past is None or self.past.numbers is None:
            return {}
        return {"hosts": list(self.past.numbers), "numbers": list(self.past.numbers.values())}

    def _check_version(self) -> None:
        found = self.row("SCHEMA_VERSION", {})
        where = shown(without_passwords(self.path))
        if found is None:
            raise CatalogMissing(f"{where} is no catalog yet: 'ocicat db upgrade' makes one")
        check_readable(found[0], (frozen.SCHEMA_MAJOR, frozen.SCHEMA_MINOR), where)


def _is_nowhere(parameters: Mapping[str, object]) -> bool:
    """Whether a text is asked for that no row can hold: PostgreSQL takes no NUL, and none is ever stored."""
    return any(isinstance(value, str) and "\0" in value for value in parameters.values())
