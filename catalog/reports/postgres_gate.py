"""SQL that can only read, on PostgreSQL: a READ ONLY transaction that the statement is alone in, under a time limit.

The server decides, as SQLite's authorizer does: nothing is concluded from the text. The extended protocol takes one
statement at a time, so no COMMIT can stand before another one; a cursor is declared for it, which only a question can have.
What the role may read it may read here too: docs/postgres.md gives the rights of a role that sees the public views alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

import psycopg

from catalog.db.placeholders import named, names
from catalog.db.postgres import connect, explain
from catalog.errors import CatalogUnavailable, NotInTime, RefusedSQL
from catalog.lookup.reader import Reader
from catalog.names.escape import shown
from catalog.reports.gate import TIMEOUT_SECONDS, Gate, refuse_bytes, unique

_CHUNK = 1000


class PostgresGate(Gate):
    """Runs read-only statements on the catalog that `reader` has open, in a session of its own."""

    def __init__(self, reader: Reader, timeout: float = TIMEOUT_SECONDS) -> None:
        self._path = reader.path
        self._timeout = timeout

    def run(
        self, statement: str, parameters: Mapping[str, str]
    ) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """The columns' names and the rows of one statement, streamed; raises as on SQLite."""
        refuse_bytes("the statement", statement)
        for name, value in parameters.items():
            refuse_bytes(f"the value of :{name}", value)
        if any("\0" in text for text in (statement, *parameters.values())):
            raise RefusedSQL("the statement, or a value, has a NUL character: PostgreSQL takes none")
        for name in sorted(names(statement) - set(parameters)):
            raise RefusedSQL(f"the statement is wrong: no value for :{name}: give one with -p {name}=VALUE")
        session = connect(self._path, read_only=True)
        cursor = session.cursor(name="asked")
        try:
            session.autocommit = False
            session.read_only = True
            session.execute(f"SET LOCAL statement_timeout = {max(1, int(self._timeout * 1000))}")
            # With a parameter the text goes by the extended protocol, which takes one statement.
            cursor.execute(named(statement.strip().rstrip(";")), dict(parameters))
            columns = unique([column.name for column in cursor.description or ()])
            rows = cursor.fetchmany(_CHUNK)  # most answers end here, and nothing is left open
            if len(rows) < _CHUNK:
                _close(session, cursor)
                return columns, (tuple(map(_plain, row)) for row in rows)
        except psycopg.Error as error:
            _close(session, cursor)
            raise self._failed(error) from None
        except BaseException:
            _close(session, cursor)
            raise
        return columns, self._fetched(session, cursor, rows)

    def _fetched(
        self,
        session: psycopg.Connection[tuple[object, ...]],
        cursor: psycopg.ServerCursor[tuple[object, ...]],
        rows: list[tuple[object, ...]],
    ) -> Iterator[tuple[object, ...]]:
        try:
            while rows:
                for row in rows:
                    yield tuple(map(_plain, row))
                rows = cursor.fetchmany(_CHUNK)
        except psycopg.Error as error:
            raise self._failed(error) from None
        finally:
            _close(session, cursor)

    def _failed(self, error: psycopg.Error) -> BaseException:
        state = error.sqlstate or ""
        if state == "57014":
            return NotInTime(
                f"the statement ran past {self._timeout:g} seconds: narrow it, or give it more with --timeout"
            )
        if state == "25006":
            return RefusedSQL(
                "that is refused: a statement may only read the public views, 'ocicat sql --schema' lists them"
            )
        if state == "42501":
            said = shown(str(error).strip().split("\n", 1)[0])
            return RefusedSQL(f"that is refused ({said}): docs/postgres.md says what each role may read")
        if not state or state.startswith(("08", "53", "57P", "XX")):
            found: CatalogUnavailable = explain(error, self._path)
            return found
        said = shown(str(error).strip().split("\n", 1)[0])
        return RefusedSQL(f"the statement is wrong: {said}; 'ocicat sql --schema' lists views and columns")


def _close(session: psycopg.Connection[tuple[object, ...]], cursor: psycopg.ServerCursor[tuple[object, ...]]) -> None:
    session.close()  # the server forgets the cursor with its session, a statement that runs included
    cursor.close()


def _plain(value: object) -> object:
    """A value as SQLite would have it: whole numbers, others, text, bytes, or None."""
    if value is None or isinstance(value, int | float | str | bytes):
        return int(value) if isinstance(value, bool) else value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)
