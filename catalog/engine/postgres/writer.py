"""A shared catalog opened for writing, by many hosts at once, with one writer per host at a time.

A store belongs to one host, and only that host writes its rows. Every transaction locks the host's row in the table `turn`, so the
processes of a host write one after the other, as they do with the lock file of a catalog in a file. A role that may only read cannot take
that lock. Digests and the interned strings (repositories, media types, platforms, annotation keys) are shared by all hosts. Short,
separate transactions insert them before the transaction that needs them (catalog.engine.shared_rows), so that nobody waits for a long
transaction of another host, and no two transactions wait for each other. A process never has two transactions at once: behind a pooler
with few sessions, processes that wait for a second session could occupy all of them. Transactions lock rows in the order of their ids:
the row of each digest before they write rows about it, and the rows of stores, including those of other hosts, to record that there is
something to read (catalog.ingest.content_rows). If transactions conflict nevertheless, the server rolls one of them back, and `write`
runs it again. Rows that nothing refers to are deleted under a lock of the whole table `turn`, which excludes all other transactions
(`alone`).

After a connection is lost, the next transaction opens a new one.
"""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

import psycopg
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError

from catalog.db.migrate import run_migrations
from catalog.db.schema import SCHEMA_MAJOR, SCHEMA_MINOR
from catalog.engine.driver import OPTION, raw_connection
from catalog.engine.host import this_host
from catalog.engine.interface import Written
from catalog.engine.locks import LOCK_SECONDS
from catalog.engine.postgres.connect import (
    ALONE,
    OF_HOST,
    TOGETHER,
    connect,
    explain,
    planted,
    without_passwords,
)
from catalog.engine.postgres.driver import DRIVER
from catalog.engine.postgres.settings import STATE, settings
from catalog.engine.shared_rows import CommitFirst
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
_MOST_FIRST = 100
"""How often a transaction is attempted. One that needs shared rows is run again once these are committed, or if others delete them."""
_POLL_SECONDS = 1.0
_CONNECT_SECONDS = 5.0  # A failed attempt is repeated, so a short limit notices soon that a server is back.
# Doubled with each try. The actual pause is a random part of it, so that two writers do not conflict again.
_PAUSE_SECONDS = 0.05


