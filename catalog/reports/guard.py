"""Keeps a connection to reading the public views, whatever SQL it is given: what `sql`, `report` and `browse` rest on.

The statement is anybody's text, so nothing is decided by looking at it. SQLite's authorizer is asked for every access
while the statement is compiled, and lets pass reading a public view, what that view itself reads, and functions; so there
is no ATTACH, no PRAGMA, no VACUUM INTO, no temporary table, no extension, and no private table, on a connection that is
read-only besides. `mode=ro` alone lets the first three write files. Limits keep one value and the
heap from growing.

That private tables are refused keeps people's SQL working over upgrades, and no secret: who may read the file may read
them by other means, and a common table expression that is called like a view passes for it.
"""

from __future__ import annotations

import sqlite3

from catalog.db.views import VIEWS
from catalog.db.walks import WALKS
from catalog.names.escape import shown

HEAP_BYTES = 512 << 20
"""What SQLite may take in this process, all connections together."""

_LENGTH_BYTES = 64 << 20
_PUBLIC = frozenset(view.name for view in VIEWS) | frozenset(WALKS)
_TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})


class Guard:
    """From now on `connection` reads the public views and does nothing else.

    `refused` says what the last refused statement tried, as the beginning of a sentence, and is empty before: whoever runs
    a statement empties it first.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.refused = ""
        connection.execute(f"PRAGMA hard_heap_limit={HEAP_BYTES}")
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LENGTH_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        for function in _TABLE_FUNCTIONS:
            # Met for the first time it is declared, as if it were created: what the authorizer would refuse.
            connection.execute(f"SELECT 1 FROM {function}('[]')").fetchall()  # noqa: S608
        connection.set_authorizer(self._authorize)

    def _authorize(
        self, action: int, first: str | None, second: str | None, _database: str | None, source: str | None
    ) -> int:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and (
            source in _PUBLIC
            or first in _PUBLIC
            or first in _TABLE_FUNCTIONS
            or not second  # a table of a view that no column is read of: SQLite names no view for it
        ):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in _REFUSED_FUNCTIONS:
            return sqlite3.SQLITE_OK
        self.refused = self.refused or (
            f"reading {shown(first)}" if action == sqlite3.SQLITE_READ and first else "that"
        )
        return sqlite3.SQLITE_DENY
