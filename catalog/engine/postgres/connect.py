"""Connects to a shared catalog on PostgreSQL, and explains errors of the server.

The URL is `postgresql+psycopg://…`, as in SQLAlchemy. libpq reads the rest of it, so PGPASSFILE, PGSERVICE, libpq's other
variables and its TLS options work as with psql. No message ever contains a password.

A shared catalog has many hosts, and a store belongs to the host whose daemon follows it. Each transaction has the name of this
host in the setting `ocicat.host` (catalog.engine.postgres.settings).

There may be a pooler between this process and the server, which may run each transaction in another session. So nothing is kept in a
session: no setting, no lock, no LISTEN, no cursor that outlives its transaction; and behind a pooler, no prepared statement.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from catalog.engine.postgres.settings import SCHEMA
from catalog.errors import (
    CatalogConflict,
    CatalogLocked,
    CatalogMissing,
    CatalogUnavailable,
    CatalogUnreachable,
    Exhausted,
    NoRoom,
)
from catalog.names.escape import shown

if TYPE_CHECKING:
    from typing import Any

    from psycopg import Connection

SCHEME = "postgresql+psycopg://"
ALONE = "LOCK TABLE turn IN SHARE ROW EXCLUSIVE MODE"
TOGETHER = "LOCK TABLE turn IN ROW EXCLUSIVE MODE"
OF_HOST = "SELECT 1 FROM turn WHERE name = %s FOR UPDATE"
EDGES = "LOCK TABLE meta IN SHARE ROW EXCLUSIVE MODE"
EDGES_SHARED = "LOCK TABLE meta IN ROW EXCLUSIVE MODE"
"""The locks of writers, in the order in which they are taken: ALONE or TOGETHER, then OF_HOST, then EDGES or EDGES_SHARED.

They are not advisory locks, because everybody who can log in can take an advisory lock. These locks need the right to write the
tables, so a role that may only read cannot block a writer.
"""

_LOGIN = re.compile(r"[^?]*@|[^/?]*:(?!\d*(?:[,/?]|$)).*@", re.DOTALL)
"""The login in a URL with an @, including the @. It also matches a login that libpq reads differently because a /, @ or ? in the
password is not encoded. If there is an @, the first colon that can begin a password decides, so matching takes linear time."""
_SECRETS = frozenset({"password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"})
"""Options of libpq that must not be shown."""
_UNREACHABLE = (
    "08", "25P03", "25P04", "28", "3D", "53300", "57P",
)  # fmt: skip
"""SQLSTATEs, or prefixes of SQLSTATEs, that mean the server cannot be reached: the connection failed, the server ended the transaction, the
login or database is wrong, there are too many clients, or the server shuts down."""
_READ_ONLY = "0A000", "25006"
"""The SQLSTATEs with which a standby refuses to begin a transaction that may write, and to run a statement that writes."""
_NOTICE_SILENCE = {
    "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000,
}  # fmt: skip
"""In seconds, except for the last, in milliseconds. A server that vanishes (loss of power or network) is noticed within a minute."""
_FIRST = (
    "SELECT pg_catalog.pg_backend_pid(),"
    f" pg_catalog.has_schema_privilege('public'::pg_catalog.name, {SCHEMA}, 'CREATE'),"
    " CASE WHEN pg_catalog.int4eq(pg_catalog.pg_backend_pid(), %s::pg_catalog.int4)"
    " AND pg_catalog.int4ge(pg_catalog.current_setting('server_version_num')::pg_catalog.int4, 140000)"
    " AND pg_catalog.int4gt(pg_catalog.strpos(pg_catalog.version(), 'linux'), 0)"
    " THEN pg_catalog.set_config('client_connection_check_interval', '1000', false) END"
)
"""The first statement of a connection. Its parameter is the id of the server's process according to libpq. If that process answers, and
not a pooler, the server checks each second whether the client is still there, and ends the statement of a client that was killed.
This needs a server on Linux.
"""
_MOST_MS = 2**31 - 1
NO_MEMORY = ("out of memory", "cannot allocate memory")
"""Words in libpq's messages if this process is out of memory. Such an error has no SQLSTATE."""
_NO_DRIVER = "PostgreSQL needs psycopg: pip install 'ocicat[postgres]'"


def without_passwords(url: str) -> str:
    """Return the URL without passwords."""
    scheme, _, rest = url.partition("://")
    user, _, behind = _parts(rest)
    place, mark, options = behind.partition("?")
    shown_options = (
        f"{option.partition('=')[0]}=***" if _is_secret(option) else option for option in options.split("&")
    )
    return f"{scheme}://{user}{place}{mark}{'&'.join(shown_options)}"


def _parts(rest: str) -> tuple[str, str, str]:
    """Split a URL after its scheme: return the user with the @, the password, and the rest."""
    found = _LOGIN.match(rest) if "@" in rest else None
    if found is None:
        return "", "", rest
    user, colon, password = found[0][:-1].partition(":")
    return f"{user}@", colon and password, rest[found.end() :]


def _is_secret(option: str) -> bool:
    from urllib.parse import unquote

    return unquote(option.partition("=")[0]) in _SECRETS


def place(url: str) -> str:
    """Return a text that identifies the catalog at `url` for every login: its server and database, as libpq finds them.

    Empty if they cannot be determined; connecting then reports why.
    """
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        return ""
    try:
        given = conninfo_to_dict(conninfo(url))
    except psycopg.Error:
        return ""
    # libpq takes what the URL leaves out from its variables and from the service file.
    found = {each.keyword.decode(): each.val.decode() for each in psycopg.pq.Conninfo.get_defaults() if each.val}
    found |= {key: str(value) for key, value in given.items()}
    found.setdefault("dbname", found.get("user", ""))
    return " ".join(f"{key}={found.get(key, '')}" for key in ("host", "hostaddr", "port", "dbname", "service"))


