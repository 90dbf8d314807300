"""SQL that can only read the public views (docs/scripts.md), as the commands ask it.

What a statement may do at all is guard.py's, on PostgreSQL the server's. It runs in a process of its own (workers.py), which
is killed where it does not end at its time limit, at Ctrl-C, or when nobody reads its rows to their end. The time in which
somebody reads the rows that came does not count.
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
from catalog.names.escape import shown
from catalog.reports.workers import Answer, Workers

_workers = Workers()
atexit.register(_workers.close)


def statements_of(reader: Reader, timeout: float = TIMEOUT_SECONDS) -> Statements:
    """A gate to the catalog that `reader` has open, on whichever engine."""
    return Statements(reader, timeout)


def start_process() -> None:
    """Start the process that the next statement runs in, while other things are done."""
    _workers.start()


class Statements:
    """Runs read-only statements on the catalog that `reader` has open, in another process."""

    def __init__(self, reader: Reader, timeout: float = TIMEOUT_SECONDS) -> None:
        self._path = reader.path
        self._timeout = timeout

    def run(
        self, statement: str, parameters: Mapping[str, str]
    ) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """The columns' names and the rows of one statement, streamed.

        Raises RefusedSQL for what is no SQL or does more than read the public views, NotInTime past the time limit or a
        limit of memory, CatalogUnavailable for a damaged catalog. So does the iterator of rows.
        """
        return self._run(statement, parameters, is_ours=False)

    def run_ours(self, statement: str) -> Iterator[tuple[object, ...]]:
        """The rows of a statement of ocicat's own, which may read private tables, within the same limits; raises the same."""
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
            raise self._explained(stopped) from None
        raise CatalogUnavailable("the statement came to no end: run it again")

    def _explained(self, stopped: Stopped) -> Exception:
        return explained(stopped, f"ran past {self._timeout:g} seconds: narrow it, or give it more with --timeout")


class _Rows(Iterator[tuple[object, ...]]):
    """The rows of an answer; closed before their end, or left, they end the statement."""

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
        """Ask for no more rows."""
        self._rows = iter(())
        self._answer.close()


def explained(stopped: Stopped, late: str) -> Exception:
    """The error of ours for a statement that came to no end; `late` is what is said of one that ran too long."""
    kind, words = stopped.kind, stopped.words
    if kind == question.REFUSED:
        return RefusedSQL(
            f"{words} is refused: a statement may only read the public views, 'ocicat sql --schema' lists them"
        )
    if kind == question.NO_QUESTION:
        return RefusedSQL("that is no question: write a SELECT over the public views, 'ocicat sql --schema' lists them")
    if kind == question.WRONG:
        return RefusedSQL(f"the statement is wrong: {words}; 'ocicat sql --schema' lists views and columns")
    if kind == question.LATE:
        return NotInTime(f"the statement {late}")
    if kind == question.MEMORY:
        return NotInTime(f"the statement needs more than {HEAP_BYTES >> 20} MiB of memory: narrow it")
    if kind == question.LONG:
        return NotInTime(
            f"a row has more than {ROW_BYTES >> 20} MiB: ask for fewer columns, or a part of them (substr)"
        )
    if kind == question.ENDED:
        return NotInTime(f"the process that ran the statement was ended by {shown(words)}: run it again, or narrow it")
    if kind == question.ERROR:
        name, _, message = words.partition(" ")
        error = getattr(errors, name, OcicatError)
        found: Exception = error(message)
        return found
    return RuntimeError(words)


def unique(names: list[str]) -> tuple[str, ...]:
    """The columns' names, a second one of the same name with its number behind it."""
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
    """Raise RefusedSQL for a text that UTF-8 cannot say."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedSQL(f"{what} is not UTF-8: {shown(text)}: write it in UTF-8") from None
