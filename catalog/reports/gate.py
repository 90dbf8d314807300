"""SQL that can only read the public views (docs/scripts.md).

Strategy. What a statement may do at all is guard.py's. A thread beside it ends what runs past the time limit, or is
interrupted by Ctrl-C, which Python notices only between two of its own instructions. A progress handler does not do: it
counts SQLite's instructions, and a single one, say making a value of 60 MB, can take a second. The time in which somebody
reads the rows that came does not count.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping

from catalog.db.failures import explain
from catalog.db.location import is_url
from catalog.errors import NotInTime, RefusedSQL
from catalog.lookup.reader import Reader
from catalog.names.escape import shown
from catalog.reports.guard import HEAP_BYTES, Guard

TIMEOUT_SECONDS = 60.0
_AGAIN_SECONDS = 0.05


def open_gate(reader: Reader, timeout: float = TIMEOUT_SECONDS) -> Gate:
    """A gate to the catalog that `reader` has open, on whichever engine."""
    if is_url(reader.path):
        from catalog.reports.postgres_gate import PostgresGate

        return PostgresGate(reader, timeout)
    return Gate(reader, timeout)


class Gate:
    """Runs read-only statements on the catalog that `reader` has open; the connection serves nothing else after."""

    def __init__(self, reader: Reader, timeout: float = TIMEOUT_SECONDS) -> None:
        self._path = reader.path
        self._timeout = timeout
        self._guard = Guard(reader.connection)
        self._connection = reader.connection
        self._clock = _Clock(reader.connection)

    def run(
        self, statement: str, parameters: Mapping[str, str]
    ) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """The columns' names and the rows of one statement, streamed.

        Raises RefusedSQL for what is no SQL or does more than read the public views, NotInTime past the time limit,
        KeyboardInterrupt when the user ends it, CatalogUnavailable for a damaged catalog.
        """
        refuse_bytes("the statement", statement)
        for name, value in parameters.items():
            refuse_bytes(f"the value of :{name}", value)
        self._guard.refused = ""
        self._clock.start(self._timeout)
        try:
            cursor = self._connection.execute(statement, parameters)
        except (sqlite3.Error, sqlite3.Warning, MemoryError) as error:
            raise self._explained(error) from error
        finally:
            left = self._clock.stop()
        if cursor.description is None:
            raise RefusedSQL(
                "that is no question: write a SELECT over the public views, 'ocicat sql --schema' lists them"
            )
        return unique([column[0] for column in cursor.description]), self._rows(cursor, left)

    def _rows(self, cursor: sqlite3.Cursor, left: float) -> Iterator[tuple[object, ...]]:
        self._clock.start(left)
        try:
            for row in cursor:  # `yield from` would close the cursor at the end, perhaps after its connection
                self._clock.pause()
                yield row
                self._clock.go_on()
        except (sqlite3.Error, MemoryError) as error:
            raise self._explained(error) from error
        finally:
            self._clock.stop()

    def _explained(self, error: Exception) -> BaseException:
        if self._guard.refused:
            return RefusedSQL(
                f"{self._guard.refused} is refused: a statement may only read the public views, 'ocicat sql --schema' lists them"
            )
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_INTERRUPT:
            if self._clock.is_late:
                return NotInTime(
                    f"the statement ran past {self._timeout:g} seconds: narrow it, or give it more with --timeout"
                )
            return KeyboardInterrupt()
        if isinstance(error, MemoryError):
            return NotInTime(f"the statement needs more than {HEAP_BYTES >> 20} MiB of memory: narrow it")
        if (
            isinstance(error, sqlite3.Error)
            and code is not None
            and code & 0xFF
            in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_CANTOPEN,
                sqlite3.SQLITE_CORRUPT,
                sqlite3.SQLITE_IOERR,
                sqlite3.SQLITE_NOTADB,
            )
        ):
            return explain(error, self._path)
        return RefusedSQL(f"the statement is wrong: {shown(str(error))}; 'ocicat sql --schema' lists views and columns")


class _Clock:
    """Interrupts `connection` when its time is over, pauses not counted, or when SIGINT comes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._deadline = 0.0
        self._paused: float | None = None
        self._stop: int | None = None
        self._wakeup: int | None = None
        self.is_late = False

    def start(self, seconds: float) -> None:
        """Begin to count down, in a thread that ends with `stop`."""
        self.stop()
        self.is_late = False
        self._paused = None
        self._deadline = time.monotonic() + seconds
        read, self._stop = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with contextlib.suppress(ValueError):  # another thread than the main one never meets a signal
            self._wakeup = signal.set_wakeup_fd(self._stop, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(read,), daemon=True).start()

    def pause(self) -> None:
        """Somebody reads a row."""
        self._paused = time.monotonic()

    def go_on(self) -> None:
        """The next row is asked for."""
        if self._paused is not None:
            self._deadline += time.monotonic() - self._paused
            self._paused = None

    def stop(self) -> float:
        """End the thread, and say how many seconds were left; again does no harm."""
        if self._wakeup is not None:
            signal.set_wakeup_fd(self._wakeup)
            self._wakeup = None
        if self._stop is not None:
            os.close(self._stop)
            self._stop = None
        return self._deadline - time.monotonic()

    def _watch(self, read: int) -> None:
        while True:
            paused = self._paused is not None
            left = self._deadline - time.monotonic()
            if left <= 0 and not paused:
                self.is_late = True
                self._interrupt()
                left = _AGAIN_SECONDS  # one between two statements is lost
            if select.select([read], [], [], max(left, _AGAIN_SECONDS))[0]:
                signals = os.read(read, 64)
                if not signals:
                    break
                if signal.SIGINT in signals:
                    self._interrupt()
        os.close(read)

    def _interrupt(self) -> None:
        with contextlib.suppress(sqlite3.ProgrammingError):  # closed meanwhile
            self._connection.interrupt()


def unique(names: list[str]) -> tuple[str, ...]:
    """The columns' names, a second one of the same name with its number behind it."""
    unique: list[str] = []
    for name in names:
        number, candidate = 0, name
        while candidate in unique:
            number += 1
            candidate = f"{name}:{number}"
        unique.append(candidate)
    return tuple(unique)


def refuse_bytes(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedSQL(f"{what} is not UTF-8: {shown(text)}: write it in UTF-8") from None
