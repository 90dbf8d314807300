"""A connection that reads the public views and does nothing else, whatever SQL it is given: `sql`, `report` and `browse`.

The statement is anybody's text, so nothing is decided by looking at it. SQLite's authorizer is asked for every access while
the statement is compiled. It allows reading a public view, what that view itself reads, and functions; so there is no ATTACH,
no PRAGMA, no VACUUM INTO, no temporary table, no extension and no private table.

The authorizer is told who reads a table by a name alone, and anybody can call a common table expression `images`. A table
that no column is read of it is told without even that. So the names of the private tables lead elsewhere: the connection's
main database is an empty one in memory, with a view for each private table that the authorizer refuses, and the catalog is
attached, read-only, under a random name that nobody can write. What the public views read is looked up in their own database.

Limits keep one value and the heap from growing; a single instruction can still take long, so the statement runs in a process
that can be killed (workers.py).
"""

from __future__ import annotations

import os
import sqlite3

from catalog.db.recursive import WALKS
from catalog.db.views import VIEWS
from catalog.engine.location import sqlite_uri
from catalog.engine.question import VALUE_BYTES
from catalog.names.escape import shown

_BUSY_SECONDS = 5.0
_STATEMENT_BYTES = 1 << 20
_PATTERN_BYTES = 4096
_COLUMNS = 256
_PUBLIC = frozenset(view.name for view in VIEWS) | frozenset(WALKS)
_TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})
_MARK = "sqlite_source_id"
"""What the refusing views call: the authorizer is told of it, and of the view, when a statement names one."""


class Guard:
    """A `connection` to the catalog at `path` for one statement; raises sqlite3.Error where it cannot be opened.

    `refused` says what the statement tried that is not allowed, as the beginning of a sentence, and is empty before.
    """

    def __init__(self, path: str, heap_bytes: int) -> None:
        self.refused = ""
        self._catalog = f"catalog_{os.urandom(16).hex()}"
        self._private: frozenset[str] = frozenset()
        self.connection = sqlite3.connect(":memory:", isolation_level=None, timeout=_BUSY_SECONDS, uri=True)
        try:
            self._prepare(path, heap_bytes)
        except BaseException:
            self.connection.close()
            raise

    def _prepare(self, path: str, heap_bytes: int) -> None:
        connection = self.connection
        connection.execute(f"PRAGMA hard_heap_limit={heap_bytes}")
        connection.execute("PRAGMA temp_store=MEMORY")  # a sort that is larger than memory fills no disk
        connection.execute(f"ATTACH ? AS {self._catalog}", (sqlite_uri(path, "ro"),))
        tables = connection.execute(
            f"SELECT name FROM {self._catalog}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        ).fetchall()
        self._private = frozenset(table.lower() for (table,) in tables)
        for (table,) in tables:
            quoted = table.replace('"', '""')
            connection.execute(f'CREATE VIEW main."{quoted}" AS SELECT {_MARK}() AS private')
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        for limit, value in (
            (sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES),
            (sqlite3.SQLITE_LIMIT_SQL_LENGTH, _STATEMENT_BYTES),
            (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, _PATTERN_BYTES),
            (sqlite3.SQLITE_LIMIT_COLUMN, _COLUMNS),
            (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
        ):
            connection.setlimit(limit, value)
        for function in _TABLE_FUNCTIONS:
            # Met for the first time it is declared, as if it were created: what the authorizer would refuse.
            connection.execute(f"SELECT 1 FROM {function}('[]')").fetchall()
        connection.set_authorizer(self._authorize)

    def _authorize(
        self, action: int, first: str | None, second: str | None, database: str | None, source: str | None
    ) -> int:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and self._may_read(first or "", second, database, source):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            function = (second or "").lower()
            if function == _MARK and (source or "").lower() in self._private:
                return self._refuse(source)
            return self._refuse(None) if function in _REFUSED_FUNCTIONS else sqlite3.SQLITE_OK
        return self._refuse(first if action == sqlite3.SQLITE_READ else None)

    def _refuse(self, table: str | None) -> int:
        self.refused = self.refused or (f"reading {shown(table)}" if table else "that")
        return sqlite3.SQLITE_DENY

    def _may_read(self, table: str, column: str | None, database: str | None, source: str | None) -> bool:
        if table in _TABLE_FUNCTIONS:
            return True
        if not column:
            # Nothing of it is read but the number of its rows. A view's own tables are told without a database, and so is a
            # name as it stands in the statement, which leads to the refusing views, or to tables of SQLite's own.
            return database is None and not table.lower().startswith(("sqlite_", "pragma_", "dbstat"))
        return database == self._catalog and (source in _PUBLIC or table in _PUBLIC)
