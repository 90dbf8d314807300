"""The shared catalog on PostgreSQL: how it is reached, and what went wrong said as an error of ours.

The URL is `postgresql+psycopg://…`, as SQLAlchemy has it; libpq reads what follows, so PGPASSFILE, PGSERVICE, the other
variables of its own and the options of TLS count as they do for psql. No password is ever part of a message.

A catalog on PostgreSQL has many hosts, and a store belongs to the host whose daemon follows it. Which of them this machine
is, each session knows as `ocicat.host`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from catalog.engine.host import this_host
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
CHANNEL = "ocicat"
"""Who listens here is told of every commit."""
ALONE = "LOCK TABLE turn IN SHARE ROW EXCLUSIVE MODE"
TOGETHER = "LOCK TABLE turn IN ROW EXCLUSIVE MODE"
OF_HOST = "SELECT 1 FROM turn WHERE name = %s FOR UPDATE"
EDGES = "LOCK TABLE meta IN SHARE ROW EXCLUSIVE MODE"
EDGES_SHARED = "LOCK TABLE meta IN ROW EXCLUSIVE MODE"
"""The locks of those who write, in the order in which they are taken: ALONE or TOGETHER, the host's own, and that of edges.

No advisory locks: whoever can log in can take those. These want the right to write the tables; who may only read one
can hold none that is in their way.
"""

_LOGIN = re.compile(r"[^?]*@|[^/?]*:(?!\d*(?:[,/?]|$)).*@")
"""What stands before the server in a URL, the @ included, though it may be written so that libpq reads it otherwise: somebody
may have left a /, @ or ? of a password as it is."""
_SECRETS = frozenset({"password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"})
"""Options of libpq that are nobody's business."""
_UNREACHABLE = (
    "08", "25006", "25P03", "25P04", "28", "3D", "53300", "57P",
)  # fmt: skip
"""SQLSTATEs, or their beginnings, that another server, another time or another right may do away with: the connection, a
standby that only reads, a transaction that the server ended, the login, the database, too many clients, a shutdown."""
_NOTICE_SILENCE = {
    "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000,
}  # fmt: skip
"""Seconds, and milliseconds: a server that is gone without a word (its power, a network) is noticed within a minute."""
_SCHEMA = "pg_catalog.current_schema()::pg_catalog.text"
_SESSION = (
    "SELECT pg_catalog.set_config('ocicat.host', %s::pg_catalog.text, false),"
    " pg_catalog.set_config('default_transaction_read_only', %s::pg_catalog.text, false),"
    # No statement runs long enough to repay what compiling it costs.
    " pg_catalog.set_config('jit', 'off', false),"
    # Else a schema called like the user, or a temporary table, would come first.
    " pg_catalog.set_config('search_path', pg_catalog.concat(pg_catalog.quote_ident("
    f"coalesce({_SCHEMA}, 'public')), ', pg_temp'), false),"
    f" pg_catalog.has_schema_privilege('public'::pg_catalog.name, {_SCHEMA}, 'CREATE')"
)
"""Every name in it is qualified: until it has run, another function might be called."""
_MOST_MS = 2**31 - 1
_NO_MEMORY = ("out of memory", "cannot allocate memory")
"""What libpq says where this process has no memory left: no state of the server's comes with it."""
_NO_DRIVER = "PostgreSQL needs psycopg: pip install 'ocicat[postgres]'"


def without_passwords(url: str) -> str:
    """The URL as it may be shown."""
    scheme, _, rest = url.partition("://")
    user, _, behind = _parts(rest)
    place, mark, options = behind.partition("?")
    shown_options = (
        f"{option.partition('=')[0]}=***" if _is_secret(option) else option for option in options.split("&")
    )
    return f"{scheme}://{user}{place}{mark}{'&'.join(shown_options)}"


def _parts(rest: str) -> tuple[str, str, str]:
    """Of a URL behind its scheme: the user with the @, the password, and what follows."""
    found = _LOGIN.match(rest)
    if found is None:
        return "", "", rest
    user, colon, password = found[0][:-1].partition(":")
    return f"{user}@", colon and password, rest[found.end() :]


def _is_secret(option: str) -> bool:
    from urllib.parse import unquote

    return unquote(option.partition("=")[0]) in _SECRETS


