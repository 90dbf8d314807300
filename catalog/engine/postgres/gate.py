"""Runs one statement on a shared catalog, in a separate process (catalog/reports/worker.py) and a separate READ ONLY transaction.

The server decides what is allowed, as SQLite's authorizer does for a file; the text of the statement is not examined. The extended
protocol accepts only one statement at a time, so a COMMIT cannot precede another statement. A cursor is declared for the statement,
which works only for queries. The statement may read whatever its role may read: docs/postgres.md lists the rights of a role that
sees only the public views.

Rows arrive one at a time, so only one is in memory. The server's time limit applies to each fetch, and the statement can
change it (set_config), so a thread here cancels the statement when its time is over.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg

from catalog.engine import question
from catalog.engine.postgres.connect import NO_MEMORY, connect, explain, timeout_ms
from catalog.engine.postgres.placeholders import named, names
from catalog.engine.postgres.settings import settings
from catalog.engine.question import Question, Stopped
from catalog.engine.sink import Sink, limit_memory
from catalog.errors import RefusedSQL
from catalog.names.escape import shown

_CHUNK = 1000
_CANCEL_SECONDS = 2.0
_PORTAL = "asked"
_ROW_MEMORY_BYTES = 128 << 20
"""How much memory libpq and psycopg need for the longest allowed row, as text and as values."""


def run(asked: Question, sink: Sink) -> None:
    """Send the columns and rows to `sink`. Raises Stopped, RefusedSQL, MemoryError, and CatalogUnavailable or a subclass."""
    statement, parameters = asked.statement, asked.parameters
    if not isinstance(parameters, dict):
        raise TypeError("parameters must have names")
    if any("\0" in text for text in (statement, *parameters.values())):
        raise RefusedSQL(
            "the statement or a value contains a NUL character, which PostgreSQL does not support: remove it"
        )
    for name in sorted(names(statement) - set(parameters)):
        raise RefusedSQL(f"the statement is wrong: :{name} has no value; give one with -p {name}=VALUE")
    session = connect(asked.path)
    cursor = session.cursor(name=_PORTAL)
    ended = threading.Event()
    canceller = threading.Thread(target=_cancel, args=(session, sink, ended), daemon=True)
    try:
        session.autocommit = False
        session.read_only = True
        session.execute(*settings(statement_timeout=str(timeout_ms(asked.seconds))))
        sink.begin()
        limit_memory(min(asked.heap_bytes, _ROW_MEMORY_BYTES))
        canceller.start()
        # With parameters, psycopg uses the extended protocol, which takes only one statement.
        cursor.execute(named(statement.strip().rstrip(";")), dict(parameters))
        sink.columns([column.name for column in cursor.description or ()])
        for row in _rows(session):
            if not sink.row(tuple(map(plain, row))):
                break
    except psycopg.Error as error:
        raise _explained(error, asked, sink) from None
    finally:
        ended.set()
        # This also ends a running statement and the cursor. The transaction is not ended first: a pooler then closes the session
        # on the server too, with whatever the statement left in it, such as an advisory lock.
        session.close()
        cursor.close()


def _rows(session: psycopg.Connection[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the cursor, and read each row only when it is needed."""
    is_over = False
    while not is_over:
        is_over = True
        with session.cursor() as fetching:
            for row in fetching.stream(f"FETCH FORWARD {_CHUNK} FROM {_PORTAL}"):
                is_over = False
                yield row


def _cancel(session: psycopg.Connection[tuple[Any, ...]], sink: Sink, ended: threading.Event) -> None:
    """Cancel the statement at its time limit, repeatedly until it ends."""
    while not ended.wait(max(0.05, sink.clock.left())):
        if sink.clock.is_over() and not ended.is_set():
            try:
                session.cancel_safe(timeout=_CANCEL_SECONDS)
            except psycopg.Error:
                return  # The connection is lost, and with it the statement.


def _explained(error: psycopg.Error, asked: Question, sink: Sink) -> Exception:
    state = error.sqlstate or ""
    reason = shown(str(error).strip().split("\n", 1)[0])
    if state == "57014" or (not state and sink.clock.is_over()):
        return Stopped(question.LATE)
    if not state and any(words in reason for words in NO_MEMORY):
        return Stopped(question.LONG)  # Only a row can be that large.
    if asked.is_ours:
        return explain(error, asked.path)
    if state == "25006":
        return Stopped(question.REFUSED, "the statement")
    if state == "42501":
        return RefusedSQL(f"this is refused ({reason}): 'ocicat help postgres' says what each role may read")
    if not state or state.startswith(("08", "53", "57P", "XX")):
        return explain(error, asked.path)
    return Stopped(question.WRONG, reason)


def plain(value: object) -> object:
    """Return the value converted to a type that SQLite has: int, float, str, bytes, or None."""
    if value is None or isinstance(value, int | float | str | bytes):
        return int(value) if isinstance(value, bool) else value
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    return str(value)
