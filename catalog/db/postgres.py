"""The shared catalog on PostgreSQL: how it is reached, and what went wrong said as an error of ours.

The URL is `postgresql+psycopg://…`, as SQLAlchemy has it; libpq reads what follows, so PGPASSFILE, PGSERVICE, the other
variables of its own and the options of TLS count as they do for psql. No password is ever part of a message.

A catalog on PostgreSQL has many hosts, and a store belongs to the host whose daemon follows it. Which of them this machine
is, each session knows as `ocicat.host`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from catalog.db.location import is_url
from catalog.errors import (
    CatalogConflict,
    CatalogLocked,
    CatalogMissing,
    CatalogUnavailable,
    CatalogUnreachable,
    NoRoom,
)
from catalog.names.escape import shown
from catalog.names.paths import checked_name

if TYPE_CHECKING:
    from typing import Any

    from psycopg import Connection

SCHEME = "postgresql+psycopg://"
CHANNEL = "ocicat"
"""Who listens here is told of every commit."""
LOCK = 0x6F636963  # 'ocic'
MIGRATING, SHARED, EDGES = range(3)
"""The advisory locks: LOCK with one of these, in the order in which they are taken. A host's own has its name's hash."""

_PASSWORD = re.compile(r"(://[^:/@]*):[^@]*@")
_PASSWORD_OPTION = re.compile(r"([?&](?:ssl)?password=)[^&]*")
_UNREACHABLE = (
    "08", "25006", "25P03", "25P04", "28", "3D", "53300", "57P",
)  # fmt: skip
"""SQLSTATEs, or their beginnings, that another server, another time or another right may do away with: the connection, a
standby that only reads, a transaction that the server ended, the login, the database, too many clients, a shutdown."""
_NO_DRIVER = "PostgreSQL needs psycopg: pip install 'ocicat[postgres]'"


def this_host() -> str:
    """The name of this machine in a shared catalog: OCICAT_HOST, else what the system calls it.

    Raises UsageError for one that could not stand in HOST:STORE.
    """
    return checked_name(os.environ.get("OCICAT_HOST") or os.uname().nodename)


def displayed(where: str) -> str:
    """The catalog's place as it may be shown: a path as it is, a URL without its password."""
    return _PASSWORD_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1@", where)) if is_url(where) else where


def conninfo(url: str) -> str:
    """What libpq takes for `url`."""
    return "postgresql://" + url[len(SCHEME) :]


def connect(url: str, *, read_only: bool, timeout: float = 10.0) -> Connection[tuple[Any, ...]]:
    """A connection that commits each statement by itself. Raises CatalogUnavailable, without a word of the password.

    `timeout` is in seconds.
    """
    try:
        import psycopg
    except ImportError as error:
        raise CatalogUnavailable(_NO_DRIVER) from error
    try:
        connection = psycopg.connect(
            conninfo(url),
            autocommit=True,
            connect_timeout=max(2, int(timeout)),
            application_name="ocicat",
            client_encoding="UTF8",
        )
    except psycopg.Error as error:
        raise explain(error, url) from None  # its arguments would be part of a traceback
    try:
        _prepare(connection, read_only=read_only)
    except psycopg.Error as error:
        connection.close()
        raise explain(error, url) from None
    return connection


def _prepare(connection: Connection[tuple[Any, ...]], *, read_only: bool) -> None:
    """Set what every session has: who this host is, and whether it may write."""
    connection.execute("SELECT set_config('ocicat.host', %s, false)", (this_host(),))
    connection.execute("SET jit = off")  # no statement runs long enough to repay what compiling it costs
    if read_only:
        connection.execute("SET default_transaction_read_only = on")


def explain(error: Exception, url: str) -> CatalogUnavailable:
    """The error of ours for what psycopg said about the catalog at `url`."""
    import psycopg

    where = shown(displayed(url))
    state = getattr(error, "sqlstate", None) or ""
    said = shown(_first_line(error))
    if state in ("40P01", "40001"):
        return CatalogConflict(f"{where} is being written by others: try again")
    if state == "55P03":
        return CatalogLocked(f"{where} is being written by others: try again")
    if state == "57014":
        return CatalogLocked(f"{where} did not answer in time: try again")
    if state.startswith("53") and state != "53300":  # that one: too many clients
        return NoRoom(f"{where} has no room left ({said}): free some space on the server's disk, nothing was lost")
    if state == "42P01":
        return CatalogMissing(f"{where} is no catalog yet: 'ocicat db upgrade' makes one")
    if state == "42501":
        return CatalogUnavailable(f"no permission in {where} ({said}): docs/postgres.md lists what each role needs")
    if state.startswith(_UNREACHABLE) or (not state and isinstance(error, psycopg.OperationalError)):
        return CatalogUnreachable(f"cannot reach {where} ({said}): see that the server runs and lets you in")
    return CatalogUnavailable(f"{where} cannot be used ({said}): 'ocicat db check' looks at it")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.split("\n", 1)[0] if text else type(error).__name__
