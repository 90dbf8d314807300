"""One statement on a catalog in PostgreSQL, in a process of its own (worker.py): in a READ ONLY transaction that it is alone in.

The server decides, as SQLite's authorizer does: nothing is concluded from the text. The extended protocol takes one
statement at a time, so no COMMIT can stand before another one; a cursor is declared for it, which only a question can have.
What the role may read it may read here too: docs/postgres.md gives the rights of a role that sees the public views alone.

Rows come one at a time, so that no more than one is in memory. The server's own time limit is for each fetch, and the
statement can undo it (set_config): a thread here cancels what runs past its time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg

from catalog.engine import question
from catalog.engine.postgres.connect import connect, explain, timeout_ms
from catalog.engine.postgres.placeholders import named, names
from catalog.engine.question import Question, Stopped
from catalog.engine.sink import Sink, limit_memory
from catalog.errors import RefusedSQL
from catalog.names.escape import shown

_CHUNK = 1000
_CANCEL_SECONDS = 2.0
_PORTAL = "asked"
_ROW_MEMORY_BYTES = 128 << 20
"""What libpq and psycopg take for a row that is just short enough, as text and as values."""
_NO_MEMORY = ("out of memory", "cannot allocate memory")


def run(asked: Question, sink: Sink) -> None:
    """Send the columns and rows to `sink`; raises Stopped, RefusedSQL, MemoryError, and CatalogUnavailable with its kinds."""
    statement, parameters = asked.statement, asked.parameters
    if not isinstance(parameters, dict):
        raise TypeError("parameters have names here")
    if any("\0" in text for text in (statement, *parameters.values())):
        raise RefusedSQL("the statement, or a value, has a NUL character: PostgreSQL takes none")
    for name in sorted(names(statement) - set(parameters)):
        raise RefusedSQL(f"the statement is wrong: no value for :{name}: give one with -p {name}=VALUE")
    session = connect(asked.path, read_only=True)
    cursor = session.cursor(name=_PORTAL)
    ended = threading.Event()
    canceller = threading.Thread(target=_cancel, args=(session, sink, ended), daemon=True)
    try:
        session.autocommit = False
        session.read_only = True
        session.execute(f"SET LOCAL statement_timeout = {timeout_ms(asked.seconds)}")
        sink.begin()
        limit_memory(min(asked.heap_bytes, _ROW_MEMORY_BYTES))
        canceller.start()
        # With a parameter the text goes by the extended protocol, which takes one statement.
        cursor.execute(named(statement.strip().rstrip(";")), dict(parameters))
        sink.columns([column.name for column in cursor.description or ()])
        for row in _rows(session):
            if not sink.row(tuple(map(_plain, row))):
                break
    except psycopg.Error as error:
        raise _explained(error, asked, sink) from None
    finally:
        ended.set()
        session.close()  # the server forgets the cursor with its session, a statement that runs included
        cursor.close()


def _rows(session: psycopg.Connection[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows of the cursor, each read when it is asked for."""
    is_over = False
    while not is_over:
        is_over = True
        with session.cursor() as fetching:
            for row in fetching.stream(f"FETCH FORWARD {_CHUNK} FROM {_PORTAL}"):
                is_over = False
                yield row


def _cancel(session: psycopg.Connection[tuple[Any, ...]], sink: Sink, ended: threading.Event) -> None:
    """Cancel the statement at its time limit, and again while it does not end."""
    while not ended.wait(max(0.05, sink.clock.left())):
        if sink.clock.is_over() and not ended.is_set():
            try:
                session.cancel_safe(timeout=_CANCEL_SECONDS)
            except psycopg.Error:
                return  # the connection is gone, and with it the statement


def _explained(error: psycopg.Error, asked: Question, sink: Sink) -> Exception:
    state = error.sqlstate or ""
    said = shown(str(error).strip().split("\n", 1)[0])
    if state == "57014" or (not state and sink.clock.is_over()):
        return Stopped(question.LATE)
    if not state and any(words in said for words in _NO_MEMORY):
        return Stopped(question.LONG)  # nothing else is held in memory
    if asked.is_ours:
        return explain(error, asked.path)
    if state == "25006":
        return Stopped(question.REFUSED, "that")
    if state == "42501":
        return RefusedSQL(f"that is refused ({said}): 'ocicat help postgres' says what each role may read")
    if not state or state.startswith(("08", "53", "57P", "XX")):
        return explain(error, asked.path)
    return Stopped(question.WRONG, said)


def _plain(value: object) -> object:
    """A value as SQLite would have it: whole numbers, others, text, bytes, or None."""
    if value is None or isinstance(value, int | float | str | bytes):
        return int(value) if isinstance(value, bool) else value
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    return str(value)
