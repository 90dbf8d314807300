"""How Datasette reads the catalog: read-only, the public views alone, and with nothing open between two statements.

Datasette keeps a connection a thread, and asks `sqlite_master` and PRAGMAs what there is. Here each statement opens the
catalog, runs behind the same guard as `ocicat sql`, and closes it: a tenth of a millisecond or two, for which no browser
that is left open keeps the daemon's WAL from being reset, and a catalog that was replaced is the new one on the next page.
What there is, is answered from catalog/db/views.py, so that no private table is even named.

Never `immutable`: Datasette with it, beside a writer, answered half its requests with "malformed".
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

from datasette.app import Datasette
from datasette.database import Database, Results
from datasette.views.base import DatasetteError

from catalog.browse.door import asked_path
from catalog.db.failures import explain
from catalog.db.view import View
from catalog.db.views import VIEWS
from catalog.errors import CatalogUnavailable
from catalog.lookup.reader import Reader
from catalog.reports.guard import HEAP_BYTES, Guard

COUNT_MS = 1000
"""How long the number of all rows, which a page shows beside them, may take to count."""

PUBLIC = {view.name: view for view in VIEWS}
"""All that there is to see."""

_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOTADB,
    }
)


class _Column(NamedTuple):
    """A column as Datasette knows them (its utils.Column)."""

    cid: int
    name: str
    type: str = ""
    notnull: int = 0
    default_value: None = None
    is_pk: int = 0
    hidden: int = 0


class Catalog(Database):  # type: ignore[misc]  # Datasette has no types
    """The catalog at `path`, as a database of Datasette's that holds views and nothing else."""

    def __init__(self, datasette: Datasette, path: str) -> None:
        super().__init__(datasette, path=path, is_mutable=True)

    def connect(self, write: bool = False) -> sqlite3.Connection:
        """Nobody's: whatever goes round `execute_fn` would go round the guard."""
        raise DatasetteError("The catalog is only read.", status=403)

    async def execute_fn(self, fn: Callable[[sqlite3.Connection], Any]) -> Any:
        """What `fn` makes of a connection that only reads the public views.

        Raises sqlite3.OperationalError, which Datasette shows as the reader's mistake, for what is refused, and
        DatasetteError where the catalog cannot serve.
        """
        return await asyncio.get_running_loop().run_in_executor(self.ds.executor, self._run, fn)

    def _run(self, fn: Callable[[sqlite3.Connection], Any]) -> Any:
        try:
            reader = Reader(self.path)
        except CatalogUnavailable as error:
            raise _unavailable(error) from error
        try:
            self.ds._prepare_connection(reader.connection, self.name)  # noqa: SLF001 - as Database.execute_fn does
            guard = Guard(reader.connection)
            try:
                return fn(reader.connection)
            except MemoryError as error:
                raise sqlite3.OperationalError(
                    f"the statement needs more than {HEAP_BYTES >> 20} MiB of memory: narrow it"
                ) from error
            except sqlite3.Error as error:
                if guard.refused:
                    raise sqlite3.OperationalError(
                        f"{guard.refused} is refused: a statement may only read the public views"
                    ) from error
                if (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _TROUBLE:
                    raise _unavailable(explain(error, self.path)) from error
                if not isinstance(error, sqlite3.OperationalError):
                    raise sqlite3.OperationalError(str(error)) from error
                raise
        finally:
            reader.close()

    async def execute(
        self,
        sql: str,
        params: Any = None,
        truncate: bool = False,
        custom_time_limit: int | None = None,
        page_size: int | None = None,
        log_sql_errors: bool = True,
    ) -> Results:
        """The rows of a statement; what is wrong with it is for its reader's page, not for the terminal."""
        if custom_time_limit is None and sql.startswith("select count(*) from "):
            custom_time_limit = COUNT_MS
        try:
            return await super().execute(sql, params, truncate, custom_time_limit, page_size, log_sql_errors=False)
        except sqlite3.OperationalError as error:
            if asked_path.get().endswith(".csv"):  # of which Datasette would make an empty file, with status 200
                raise DatasetteError(str(error), title="Invalid SQL", status=400) from error
            raise

    async def attached_databases(self) -> list[Any]:
        """None."""
        return []

    async def table_exists(self, table: str) -> bool:
        """No table is shown."""
        return False

    async def table_names(self) -> list[str]:
        """No table is shown."""
        return []

    async def hidden_table_names(self) -> list[str]:
        """No table is shown, so none is hidden either."""
        return []

    async def view_names(self) -> list[str]:
        """The public views, in the order of docs/sql.md."""
        return list(PUBLIC)

    async def get_view_definition(self, view: str) -> str | None:
        """The text of a public view."""
        return PUBLIC[view].create("sqlite") if view in PUBLIC else None

    async def get_table_definition(self, table: str, type_: str = "table") -> str | None:
        """No table is shown."""
        return None

    async def table_columns(self, table: str) -> list[str]:
        """The columns of a public view."""
        return [name for name, _, _ in _columns(table)]

    async def table_column_details(self, table: str) -> list[_Column]:
        """The columns of a public view."""
        return [_Column(number, name) for number, (name, _, _) in enumerate(_columns(table))]

    async def primary_keys(self, table: str) -> list[str]:
        """A view has none."""
        return []

    async def fts_table(self, table: str) -> None:
        """There is no full-text search."""
        return

    async def foreign_keys_for_table(self, table: str) -> list[Any]:
        """A view has none."""
        return []

    async def get_all_foreign_keys(self) -> dict[str, Any]:
        """A view has none."""
        return {}


def _columns(table: str) -> tuple[tuple[str, str, str], ...]:
    view: View | None = PUBLIC.get(table)
    return view.columns if view is not None else ()


def _unavailable(error: CatalogUnavailable) -> DatasetteError:
    return DatasetteError(str(error), title="The catalog cannot serve", status=503)