class PostgresWriter:
    """The catalog at a URL, opened for writing. A context manager; it must be closed.

    It waits for another writer of this host for `timeout` seconds, or LOCK_SECONDS if `timeout` is None. With `upgrade`, the catalog is
    created or upgraded; only `ocicat db upgrade` asks for that. Raises CatalogUnavailable or a subclass.
    """

    def __init__(self, url: str, *, timeout: float | None = None, upgrade: bool = False) -> None:
        self.path = url
        self._timeout = LOCK_SECONDS if timeout is None else timeout
        self._state: tuple[object, ...] | None = None
        self._version = 0
        self._next_poll = 0.0
        # Connect once without SQLAlchemy, whose message about a failure would be longer.
        connect(url, any_schema=upgrade, timeout=_CONNECT_SECONDS).close()
        self._shared: Engine | None = create_engine(
            "postgresql+psycopg://",
            creator=lambda: connect(url, any_schema=upgrade, timeout=_CONNECT_SECONDS),
            execution_options={OPTION: DRIVER},
            pool_size=1,
            max_overflow=0,
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
        unchecked: bool = False,  # noqa: ARG002 - the foreign keys that take long to check do not exist here
    ) -> Iterator[Connection]:
        """See Writer. `alone` excludes every other transaction of any host."""
        # All others queue behind a transaction that waits to be alone, so it must not wait for long.
        patience = min(self._timeout, _ALONE_SECONDS) if alone else self._timeout
        with self._explained(), self._engine_now().begin() as connection:
            driver = raw_connection(connection)
            with driver.pipeline():  # one round trip, together with the BEGIN of psycopg
                driver.execute(*settings(lock_timeout=_milliseconds(patience)))
                driver.execute(ALONE if alone else TOGETHER)
                found = driver.execute(OF_HOST, (this_host(),))
            while found.fetchone() is None:
                driver.execute("INSERT INTO turn (name) VALUES (%s) ON CONFLICT DO NOTHING", (this_host(),))
                found = driver.execute(OF_HOST, (this_host(),))
            yield connection
        self._next_poll = 0.0

    def write(self, work: Callable[[Connection], Written], *, alone: bool = False, unchecked: bool = False) -> Written:
        """See Writer."""
        for _ in range(_MOST_FIRST):
            try:
                return self._tried(functools.partial(self._write, work, alone=alone, unchecked=unchecked))
            except CommitFirst as needed:
                for insert in needed.inserts:
                    self._tried(functools.partial(self._insert, insert))
        raise CatalogConflict(
            f"cannot write {shown(without_passwords(self.path))}, because others keep deleting the rows that it needs: try again"
        )

    def _tried(self, do: Callable[[], Written]) -> Written:
        """Return what `do` returns. After a conflict, `do` is called again, at most _TRIES times in all."""
        for number in range(_TRIES - 1):
            try:
                return do()
            except CatalogConflict:
                time.sleep(random.uniform(0, _PAUSE_SECONDS * 2**number))  # noqa: S311 - no secret
        return do()

    def _write(self, work: Callable[[Connection], Written], *, alone: bool, unchecked: bool) -> Written:
        with self.transaction(alone=alone, unchecked=unchecked) as connection:
            return work(connection)

    def _insert(self, insert: Callable[[Connection], None]) -> None:
        # It may wait for another transaction of this kind, which is short, so this writer's patience does not matter.
        with self._settled(lock_timeout=_milliseconds(max(self._timeout, LOCK_SECONDS))) as connection:
            insert(connection)

    @contextlib.contextmanager
    def _settled(self, **others: str) -> Iterator[Connection]:
        """Yield the connection of a transaction with the settings but without any lock."""
        with self._explained(), self._engine_now().begin() as connection:
            raw_connection(connection).execute(*settings(**others))
            yield connection

    @property
    def is_bulk(self) -> bool:
        """See Writer."""
        return False

    def begin_bulk(self) -> None:
        """Do nothing, because other hosts may query the server at any time."""

    def end_bulk(self) -> None:
        """Do nothing, because no index is ever dropped."""

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """See Writer."""
        with self._explained(), self._engine_now().connect() as connection:
            driver = raw_connection(connection)
            with driver.pipeline():
                driver.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                driver.execute(*settings())
            yield connection
            connection.rollback()

    def data_version(self) -> int:
        """See Writer. Asks the server at most once a second, and after each transaction of this writer."""
        now = time.monotonic()
        if now >= self._next_poll:
            with self._explained(), self._engine_now().connect() as connection:
                asking = connection.execution_options(isolation_level="AUTOCOMMIT")
                state = tuple(asking.exec_driver_sql(STATE).one())
            if state != self._state:
                self._state = state
                self._version += 1
            self._next_poll = now + _POLL_SECONDS
        return self._version

    def checkpoint(self) -> None:
        """Do nothing, because the server checkpoints by itself."""

    def vacuum(self) -> None:
        """See Writer."""
        with self._explained(), self._engine_now().connect() as connection:
            driver = connection.connection.driver_connection
            if isinstance(driver, psycopg.Connection):
                driver.autocommit = True
                driver.execute("VACUUM ANALYZE")
                driver.autocommit = False

    def close(self) -> None:
        """Close the connection."""
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
                with self._settled() as connection:
                    self._close_schema(connection)
                    self._refuse_planted(connection)
                    self._keep_others_out(connection)
                    run_migrations(connection)
                return
            with self._settled() as connection:
                self._refuse_planted(connection)
                known = connection.exec_driver_sql("SELECT to_regclass('meta')").scalar()
                if known is None:
                    raise CatalogMissing(f"{where} is not a catalog yet: 'ocicat db upgrade' creates one")
                found = connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'schema'").scalar()
            if is_older(found, (SCHEMA_MAJOR, SCHEMA_MINOR), where):
                raise CatalogVersion(f"{where} is from an older ocicat: run 'ocicat db upgrade'")

    def _close_schema(self, connection: Connection) -> None:
        """Revoke everybody's right to create objects in the catalog's schema, which is the default before PostgreSQL 15.

        Raises CatalogUnavailable if only an administrator can change that.
        """
        schema, is_open = connection.exec_driver_sql(_OPEN).one()
        if not is_open:
            return
        connection.exec_driver_sql(f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC")
        if connection.exec_driver_sql(_OPEN).one()[1]:  # It had no effect: without permission, the server only warns.
            raise planted(self.path, "anybody may create functions")

    def _refuse_planted(self, connection: Connection) -> None:
        """Raise CatalogUnavailable if the schema has a function or operator that somebody else created while that was allowed."""
        schema = connection.exec_driver_sql("SELECT pg_catalog.current_schema()::pg_catalog.text").scalar()
        before = connection.exec_driver_sql("SELECT pg_catalog.current_setting('search_path')").scalar()
        connection.exec_driver_sql("SET LOCAL search_path = pg_catalog")
        found = connection.exec_driver_sql(_PLANTED, {"schema": schema}).first()
        connection.exec_driver_sql(f"SET LOCAL search_path = {before}")
        if found is not None:
            what, owner = found
            raise planted(self.path, f"{shown(what)} of the role {shown(owner)} is")

    def _keep_others_out(self, connection: Connection) -> None:
        """Let only one process upgrade at a time, and fail if a transaction that has read the catalog stays open for too long."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_milliseconds(self._timeout)}")
        if connection.exec_driver_sql("SELECT to_regclass('meta')").scalar() is not None:
            connection.exec_driver_sql("LOCK TABLE meta IN SHARE ROW EXCLUSIVE MODE")
            return
        # There is no table to lock yet. Anybody can take this advisory lock, so the wait for it is limited.
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
    # Each transaction sets this, because somebody may have set another default in a session of a pooler.
    driver.read_only = False


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))
