"""The shared catalog opened for writing: many hosts at once, and of each host one writer at a time.

Strategy. A store belongs to one host, so its rows are written by that host alone: every transaction locks the host's row in the
table `turn`, which gives that host's processes the same order that a file's lock gives them on SQLite. A role that may only
ask has no right to that lock. What hosts share, digests
and the words of the dictionaries, is put in by short transactions of its own (catalog.ingest.rows), so that nobody waits for
another host's long one and no two wait for each other; what is said of a digest is written under the lock of its row, in
the order of ids, and so is what is said of another host's store: that it has something to read (catalog.ingest.content).
Where hosts get in each other's way all the same, the server undoes one of the two, and `write` runs it again. What nothing
refers to is deleted under a lock of the whole table, which no other transaction may share (`alone`).

A connection that is lost is made anew by the next transaction. Every commit is told on a channel, which is what `wait` and
the daemon hear.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

import psycopg
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError

from catalog.db.migrate import run_migrations
from catalog.db.schema import SCHEMA_MAJOR, SCHEMA_MINOR
from catalog.engine.driver import OPTION
from catalog.engine.host import this_host
from catalog.engine.interface import Written
from catalog.engine.locks import LOCK_SECONDS
from catalog.engine.postgres.connect import (
    ALONE,
    CHANNEL,
    OF_HOST,
    TOGETHER,
    connect,
    explain,
    planted,
    without_passwords,
)
from catalog.engine.postgres.driver import DRIVER
from catalog.engine.version import is_older
from catalog.errors import CatalogConflict, CatalogMissing, CatalogUnavailable, CatalogVersion
from catalog.names.escape import shown

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Engine

_ALONE_SECONDS = 2.0
_OPEN = (
    "SELECT pg_catalog.quote_ident(pg_catalog.current_schema()::pg_catalog.text), pg_catalog.has_schema_privilege("
    "'public'::pg_catalog.name, pg_catalog.current_schema()::pg_catalog.text, 'CREATE')"
)
_PLANTED = """
WITH trusted AS (
    SELECT nspowner AS id, oid AS schema_id FROM pg_namespace WHERE nspname = %(schema)s
    UNION SELECT relowner, relnamespace FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = %(schema)s AND relname = 'meta'
    UNION SELECT datdba, NULL FROM pg_database WHERE datname = current_database()
    UNION SELECT oid, NULL FROM pg_roles WHERE rolsuper OR rolname = current_user
), made AS (
    SELECT 'the function ' || oid::regprocedure::text AS what, proowner AS owner, pronamespace AS schema_id FROM pg_proc
    UNION ALL SELECT 'the operator ' || oid::regoperator::text, oprowner, oprnamespace FROM pg_operator
)
SELECT what, pg_get_userbyid(owner)::text FROM made
WHERE schema_id IN (SELECT schema_id FROM trusted) AND owner NOT IN (SELECT id FROM trusted) LIMIT 1"""
_MAKING = 0x6F636963  # 'ocic'
_MAKING_SECONDS = 10.0
_TRIES = 6
_CONNECT_SECONDS = 5.0  # a server that does not answer is asked anew, so that one that is back is not noticed late
_PAUSE_SECONDS = 0.05  # doubled with each try, and then any part of it: two that met do not meet again


class PostgresWriter:
    """The catalog at a URL, opened for writing. A context manager; close it in any case.

    `timeout` is how many seconds another writer of this host is waited for. A catalog is made or upgraded by
    `ocicat db upgrade` alone (`create`). Raises CatalogUnavailable and its kinds.
    """

    def __init__(self, url: str, *, timeout: float | None = None, upgrade: bool = False) -> None:
        self.path = url
        self._timeout = LOCK_SECONDS if timeout is None else timeout
        self._listening: psycopg.Connection[tuple[Any, ...]] | None = None
        self._heard = 0
        # An error without SQLAlchemy's words around it.
        connect(url, read_only=True, any_schema=upgrade, timeout=_CONNECT_SECONDS).close()
        self._shared: Engine | None = create_engine(
            "postgresql+psycopg://",
            creator=lambda: connect(url, read_only=False, any_schema=upgrade, timeout=_CONNECT_SECONDS),
            execution_options={OPTION: DRIVER},
            pool_size=2,
            max_overflow=1,
            pool_pre_ping=True,
        )
        event.listen(self._shared, "connect", _in_transactions)
        try:
            self._look_at_schema(upgrade=upgrade)
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
        alone: bool = False,
        unchecked: bool = False,  # noqa: ARG002 - what would take long to check has no constraint there
    ) -> Iterator[Connection]:
        """One transaction under this host's lock: committed at the end of the block, undone when it raises.

        `alone` keeps every other transaction, of whatever host, out.
        """
        with self._explained(), self._engine_now().begin() as connection:
            cursor = connection.connection.cursor()
            # Who waits to be alone has all others wait behind: not for long.
            patience = min(self._timeout, _ALONE_SECONDS) if alone else self._timeout
            cursor.execute(f"SET LOCAL lock_timeout = {max(1, int(patience * 1000))}")
            cursor.execute(ALONE if alone else TOGETHER)
            while cursor.execute(OF_HOST, (this_host(),)).fetchone() is None:
                cursor.execute("INSERT INTO turn (name) VALUES (%s) ON CONFLICT DO NOTHING", (this_host(),))
            yield connection
            cursor.execute(f"SELECT pg_notify('{CHANNEL}', '')")

    def write(self, work: Callable[[Connection], Written], *, alone: bool = False, unchecked: bool = False) -> Written:
        """What `work` returns, which is given a `transaction`; run again where another host's was in the way."""
        for number in range(_TRIES - 1):
            try:
                return self._write(work, alone=alone, unchecked=unchecked)
            except CatalogConflict:
                time.sleep(random.uniform(0, _PAUSE_SECONDS * 2**number))  # noqa: S311 - no secret
        return self._write(work, alone=alone, unchecked=unchecked)

    def _write(self, work: Callable[[Connection], Written], *, alone: bool, unchecked: bool) -> Written:
        with self.transaction(alone=alone, unchecked=unchecked) as connection:
            return work(connection)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A read-only transaction: one state of the catalog, whoever writes meanwhile."""
        with self._explained(), self._engine_now().connect() as connection:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection
            connection.rollback()

    def data_version(self) -> int:
        """A number that changes when anybody has committed, or may have."""
        try:
            if self._listening is None:
                self._listening = connect(self.path, read_only=True, timeout=_CONNECT_SECONDS)
                self._listening.execute(f"LISTEN {CHANNEL}")
                self._heard += 1
            self._heard += sum(1 for _ in self._listening.notifies(timeout=0))
        except psycopg.Error as error:
            if self._listening is not None:
                self._listening.close()
            self._listening = None
            raise explain(error, self.path) from None
        return self._heard

    def checkpoint(self) -> None:
        """Nothing to do: the server sees to it."""

    def vacuum(self) -> None:
        """Let the server take back the room of what was deleted."""
        with self._explained(), self._engine_now().connect() as connection:
            driver = connection.connection.driver_connection
            if isinstance(driver, psycopg.Connection):
                driver.autocommit = True
                driver.execute("VACUUM ANALYZE")
                driver.autocommit = False

    def close(self) -> None:
        """Close every connection."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self._shared is not None:
            self._shared.dispose()
            self._shared = None

    def _engine_now(self) -> Engine:
        if self._shared is None:
            raise CatalogUnavailable("the catalog is closed")
        return self._shared

    def _look_at_schema(self, *, upgrade: bool) -> None:
        where = shown(without_passwords(self.path))
        with self._explained():
            if upgrade:
                with self._engine_now().begin() as connection:
                    self._close_schema(connection)
                    self._refuse_planted(connection)
                    self._keep_others_out(connection)
                    run_migrations(connection)
                return
            with self._engine_now().connect() as connection:
                self._refuse_planted(connection)
                known = connection.exec_driver_sql("SELECT to_regclass('meta')").scalar()
                if known is None:
                    raise CatalogMissing(f"{where} is no catalog yet: 'ocicat db upgrade' makes one")
                found = connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'schema'").scalar()
            if is_older(found, (SCHEMA_MAJOR, SCHEMA_MINOR), where):
                raise CatalogVersion(f"{where} is of an older ocicat: run 'ocicat db upgrade'")

    def _close_schema(self, connection: Connection) -> None:
        """Let nobody but its owner make something in the catalog's schema, as a server before version 15 allows; raises
        CatalogUnavailable if only an administrator can do that.
        """
        schema, is_open = connection.exec_driver_sql(_OPEN).one()
        if not is_open:
            return
        connection.exec_driver_sql(f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC")
        if connection.exec_driver_sql(_OPEN).one()[1]:  # a warning says that it had no right to
            raise planted(self.path, "anybody may make functions")

    def _refuse_planted(self, connection: Connection) -> None:
        """Raise CatalogUnavailable if the schema has a function or an operator of somebody else's, from when that was allowed."""
        schema = connection.exec_driver_sql("SELECT pg_catalog.current_schema()::pg_catalog.text").scalar()
        before = connection.exec_driver_sql("SELECT pg_catalog.current_setting('search_path')").scalar()
        connection.exec_driver_sql("SET LOCAL search_path = pg_catalog")
        found = connection.exec_driver_sql(_PLANTED, {"schema": schema}).first()
        connection.exec_driver_sql(f"SET LOCAL search_path = {before}")
        if found is not None:
            what, owner = found
            raise planted(self.path, f"{shown(what)} of the role {shown(owner)} is")

    def _keep_others_out(self, connection: Connection) -> None:
        """Let one process at a time upgrade, and end it where somebody has read the catalog and not ended the transaction."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, int(self._timeout * 1000))}")
        if connection.exec_driver_sql("SELECT to_regclass('meta')").scalar() is not None:
            connection.exec_driver_sql("LOCK TABLE meta IN SHARE ROW EXCLUSIVE MODE")
            return
        # There is no table yet to lock. This lock anybody can take, so it is only waited for.
        deadline = time.monotonic() + min(self._timeout, _MAKING_SECONDS)
        while not connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({_MAKING})").scalar():
            if time.monotonic() >= deadline:
                break
            time.sleep(_PAUSE_SECONDS)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                raise explain(error.orig, self.path) from None
            raise
        except psycopg.Error as error:
            raise explain(error, self.path) from None


def _in_transactions(driver: psycopg.Connection[tuple[Any, ...]], _record: object) -> None:
    driver.autocommit = False
