"""The catalog's file opened for writing.

In WAL mode SQLite serves any number of readers beside one writer. Two things need care:
- Before version 3.51.3, two connections that checkpoint at once can corrupt the file. So a writer holds one lock from
  before BEGIN until after commit and checkpoint, and during the close, which ends with a checkpoint.
- The last connection that closes removes `-wal` and `-shm`. Then a user who may not write the directory can no longer read
  the catalog. So a writer keeps a read-only connection, which cannot remove them, and closes it last.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from typing import Self

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from catalog.engine.driver import OPTION
from catalog.engine.interface import Written
from catalog.engine.location import sqlite_uri
from catalog.engine.locks import LOCK_SECONDS, WRITER, FileLock, retire_old_lock
from catalog.engine.sqlite import bulk
from catalog.engine.sqlite.driver import DRIVER
from catalog.engine.sqlite.failures import DRIVER_ERRORS, explain, find
from catalog.errors import CatalogUnavailable
from catalog.exhausted import refuse_exhausted
from catalog.names.escape import shown

_BUSY_MS = 5000
_WAL_KEPT_BYTES = 64 << 20  # A bulk pass leaves a long WAL behind, which is truncated to this.
_MODE = 0o640
_CACHE_KIB = (
    16 << 10
)  # A bulk pass writes all over the indexes. With twice as much, a million entries take 30.5 instead of 32.2 s.
_PRAGMAS = (
    f"cache_size=-{_CACHE_KIB}",
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    f"journal_size_limit={_WAL_KEPT_BYTES}",
)


class SqliteWriter:
    """The catalog opened for writing, after it was created or upgraded if needed. A context manager; it must be closed.

    It waits for another writer for `timeout` seconds, or LOCK_SECONDS if `timeout` is None. Raises CatalogUnavailable or a subclass.
    """

    def __init__(self, path: str, *, timeout: float | None = None, create: bool = True) -> None:
        self.path = path
        self.is_bulk = False
        self._timeout = LOCK_SECONDS if timeout is None else timeout
        self._lock = FileLock(path + WRITER, f"{shown(path)} is being written by another process: try again")
        self._keeper: sqlite3.Connection | None = None
        self._engine: Engine | None = None
        self._reading: Engine | None = None
        self._driver: sqlite3.Connection | None = None
        if create:
            _make_file(path)
        find(path)
        with self._locked():
            try:
                retire_old_lock(path)
                self._open()
            except BaseException:
                self._close()
                raise
        try:
            self.end_bulk()  # in case a pass that dropped indexes was killed
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(
        self,
        *,
        alone: bool = False,  # noqa: ARG002 - every transaction is alone here
        unchecked: bool = False,
    ) -> Iterator[Connection]:
        """See Writer. With `unchecked`, SQLite neither checks foreign keys nor cascades."""
        if self._engine is None:
            raise CatalogUnavailable("the catalog is closed")
        with self._locked(), self._explained(), self._unchecked(unchecked), self._engine.begin() as connection:
            yield connection

    def write(self, work: Callable[[Connection], Written], *, alone: bool = False, unchecked: bool = False) -> Written:
        """See Writer."""
        with self.transaction(alone=alone, unchecked=unchecked) as connection:
            return work(connection)

    def begin_bulk(self) -> None:
        """See Writer."""
        with self.transaction() as connection:
            is_dropped = bulk.drop_indexes(connection)
        self.is_bulk = is_dropped

    def end_bulk(self) -> None:
        """See Writer. Each index is made in a transaction of its own, so that the WAL does not hold all of them at once."""
        with self.snapshot() as connection:
            is_unfinished = bulk.is_unfinished(connection)
        if is_unfinished:
            for index in bulk.dropped():
                with self.transaction() as connection:
                    bulk.make_index(connection, index)
            with self.transaction() as connection:
                bulk.finish(connection)
        self.is_bulk = False

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """See Writer."""
        if self._reading is None:
            raise CatalogUnavailable("the catalog is closed")
        with self._explained(), self._reading.connect() as connection:
            yield connection
            connection.rollback()

    def data_version(self) -> int:
        """See Writer. The number comes from the reading connection, so this process's own commits count too."""
        if self._keeper is None:
            raise CatalogUnavailable("the catalog is closed")
        with self._explained():
            return int(self._keeper.execute("PRAGMA data_version").fetchone()[0])

    def checkpoint(self) -> None:
        """See Writer."""
        if self._driver is not None:
            with self._locked(), self._explained():
                self._driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def vacuum(self) -> None:
        """Rebuild the file without free pages."""
        if self._driver is not None:
            with self._locked(), self._explained():
                self._driver.execute("VACUUM")

    def close(self) -> None:
        """Close both connections under the lock, the writing one first.

        If another process holds the lock for too long, it has the catalog open. Then this connection is not the last one, closing
        it does not checkpoint, and the lock is not needed. Nothing that was committed is lost.
        """
        if self._driver is None:
            return
        try:
            with self._locked():
                # Leave no WAL behind. If nobody has the catalog open, the next reader must first read the whole WAL, which costs
                # more than its answer (docs/performance.md). If readers are active, the WAL is left for the next writer.
                with contextlib.suppress(sqlite3.Error):  # Without space, for example, everything stays in the WAL.
                    self._driver.execute("PRAGMA busy_timeout=0")
                    self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._close()
        except CatalogUnavailable:
            self._close()

    def _close(self) -> None:
        # In this order: an engine that was used closes its connection, and the connection that keeps the WAL has to close last.
        for engine, connection in ((self._engine, self._driver), (self._reading, self._keeper)):
            if connection is not None:
                connection.close()
            if engine is not None:
                engine.dispose()
        self._engine = self._reading = None
        self._driver = self._keeper = None

    def _open(self) -> None:
        from catalog.engine.sqlite.upgrade import is_outdated, upgrade

        with self._explained():
            self._driver = _connect(self.path)
            # This comes before the pragmas, because a database of another program must not be switched to WAL mode.
            outdated = is_outdated(self._driver, self.path)
            for pragma in _PRAGMAS:
                self._driver.execute(f"PRAGMA {pragma}")
            self._engine = _engine(self._driver, "BEGIN IMMEDIATE")
            if outdated:
                upgrade(self._engine, self._driver, self.path)
            self._keeper = sqlite3.connect(
                sqlite_uri(self.path, "ro"), uri=True, isolation_level=None, timeout=_BUSY_MS / 1000
            )
            self._keeper.execute("SELECT count(*) FROM meta").fetchone()  # This opens the WAL, and so keeps it.
            self._reading = _engine(self._keeper, "BEGIN")

    @contextlib.contextmanager
    def _unchecked(self, unchecked: bool) -> Iterator[None]:
        """Switch off the checks of foreign keys if `unchecked`. This is only possible outside a transaction."""
        if not unchecked or self._driver is None:
            yield
            return
        self._driver.execute("PRAGMA foreign_keys=OFF")
        try:
            yield
        finally:
            self._driver.execute("PRAGMA foreign_keys=ON")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.acquire(self._timeout)
        try:
            yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.Error):
                raise explain(error.orig, self.path) from error
            raise
        except DRIVER_ERRORS as error:
            raise explain(error, self.path) from error


def _make_file(path: str) -> None:
    """Create the directory and an empty file with mode 0640 if there is none. SQLite would use the umask."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.lexists(path):
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE))
    except OSError as error:
        refuse_exhausted(error)
        raise CatalogUnavailable(
            f"cannot create a catalog at {shown(path)} ({error.strerror}): give a path that you may write with --db"
        ) from error


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(
        sqlite_uri(path, "rw"), uri=True, isolation_level=None, timeout=_BUSY_MS / 1000, check_same_thread=False
    )


def _engine(driver: sqlite3.Connection, begin: str) -> Engine:
    """Return an engine of SQLAlchemy that uses only this connection.

    Writers begin IMMEDIATE, because a read transaction that starts to write fails at once if there is another writer.
    """
    engine = create_engine(
        "sqlite://", creator=lambda: driver, poolclass=StaticPool, execution_options={OPTION: DRIVER}
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
