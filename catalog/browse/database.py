"""How Datasette reads the catalog: read-only, only the public views, and without a connection between two statements.

By itself, Datasette keeps one connection per thread, and reads the schema from `sqlite_master` and PRAGMAs. Here each statement
runs behind the same guard as `ocicat sql`, in a process that is killed at the time limit (catalog.reports.workers). That
process opens the catalog and closes it again. So an open browser does not keep the daemon's WAL from being reset, and the next
page sees a catalog that was replaced. The schema comes from catalog/db/views.py, so private tables are not even named.

The database is never `immutable`: with that, Datasette answered half of its requests with "malformed" while a writer was
active.
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

from datasette.app import Datasette
from datasette.database import Database, QueryInterrupted, Results
from datasette.views.base import DatasetteError

from catalog.browse.middleware import asked_path
from catalog.browse.page_time import page_time
from catalog.browse.rows import Row
from catalog.db.view import View
from catalog.db.views import VIEWS
from catalog.engine import question
from catalog.engine.question import Question, Stopped
from catalog.errors import CatalogUnavailable, OcicatError
from catalog.names.escape import csv_text
from catalog.reports.gate import explained
from catalog.reports.suggestions import meant
from catalog.reports.workers import Workers

COUNT_MS = 1000
"""How many milliseconds a page may spend on counting all rows, in order to show their number."""

PUBLIC = {view.name: view for view in VIEWS}
"""The public views by name. Pages show nothing else."""

HEAP_BYTES = 192 << 20
"""How much memory one statement of a page may take."""

THREADS = 3
"""How many statements run at a time."""

PAGE_BYTES = 8 << 20
"""The largest total size of the rows of one statement."""

PAGE_CELLS = 30_000
"""The largest number of values in the rows of one statement. Rendering a page with this many takes about a second."""


class _Column(NamedTuple):
    """A column in the form of Datasette's `utils.Column`."""

    cid: int
    name: str
    type: str = ""
    notnull: int = 0
    default_value: None = None
    is_pk: int = 0
    hidden: int = 0


