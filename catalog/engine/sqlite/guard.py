"""A connection that can only read the public views, for any SQL that `sql`, `report` and `browse` are given.

The statement may come from anybody, so its text is not trusted. SQLite asks the authorizer about every access while it compiles the
statement. The authorizer allows reading a public view, reading the tables that the view itself reads, and functions. So a statement
can use no ATTACH, PRAGMA or VACUUM INTO, and no temporary table, extension or private table.

The authorizer gets only the name of the view that reads a table, and anybody can give a common table expression the name `images`.
If no column of a table is read, the authorizer does not even get that name. So the names of the private tables lead elsewhere: the
connection's main database is an empty one in memory, with a view for each private table that the authorizer refuses. The catalog is
attached, read-only, under a random name that nobody can guess. The public views look up their tables in their own database.

Limits bound the size of a value and of the heap. A single instruction can still take a long time, so the statement runs in a process
that can be killed (catalog/reports/workers.py).
"""

from __future__ import annotations

import os
import sqlite3

from catalog.db.recursive import WALKS
from catalog.db.views import VIEWS
from catalog.engine.location import reading_uri
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
"""The function that the refused views call. If a statement names such a view, the authorizer gets the names of both."""


class Guard:
    """A `connection` to the catalog at `path` for one statement. Raises sqlite3.Error if it cannot be opened.

    `refused` is what the statement tried that is not allowed, as the beginning of a sentence; it is empty if everything was allowed.
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
        connection.execute("PRAGMA temp_store=MEMORY")  # A large sort must not fill the disk.
        connection.execute(f"ATTACH ? AS {self._catalog}", (reading_uri(path),))
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
            # SQLite declares the function like a new table on its first use, which the authorizer would refuse.
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
        self.refused = self.refused or (f"reading {shown(table)}" if table else "the statement")
        return sqlite3.SQLITE_DENY

    def _may_read(self, table: str, column: str | None, database: str | None, source: str | None) -> bool:
        if table in _TABLE_FUNCTIONS:
            return True
        if not column:
            # Only the number of rows is read. The database is None for the tables of a view, and for names in the statement
            # itself, which lead to the refused views or to SQLite's own tables.
            return database is None and not table.lower().startswith(("sqlite_", "pragma_", "dbstat"))
        return database == self._catalog and (source in _PUBLIC or table in _PUBLIC)