def place(url: str) -> str:
    """What tells the catalog at `url` from others, whoever logs in: its server and database, as libpq finds them.

    Empty where that cannot be told: connecting says why.
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
    # What the URL leaves out libpq takes from its variables, and from the file of services.
    found = {each.keyword.decode(): each.val.decode() for each in psycopg.pq.Conninfo.get_defaults() if each.val}
    found |= {key: str(value) for key, value in given.items()}
    found.setdefault("dbname", found.get("user", ""))
    return " ".join(f"{key}={found.get(key, '')}" for key in ("host", "hostaddr", "port", "dbname", "service"))


def conninfo(url: str) -> str:
    """What libpq takes for `url`."""
    return "postgresql://" + url[len(SCHEME) :]


def connect(
    url: str, *, read_only: bool, timeout: float = 10.0, any_schema: bool = False
) -> Connection[tuple[Any, ...]]:
    """A connection that commits each statement by itself. Raises CatalogUnavailable, without a word of the password.

    `timeout` is in seconds. A schema in which everybody may make functions is refused, unless `any_schema` says that it will
    be seen to.
    """
    import logging

    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError as error:
        raise CatalogUnavailable(_NO_DRIVER) from error
    # Both would tell of a lost connection on stderr, in words of their own, beside what is told here.
    for each in ("psycopg", "sqlalchemy"):
        logger = logging.getLogger(each)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
    try:
        # What the URL says itself counts.
        options: dict[str, Any] = {
            "connect_timeout": max(2, int(timeout)),
            "application_name": "ocicat",
            **_NOTICE_SILENCE,
            **conninfo_to_dict(conninfo(url)),
            "client_encoding": "UTF8",
        }
        connection = psycopg.connect(make_conninfo(**options), autocommit=True)
    except psycopg.Error as error:
        raise explain(error, url) from None  # its arguments would be part of a traceback
    try:
        open_to_all = _prepare(connection, read_only=read_only)
    except psycopg.Error as error:
        connection.close()
        raise explain(error, url) from None
    if open_to_all and not any_schema:
        connection.close()
        raise planted(url, "anybody may make functions")
    return connection


def timeout_ms(seconds: float) -> int:
    """A time limit as `statement_timeout` takes it: whole milliseconds, no more than there can be."""
    return max(1, int(min(seconds * 1000, _MOST_MS)))


def planted(url: str, what: str) -> CatalogUnavailable:
    """The error for a schema in which others may have put what ocicat would call."""
    return CatalogUnavailable(
        f"{what} in the schema of {shown(without_passwords(url))}, and ocicat would call them in the place of the server's own: "
        "as an administrator, in that database, see to it as 'ocicat help postgres' says (REVOKE CREATE ON SCHEMA)"
    )


def _prepare(connection: Connection[tuple[Any, ...]], *, read_only: bool) -> bool:
    """Set what every session has: who this host is, whether it may write, and one schema to look for names in, after the
    server's own. Returns whether everybody may make something in that schema.
    """
    found = connection.execute(_SESSION, (this_host(), "on" if read_only else "off")).fetchone()
    return bool(found and found[-1])


def explain(error: Exception, url: str) -> CatalogUnavailable:
    """The error of ours for what psycopg said about the catalog at `url`."""
    import psycopg

    where = shown(without_passwords(url))
    state = getattr(error, "sqlstate", None) or ""
    said = shown(_said(error, url))
    if state in ("40P01", "40001"):
        return CatalogConflict(f"{where} is being written by others: try again")
    if state == "55P03":
        return CatalogLocked(f"{where} is being written by others: try again")
    if state == "57014":
        return CatalogLocked(f"{where} did not answer in time: try again")
    if not state and any(words in str(error) for words in _NO_MEMORY):
        return Exhausted("this needs more memory than it may have: ask for less of it")
    if state.startswith("53") and state != "53300":  # that one: too many clients
        return NoRoom(f"{where} has no room left ({said}): free some space on the server's disk, nothing was lost")
    if state == "42P01":
        return CatalogMissing(f"{where} is no catalog yet: 'ocicat db upgrade' makes one")
    if state == "42501":
        return CatalogUnavailable(
            f"no permission in {where} ({said}): 'ocicat help postgres' lists what each role needs"
        )
    if state.startswith(_UNREACHABLE) or (not state and isinstance(error, psycopg.OperationalError)):
        return CatalogUnreachable(f"cannot reach {where} ({said}): see that the server runs and lets you in")
    return CatalogUnavailable(f"{where} cannot be used ({said}): 'ocicat db check' looks at it")


def _said(error: Exception, url: str) -> str:
    """The first line of what psycopg said, unless it may repeat a part of the password."""
    import psycopg

    _, password, behind = _parts(url.partition("://")[2])
    if set("/@?#") & set(password):
        return "its password ends early, as the URL is written: percent-encode /, @, ? and # in it"
    secrets = [option.partition("=")[2] for option in behind.partition("?")[2].split("&") if _is_secret(option)]
    text = str(error).strip()
    # libpq repeats what it cannot read of a URL.
    if isinstance(error, psycopg.ProgrammingError) and any(each and each in text for each in (password, *secrets)):
        return "its password is not percent-encoded as it should be"
    return text.split("\n", 1)[0] if text else type(error).__name__