class ViewsDatabase(Database):  # type: ignore[misc]  # Datasette has no types
    """The catalog at `path` as a Datasette database that contains only views."""

    def __init__(self, datasette: Datasette, path: str, workers: Workers) -> None:
        super().__init__(datasette, path=path, is_mutable=True)
        self._workers = workers
        self.catalog = path

    def connect(self, write: bool = False) -> sqlite3.Connection:
        """Refuse every connection, because a connection of Datasette's own would bypass the guard."""
        raise DatasetteError("The catalog is read-only.", status=403)

    async def execute_fn(self, fn: Callable[[sqlite3.Connection], Any]) -> Any:
        """Refuse, as `connect` does."""
        raise DatasetteError("The catalog is read-only.", status=403)

    async def execute(
        self,
        sql: str,
        params: Any = None,
        truncate: bool = False,
        custom_time_limit: int | None = None,
        page_size: int | None = None,
        log_sql_errors: bool = True,
    ) -> Results:
        """Run a statement; return its rows.

        Raises sqlite3.OperationalError, which Datasette shows as a mistake in the statement, if the statement is refused,
        QueryInterrupted if it takes too long, and DatasetteError if the catalog cannot be read.
        """
        if custom_time_limit is None and sql.startswith("select count(*) from "):
            custom_time_limit = COUNT_MS
        limit_ms = self.ds.sql_time_limit_ms
        if custom_time_limit and custom_time_limit < limit_ms:
            limit_ms = max(1, custom_time_limit)
        most = self.ds.max_returned_rows
        if most == (page_size or self.ds.page_size):
            most += 1
        request = Question(
            self.path, sql, params if isinstance(params, list) else dict(params or {}), limit_ms / 1000, HEAP_BYTES,
            page_rows=most if truncate else 0, page_bytes=PAGE_BYTES, page_cells=PAGE_CELLS,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        try:
            with page_time.get().waiting() as begins:
                columns, rows, is_cut = await loop.run_in_executor(
                    self.ds.executor, self._run, request, lambda: loop.call_soon_threadsafe(begins)
                )
        except Stopped as stopped:
            raise _explained(stopped, sql, params) from None
        if is_cut and not (truncate and (len(rows) == most or _is_of_a_query())):
            raise _wrong(f"The rows are larger than {PAGE_BYTES >> 20} MiB: ask for fewer rows (_size=10) or columns.")
        if asked_path.get().endswith(".csv"):
            rows = [Row.of(row._columns, tuple(map(_as_csv, row))) for row in rows]  # noqa: SLF001 - our own class
            columns = tuple(map(csv_text, columns))
        return Results(rows, is_cut and truncate, [(column, *[None] * 6) for column in columns])

    def _run(self, request: Question, begins: Callable[[], object]) -> tuple[tuple[str, ...], list[Row], bool]:
        """Run a statement, and call `begins` at its first frame; return its columns, its rows and whether rows were cut off."""
        columns: tuple[str, ...] = ()
        rows: list[Row] = []
        is_cut = False
        for number, frame in enumerate(self._workers.ask(request)):
            if number == 0:
                with contextlib.suppress(RuntimeError):  # the server has ended in the meantime
                    begins()
            if frame.columns is not None:
                columns = tuple(frame.columns)
            rows += [Row.of(columns, marshal.loads(row)) for row in frame.rows]  # noqa: S302 - from our own process
            is_cut = frame.is_cut
        return columns, rows, is_cut

    async def attached_databases(self) -> list[Any]:
        """Return nothing: no database is attached."""
        return []

    async def table_exists(self, table: str) -> bool:
        """Return False: no table is shown."""
        return False

    async def table_names(self) -> list[str]:
        """Return nothing: no table is shown."""
        return []

    async def hidden_table_names(self) -> list[str]:
        """Return nothing: no table is shown, so none is hidden either."""
        return []

    async def view_names(self) -> list[str]:
        """Return the names of the public views, in the order of docs/sql.md."""
        return list(PUBLIC)

    async def get_view_definition(self, view: str) -> str | None:
        """Return the SQL of a public view, or None."""
        return PUBLIC[view].create("sqlite") if view in PUBLIC else None

    async def get_table_definition(self, table: str, type_: str = "table") -> str | None:
        """Return None: no table is shown."""
        return None

    async def table_columns(self, table: str) -> list[str]:
        """Return the names of the columns of a public view."""
        return [name for name, _, _ in _columns(table)]

    async def table_column_details(self, table: str) -> list[_Column]:
        """Return the columns of a public view."""
        return [_Column(number, name) for number, (name, _, _) in enumerate(_columns(table))]

    async def primary_keys(self, table: str) -> list[str]:
        """Return nothing: a view has no primary key."""
        return []

    async def fts_table(self, table: str) -> None:
        """Return None: there is no full-text search."""
        return

    async def foreign_keys_for_table(self, table: str) -> list[Any]:
        """Return nothing: a view has no foreign keys."""
        return []

    async def get_all_foreign_keys(self) -> dict[str, Any]:
        """Return nothing: a view has no foreign keys."""
        return {}


def _columns(table: str) -> tuple[tuple[str, str, str], ...]:
    view: View | None = PUBLIC.get(table)
    return view.columns if view is not None else ()


def _is_of_a_query() -> bool:
    """Return whether the page shows a query. The page of a query reports that rows were left out; that of a view does not."""
    return asked_path.get().rpartition("/")[2].partition(".")[0] not in PUBLIC


def _as_csv(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return csv_text(value) if isinstance(value, str) else value


def _wrong(message: str) -> Any:
    """Return an exception for a mistake in the request.

    For CSV it is a DatasetteError, because Datasette would turn an OperationalError into an empty file with status 200.
    """
    if asked_path.get().endswith(".csv"):
        return DatasetteError(message, title="Invalid SQL", status=400)
    return sqlite3.OperationalError(message)


def _explained(stopped: Stopped, sql: str, params: Any) -> Any:
    if stopped.kind == question.LATE:
        return QueryInterrupted(stopped, sql, params)
    if stopped.kind == question.WRONG:
        return _wrong(f"{stopped.words}{f'; {hint.strip()}' if (hint := meant(stopped.words, sql)) else ''}")
    if stopped.kind == question.REFUSED:
        return _wrong(f"{stopped.words} is refused: a statement may only read the public views.")
    if stopped.kind == question.NO_QUESTION:
        return _wrong("The statement is not a query: write a SELECT over the public views.")
    if stopped.kind == question.MEMORY:
        return _wrong(f"The statement needs more than {HEAP_BYTES >> 20} MiB of memory: narrow it.")
    if stopped.kind == question.DEFECT:
        return RuntimeError(stopped.words)
    error = explained(stopped, "")
    if isinstance(error, CatalogUnavailable) and stopped.kind == question.ERROR:
        return DatasetteError(str(error), title="The catalog cannot answer", status=503)
    return _wrong(str(error)) if isinstance(error, OcicatError) else error