def conninfo(url: str) -> str:
    """Return `url` in the form that libpq accepts."""
    return "postgresql://" + url[len(SCHEME) :]


def connect(url: str, *, timeout: float = 10.0, any_schema: bool = False) -> Connection[tuple[Any, ...]]:
    """Open a connection that commits each statement by itself. Raises CatalogUnavailable without showing the password.

    `timeout` is in seconds. A schema in which everybody may create functions is refused, unless `any_schema` is true because the
    caller takes care of it. The caller must begin each transaction with `settings`.
    """
    import logging

    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError as error:
        raise CatalogUnavailable(_NO_DRIVER) from error
    # Otherwise both would also report a lost connection on stderr.
    for each in ("psycopg", "sqlalchemy"):
        logger = logging.getLogger(each)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
    try:
        # Options in the URL override these.
        options: dict[str, Any] = {
            "connect_timeout": max(2, int(timeout)),
            "application_name": "ocicat",
            **_NOTICE_SILENCE,
            **conninfo_to_dict(conninfo(url)),
            "client_encoding": "UTF8",
        }
        connection = psycopg.connect(make_conninfo(**options), autocommit=True)
    except psycopg.Error as error:
        raise explain(error, url) from None  # A traceback would show the arguments, which include the password.
    try:
        found = connection.execute(_FIRST, (connection.info.backend_pid,)).fetchone()
    except psycopg.Error as error:
        connection.close()
        raise explain(error, url) from None
    assert found is not None
    pid, is_open_to_all, _ = found
    if pid != connection.info.backend_pid:
        # A pooler answered with a number of its own. In its sessions, others may have prepared statements with the same names.
        connection.prepare_threshold = None
    if is_open_to_all and not any_schema:
        connection.close()
        raise planted(url, "anybody may create functions")
    return connection


def timeout_ms(seconds: float) -> int:
    """Return a time limit for `statement_timeout`: whole milliseconds within its range."""
    return max(1, int(min(seconds * 1000, _MOST_MS)))


def planted(url: str, what: str) -> CatalogUnavailable:
    """Return the error for a schema in which others may have put functions that ocicat would call."""
    return CatalogUnavailable(
        f"{what} in the schema of {shown(without_passwords(url))}, and ocicat would call them instead of the server's own: "
        "as an administrator, follow 'ocicat help postgres' in that database (REVOKE CREATE ON SCHEMA)"
    )


def explain(error: Exception, url: str) -> CatalogUnavailable:
    """Return ocicat's error for an error of psycopg about the catalog at `url`.

    Raises KeyboardInterrupt if Ctrl-C interrupted a transaction or pipeline, and ending it failed because a statement may still run.
    """
    import psycopg

    before = error.__context__
    while before is not None:
        if isinstance(before, KeyboardInterrupt):
            raise before from None
        before = before.__context__
    where = shown(without_passwords(url))
    state = getattr(error, "sqlstate", None) or ""
    reason = shown(_reason(error, url))
    if state in ("40P01", "40001"):
        return CatalogConflict(f"{where} is being written by others: try again")
    if state == "55P03":
        return CatalogLocked(f"{where} is being written by others: try again")
    if state == "57014":
        return CatalogLocked(f"{where} did not answer in time: try again")
    if not state and any(words in str(error) for words in NO_MEMORY):
        return Exhausted("this needs more memory than is allowed: ask for less")
    if state.startswith("53") and state != "53300":  # 53300 means too many clients.
        return NoRoom(f"{where} has no room left ({reason}): free some space on the server's disk, nothing was lost")
    if state == "42P01":
        return CatalogMissing(f"{where} is not a catalog yet: 'ocicat db upgrade' creates one")
    if state == "42501":
        return CatalogUnavailable(
            f"no permission in {where} ({reason}): 'ocicat help postgres' lists what each role needs"
        )
    if state in _READ_ONLY:  # A replica may be promoted, so a daemon tries again.
        return CatalogUnreachable(f"{where} is a replica, or read-only for now ({reason}): write to the primary server")
    if not state and isinstance(
        error, psycopg.InternalError
    ):  # "received 2 results": the last messages of the server and of the pooler
        reason = "it ended the connection"
    if state.startswith(_UNREACHABLE) or (
        not state and isinstance(error, psycopg.OperationalError | psycopg.InternalError)
    ):
        return CatalogUnreachable(
            f"cannot reach {where} ({reason}): check that the server is running and lets you log in"
        )
    return CatalogUnavailable(f"{where} cannot be used ({reason}): run 'ocicat db check'")


def _reason(error: Exception, url: str) -> str:
    """Return the first line of psycopg's message, unless it may repeat a part of the password."""
    import psycopg

    _, password, behind = _parts(url.partition("://")[2])
    if set("/@?#") & set(password):
        return "the password in the URL contains /, @, ? or #: percent-encode them"
    secrets = [option.partition("=")[2] for option in behind.partition("?")[2].split("&") if _is_secret(option)]
    text = str(error).strip()
    # libpq repeats parts of a URL that it cannot parse.
    if isinstance(error, psycopg.ProgrammingError) and any(each and each in text for each in (password, *secrets)):
        return "the password in the URL is not percent-encoded correctly"
    return text.split("\n", 1)[0] if text else type(error).__name__
