"""A session that only reads: each question is one transaction and one round trip.

The settings (catalog.engine.postgres.settings) and the statement are sent together. Without a Sync between them, the server runs
both in one transaction (PostgreSQL's documentation of the pipeline mode of libpq). Behind a pooler they are one message, because
psycopg ends a pipeline with a Flush after the Sync: if the pooler has seen the transaction end before the Flush arrives, it gives
this connection another session, and waits for the end of a transaction that never begins. Rows that are fetched in pieces come
from a cursor. A cursor belongs to a transaction, which stays open until the last row; other statements run in that transaction
meanwhile. Every method raises psycopg.Error.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import ClientCursor, Cursor
from psycopg.pq import TransactionStatus

from catalog.engine.postgres.connect import connect, timeout_ms
from catalog.engine.postgres.settings import settings

_CHUNK = 2000
_CANCEL_SECONDS = 2.0
_NOTHING: dict[str, Any] = {}


def _planner(freely: str) -> dict[str, str]:
    """Return the settings that let the planner join in any way (`on`), or only by searching indexes, like SQLite (`off`).

    With `off`, lookups do not depend on statistics. Statistics lag behind a first load, and do not distinguish a name that one store
    has a thousand times from a name that a thousand stores have. `_READING` also forbids parallel workers: with `on`, the planner would
    start them for a single row, which takes ten times as long.
    """
    return dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin"), freely)


def _set(values: dict[str, str]) -> str:
    return f"SELECT {', '.join(f'set_config({name!r}, {value!r}, true)' for name, value in values.items())}"


_FRACTION = "cursor_tuple_fraction"
_SEARCHING = _set(_planner("off"))
_FREELY = _set(_planner("on") | {_FRACTION: "0.1"})  # the server's default
_WHOLLY = _set(_planner("on") | {_FRACTION: "1"})
_READING = {"transaction_read_only": "on", "max_parallel_workers_per_gather": "0", **_planner("off")}


class Session:
    """A session of the catalog at `url`. Raises CatalogUnavailable or a subclass if it cannot be opened."""

    def __init__(self, url: str) -> None:
        self._settings = settings(**_READING)
        self._open = 0  # how many cursors and `hold`s keep the transaction open
        self._numbers = itertools.count()
        self.connection = connect(url)

    @property
    def is_idle(self) -> bool:
        """Whether the connection is open, and no cursor or `hold` keeps a transaction open."""
        status = self.connection.info.transaction_status
        return not self._open and not self.connection.closed and status is TransactionStatus.IDLE

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def limit(self, seconds: float) -> None:
        """Make the server end each statement after `seconds`."""
        self._settings = settings(**_READING, statement_timeout=str(timeout_ms(seconds)))

    def cancel(self) -> None:
        """Cancel the statement that is running. May be called from another thread."""
        self.connection.cancel_safe(timeout=_CANCEL_SECONDS)

    def ask(self, statement: str, values: Mapping[str, Any] = _NOTHING) -> Cursor[tuple[Any, ...]]:
        """Run a statement and return its cursor, which holds all rows."""
        if self._open:
            return self.connection.execute(statement, values)
        if self.connection.prepare_threshold is None:  # `connect` has found a pooler
            return self._ask_pooler(statement, values)
        with self.connection.pipeline():
            self.connection.execute(*self._settings)
            return self.connection.execute(statement, values)

    def _ask_pooler(self, statement: str, values: Mapping[str, Any]) -> Cursor[tuple[Any, ...]]:
        """Send the settings and a statement as one message of the simple protocol, which is one transaction."""
        cursor = ClientCursor(self.connection)
        before = cursor.mogrify(*self._settings).replace("%", "%%")
        cursor.execute(f"{before}; {statement}", values)
        cursor.nextset()
        return cursor

    def stream(
        self, statement: str, values: Mapping[str, Any], *, freely: bool, wholly: bool = False
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a statement and keep only a few of them in memory.

        With `freely`, the planner may join in any way. With `wholly`, it may also do so, and plans for all rows instead of the first ones.
        """
        name = f"wide_{next(self._numbers)}"
        is_first = not self._open
        self._open += 1
        try:
            with self.connection.pipeline():
                if is_first:
                    self.connection.execute("BEGIN READ ONLY")
                    self.connection.execute(*self._settings)
                if freely or wholly:
                    self.connection.execute(_WHOLLY if wholly else _FREELY)
                self.connection.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {statement}", values)
                if freely or wholly:
                    self.connection.execute(_SEARCHING)
                fetched = self.connection.execute(f"FETCH {_CHUNK} FROM {name}")
            while rows := fetched.fetchall():
                yield from rows
                if len(rows) < _CHUNK:
                    break
                fetched = self.connection.execute(f"FETCH {_CHUNK} FROM {name}")
        finally:
            self._leave(f"CLOSE {name}")

    def hold(self) -> None:
        """Answer from one state of the catalog until `release`."""
        self._open += 1
        with self.connection.pipeline():
            self.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self.connection.execute(*self._settings)

    def release(self) -> None:
        """End what `hold` began."""
        self._leave(None)

    def _leave(self, statement: str | None) -> None:
        """End the transaction if nothing else needs it; otherwise only run `statement`."""
        self._open -= 1
        status = self.connection.info.transaction_status
        if not self._open and status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            self.connection.execute("ROLLBACK")  # It has written nothing.
        elif statement is not None and status is TransactionStatus.INTRANS:
            self.connection.execute(statement)
