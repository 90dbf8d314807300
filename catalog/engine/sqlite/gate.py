"""Runs one statement on a catalog in a file, in a separate process (catalog/reports/worker.py)."""

from __future__ import annotations

import sqlite3

from catalog.engine import question
from catalog.engine.question import Question, Stopped
from catalog.engine.sink import Sink
from catalog.engine.sqlite.failures import explain
from catalog.engine.sqlite.guard import Guard
from catalog.engine.sqlite.reader import SqliteReader
from catalog.names.escape import shown

_INSTRUCTIONS = 4000
"""How many instructions SQLite runs between two checks of the clock."""
_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOTADB,
    }
)


def run(asked: Question, sink: Sink) -> None:
    """Send the columns and rows to `sink`. Raises Stopped, MemoryError, and CatalogUnavailable or a subclass."""
    reader = SqliteReader(asked.path)  # This checks that the file is a catalog of this version.
    guard: Guard | None = None
    connection = reader.connection
    try:
        if asked.is_ours:
            connection.execute(f"PRAGMA hard_heap_limit={asked.heap_bytes}")
            connection.execute("PRAGMA temp_store=MEMORY")
        else:
            reader.close()
            guard = Guard(asked.path, asked.heap_bytes)
            connection = guard.connection
    except sqlite3.Error as error:
        raise explain(error, asked.path) from error
    try:
        sink.begin()
        connection.set_progress_handler(sink.clock.is_over, _INSTRUCTIONS)
        cursor = connection.execute(asked.statement, asked.parameters)
        if cursor.description is None:
            raise Stopped(question.NO_QUESTION)
        sink.columns([column[0] for column in cursor.description])
        for row in cursor:
            if not sink.row(row):
                break
    except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError) as error:
        # The last two come from a parameter with more than 64 bits, or with a NUL.
        raise _explained(error, guard, asked.path) from error
    finally:
        connection.close()


def _explained(error: Exception, guard: Guard | None, path: str) -> Exception:
    if guard is not None and guard.refused:
        return Stopped(question.REFUSED, guard.refused)
    code = getattr(error, "sqlite_errorcode", None) or 0
    if code == sqlite3.SQLITE_INTERRUPT:
        return Stopped(question.LATE)
    if code == sqlite3.SQLITE_NOMEM:
        return Stopped(question.MEMORY)
    if isinstance(error, sqlite3.Error) and (guard is None or code & 0xFF in _TROUBLE):
        return explain(error, path)
    return Stopped(question.WRONG, shown(str(error)))
