"""How a writer opens the catalog.

Strategy. SQLite in WAL serves any number of readers beside one writer; two things need care that SQLite does not take:
- Before 3.51.3 two connections that checkpoint at once can corrupt the file. So whoever writes holds one lock from
  before BEGIN until after commit and checkpoint, and through the close that ends with a checkpoint.
- The last connection to close removes `-wal` and `-shm`, and then a user who may not write the directory cannot read the
  catalog any more. So a writer keeps a read-only connection, which cannot remove them, and closes it last.
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
from catalog.engine.sqlite.driver import DRIVER
from catalog.engine.sqlite.failures import DRIVER_ERRORS, explain, find
from catalog.errors import CatalogUnavailable
from catalog.exhausted import refuse_exhausted
from catalog.names.escape import shown

_BUSY_MS = 5000
_WAL_KEPT_BYTES = 64 << 20  # a bulk pass leaves a long WAL behind: cut it back
_MODE = 0o640
_CACHE_KIB = 16 << 10  # keys of a bulk pass lie all over its indexes: 32.2 to 30.5 s for a million, with twice this
_PRAGMAS = (
    f"cache_size=-{_CACHE_KIB}",
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    f"journal_size_limit={_WAL_KEPT_BYTES}",
)


class SqliteWriter:
    """The catalog opened for writing: made, upgraded and locked as needed. A context manager; close it in any case.

    `timeout` is how many seconds another writer is waited for, LOCK_SECONDS if it is None. Raises CatalogUnavailable and its kinds.
    """

    def __init__(self, path: str, *, timeout: float | None = None, create: bool = True) -> None:
        self.path = path
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(
        self,
        *,
        alone: bool = False,  # noqa: ARG002 - it always is, here
        unchecked: bool = False,
    ) -> Iterator[Connection]:
        """One transaction under the writer's lock: committed at the end of the block, undone when it raises.

        `alone` keeps out the writers of other hosts too, where there are any. `unchecked` is for deletes that have made sure
        themselves that no row refers to what goes: SQLite neither checks that nor cascades.
        """
        if self._engine is None:
            raise CatalogUnavailable("the catalog is closed")
        with self._locked(), self._explained(), self._unchecked(unchecked), self._engine.begin() as connection:
            yield connection

    def write(self, work: Callable[[Connection], Written], *, alone: bool = False, unchecked: bool = False) -> Written:
        """What `work` returns, which is given a `transaction`.

        Where other hosts write too it may be run again from its beginning: let it keep nothing of a run that failed.
        """
        with self.transaction(alone=alone, unchecked=unchecked) as connection:
            return work(connection)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A read-only transaction that needs no lock: one state of the catalog, whoever writes meanwhile."""
        if self._reading is None:
            raise CatalogUnavailable("the catalog is closed")
        with self._explained(), self._reading.connect() as connection:
            yield connection
            connection.rollback()

    def data_version(self) -> int:
        """A number that changes when anybody else than the reading connection has committed."""
        if self._keeper is None:
            raise CatalogUnavailable("the catalog is closed")
        with self._explained():
            return int(self._keeper.execute("PRAGMA data_version").fetchone()[0])

    def checkpoint(self) -> None:
        """Copy what the WAL holds into the file, as far as readers let it."""
        if self._driver is not None:
            with self._locked(), self._explained():
                self._driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def vacuum(self) -> None:
        """Rebuild the file without free pages."""
        if self._driver is not None:
            with self._locked(), self._explained():
                self._driver.execute("VACUUM")

    def close(self) -> None:
        """Close both connections, the one that writes first, under the lock.

        Where another process holds that for too long, it has the catalog open: this is not the last connection then,
        and closing it checkpoints nothing. What was committed stays so, and is no reason to fail.
        """
        if self._driver is None:
            return
        try:
            with self._locked():
                # A reader that comes when nobody has the catalog open goes through the whole WAL first, which cost more
                # than its answer (docs/performance.md): leave none. Where readers are at work, it stays for the next writer.
                with contextlib.suppress(sqlite3.Error):  # no room, say: the WAL keeps it
                    self._driver.execute("PRAGMA busy_timeout=0")
                    self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._close()
        except CatalogUnavailable:
            self._close()

    def _close(self) -> None:
        for engine in (self._engine, self._reading):
            if engine is not None:
                engine.dispose()
        for connection in (self._driver, self._keeper):
            if connection is not None:
                connection.close()
        self._engine = self._reading = None
        self._driver = self._keeper = None

    def _open(self) -> None:
        from catalog.engine.sqlite.upgrade import is_outdated, upgrade

        with self._explained():
            self._driver = _connect(self.path)
            # Before anything is set: it may be another program's database, which must not be turned into WAL mode.
            outdated = is_outdated(self._driver, self.path)
            for pragma in _PRAGMAS:
                self._driver.execute(f"PRAGMA {pragma}")
            self._engine = _engine(self._driver, "BEGIN IMMEDIATE")
            if outdated:
                upgrade(self._engine, self._driver, self.path)
            self._keeper = sqlite3.connect(
                sqlite_uri(self.path, "ro"), uri=True, isolation_level=None, timeout=_BUSY_MS / 1000
            )
            self._keeper.execute("SELECT count(*) FROM meta").fetchone()  # opens the WAL, which keeps it
            self._reading = _engine(self._keeper, "BEGIN")

    @contextlib.contextmanager
    def _unchecked(self, unchecked: bool) -> Iterator[None]:
        """Check no foreign keys, if `unchecked`. It can be set between two transactions alone."""
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
    """Make the directory and an empty file of mode 0640 where there is none: SQLite would take the umask's mode."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.lexists(path):
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE))
    except OSError as error:
        refuse_exhausted(error)
        raise CatalogUnavailable(
            f"cannot make a catalog at {shown(path)} ({error.strerror}): give a place that you may write with --db"
        ) from error


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(
        sqlite_uri(path, "rw"), uri=True, isolation_level=None, timeout=_BUSY_MS / 1000, check_same_thread=False
    )


def _engine(driver: sqlite3.Connection, begin: str) -> Engine:
    """SQLAlchemy over that one connection.

    Writers begin IMMEDIATE: a read transaction that turns writer fails at once beside another writer.
    """
    engine = create_engine(
        "sqlite://", creator=lambda: driver, poolclass=StaticPool, execution_options={OPTION: DRIVER}
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
