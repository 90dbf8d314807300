"""Run users' SQL, which can only read the public views (docs/scripts.md), for the commands and the API.

catalog/engine/sqlite/guard.py decides what a statement may do; on PostgreSQL the server does. A statement runs in another
process (workers.py), which is killed at the time limit, at Ctrl-C, or when the caller stops before the last row. The time that
the caller spends on the rows does not count towards the limit.
"""

from __future__ import annotations

import atexit
import marshal
from collections.abc import Iterator, Mapping

from catalog import errors
from catalog.engine import question
from catalog.engine.interface import Reader
from catalog.engine.question import HEAP_BYTES, ROW_BYTES, TIMEOUT_SECONDS, Question, Stopped
from catalog.errors import CatalogUnavailable, NotInTime, OcicatError, RefusedSQL
from catalog.names.age import in_seconds
from catalog.names.escape import shown
from catalog.reports.workers import Answer, Workers

_workers = Workers()
atexit.register(_workers.close)


def statements_of(reader: Reader, timeout: float = TIMEOUT_SECONDS) -> Statements:
    """Return the object that runs statements on the catalog that `reader` has open, each for at most `timeout` seconds."""
    return Statements(reader, timeout)


def start_process() -> None:
    """Start the process for the next statement, so that it starts while the caller does other work."""
    _workers.start()


class Statements:
    """Runs read-only statements on the catalog that `reader` has open, in another process."""

    def __init__(self, reader: Reader, timeout: float = TIMEOUT_SECONDS) -> None:
        self._path = reader.path
        self._timeout = timeout

    def run(
        self, statement: str, parameters: Mapping[str, str]
    ) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """Run one statement; return the names of its columns and an iterator over its rows.

        Raises RefusedSQL if the statement is not valid SQL or does more than read the public views, NotInTime if it exceeds
        the time limit or a memory limit or its process is killed, and CatalogUnavailable if the catalog cannot be read. The iterator
        raises the same.
        """
        return self._run(statement, parameters, is_ours=False)

    def run_ours(self, statement: str) -> Iterator[tuple[object, ...]]:
        """Run one of ocicat's own statements, which may read private tables; return its rows.

        The limits and the exceptions are those of `run`.
        """
        return self._run(statement, {}, is_ours=True)[1]

    def _run(
        self, statement: str, parameters: Mapping[str, str], *, is_ours: bool
    ) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        refuse_bytes("the statement", statement)
        for name, value in parameters.items():
            refuse_bytes(f"the value of :{name}", value)
        try:
            answer = _workers.ask(Question(self._path, statement, dict(parameters), self._timeout, is_ours=is_ours))
            for frame in answer:
                if frame.columns is not None:
                    return unique(frame.columns), _Rows(self, answer, frame.rows)
        except Stopped as stopped:
            raise self._explained(stopped, statement) from None
        raise CatalogUnavailable("the statement ended without an answer: run it again")

    def _explained(self, stopped: Stopped, statement: str = "") -> Exception:
        late = f"took longer than {in_seconds(self._timeout)}: narrow it, or allow more with --timeout"
        return explained(stopped, late, statement)


class _Rows(Iterator[tuple[object, ...]]):
    """The rows of an answer. Closing or dropping the iterator before its end stops the statement."""

    def __init__(self, gate: Statements, answer: Answer, rows: list[bytes]) -> None:
        self._gate = gate
        self._answer = answer
        self._rows = iter(rows)

    def __next__(self) -> tuple[object, ...]:
        while (data := next(self._rows, None)) is None:
            try:
                self._rows = iter(next(self._answer).rows)
            except Stopped as stopped:
                raise self._gate._explained(stopped) from None  # noqa: SLF001 - its own
        row: tuple[object, ...] = marshal.loads(data)  # noqa: S302 - from our own process
        return row

    def close(self) -> None:
        """Stop the statement, if it has not ended."""
        self._rows = iter(())
        self._answer.close()


def explained(stopped: Stopped, late: str, statement: str = "") -> Exception:
    """Return the exception for a statement that was stopped; `late` ends the message for one that took too long."""
    kind, words = stopped.kind, stopped.words
    if kind == question.REFUSED:
        return RefusedSQL(
            f"{words} is refused: a statement may only read the public views; 'ocicat sql --schema' lists them"
        )
    if kind == question.NO_QUESTION:
        return RefusedSQL(
            "the statement is not a query: write a SELECT over the public views; 'ocicat sql --schema' lists them"
        )
    if kind == question.WRONG:
        from catalog.reports.suggestions import suggestion

        return RefusedSQL(f"the statement is wrong: {words.rstrip('.')}; {suggestion(words, statement)}")
    if kind == question.LATE:
        return NotInTime(f"the statement {late}")
    if kind == question.MEMORY:
        return NotInTime(f"the statement needs more than {HEAP_BYTES >> 20} MiB of memory: narrow it")
    if kind == question.LONG:
        return NotInTime(f"a row is larger than {ROW_BYTES >> 20} MiB: select fewer columns, or parts of them (substr)")
    if kind == question.ENDED:
        return NotInTime(f"{shown(words)} ended the process that ran the statement: run it again, or narrow it")
    if kind == question.ERROR:
        name, _, message = words.partition(" ")
        error = getattr(errors, name, OcicatError)
        found: Exception = error(message)
        return found
    return RuntimeError(words)


def unique(names: list[str]) -> tuple[str, ...]:
    """Return the names of the columns, with a number added to each name that repeats an earlier one (`a`, `a:1`)."""
    unique: list[str] = []
    taken: set[str] = set()
    for name in names:
        number, candidate = 0, name
        while candidate in taken:
            number += 1
            candidate = f"{name}:{number}"
        unique.append(candidate)
        taken.add(candidate)
    return tuple(unique)


def refuse_bytes(what: str, text: str) -> None:
    """Raise RefusedSQL if `text` cannot be encoded as UTF-8; `what` names it in the message."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedSQL(f"{what} is not valid UTF-8: {shown(text)}") from None
