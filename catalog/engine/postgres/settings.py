"""The settings with which every transaction begins.

They belong to the transaction and not to the session. Behind a pooler that shares sessions, such as pgbouncer in transaction mode, the
next transaction of this process may run in another session, and the next one in this session may be another host's.
"""

from __future__ import annotations

import functools

from catalog.engine.host import this_host

SCHEMA = "pg_catalog.current_schema()::pg_catalog.text"
_ALWAYS = (
    "SELECT pg_catalog.set_config('ocicat.host', %s::pg_catalog.text, true),"
    # No statement runs long enough to make compiling it worthwhile.
    " pg_catalog.set_config('jit', 'off', true),"
    # Otherwise a schema with the name of the user, or a temporary table, would be searched first.
    f" pg_catalog.set_config('search_path', pg_catalog.concat(pg_catalog.quote_ident(coalesce({SCHEMA}, 'public')),"
    " ', pg_temp'), true)"
)
"""Every name in this statement is qualified. Until it has run, an unqualified name might call somebody else's function."""

STATE = (
    "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, pg_catalog.pg_postmaster_start_time()::pg_catalog.text,"
    " (SELECT oid::pg_catalog.text FROM pg_catalog.pg_database"
    " WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())"
)
"""The statement whose row changes with every commit, and if the server or the database is replaced. It needs no rights, and unlike
NOTIFY it costs writers nothing."""


def settings(**others: str) -> tuple[str, tuple[str, ...]]:
    """Return the statement that sets the host, the search path and `others` until the end of the transaction, and its parameters.

    It has to be the first statement of the transaction, except for a statement that sets the isolation level. Raises UsageError
    if the name of this host is not valid.
    """
    return _statement(tuple(others)), (this_host(), *others.values())


@functools.cache
def _statement(names: tuple[str, ...]) -> str:
    return ", ".join((_ALWAYS, *(f"pg_catalog.set_config('{name}', %s::pg_catalog.text, true)" for name in names)))
