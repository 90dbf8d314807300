"""How Datasette reads the catalog: read-only, the public views alone, and with nothing open between two statements.

Datasette keeps a connection a thread, and asks `sqlite_master` and PRAGMAs what there is. Here each statement runs behind the
same guard as `ocicat sql`, in a process that is killed where it does not end in time (catalog.reports.workers). That process
opens the catalog and closes it again: no browser that is left open keeps the daemon's WAL from being reset, and a catalog that
was replaced is the new one on the next page. What there is, is answered from catalog/db/views.py, so that no private table is
even named.

Never `immutable`: Datasette with it, beside a writer, answered half its requests with "malformed".
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
from catalog.reports.workers import Workers

COUNT_MS = 1000
"""How long the number of all rows, which a page shows beside them, may take to count."""

PUBLIC = {view.name: view for view in VIEWS}
"""All that there is to see."""

HEAP_BYTES = 192 << 20
"""How much memory one statement of a page may take; THREADS of them run at once."""

THREADS = 3

PAGE_BYTES = 8 << 20
"""How much all rows of one statement may be."""

PAGE_CELLS = 30_000
"""How many values all rows of one statement may have: making a page of them takes about a second."""


class _Column(NamedTuple):
    """A column as Datasette knows them (its utils.Column)."""

    cid: int
    name: str
    type: str = ""
    notnull: int = 0
    default_value: None = None
    is_pk: int = 0
    hidden: int = 0


class ViewsDatabase(Database):  # type: ignore[misc]  # Datasette has no types
    """The catalog at `path`, as a database of Datasette's that holds views and nothing else."""

    def __init__(self, datasette: Datasette, path: str, workers: Workers) -> None:
        super().__init__(datasette, path=path, is_mutable=True)
        self._workers = workers

    def connect(self, write: bool = False) -> sqlite3.Connection:
        """Nobody's: whatever goes round `execute` would go round the guard."""
        raise DatasetteError("The catalog is only read.", status=403)

    async def execute_fn(self, fn: Callable[[sqlite3.Connection], Any]) -> Any:
        """Nobody's, as `connect`."""
        raise DatasetteError("The catalog is only read.", status=403)

    async def execute(
        self,
        sql: str,
        params: Any = None,
        truncate: bool = False,
        custom_time_limit: int | None = None,
        page_size: int | None = None,
        log_sql_errors: bool = True,
    ) -> Results:
        """The rows of a statement.

        Raises sqlite3.OperationalError, which Datasette shows as the reader's mistake, for what is refused, QueryInterrupted
        for what takes too long, and DatasetteError where the catalog cannot serve.
        """
        if custom_time_limit is None and sql.startswith("select count(*) from "):
            custom_time_limit = COUNT_MS
        limit_ms = self.ds.sql_time_limit_ms
        if custom_time_limit and custom_time_limit < limit_ms:
            limit_ms = max(1, custom_time_limit)
        most = self.ds.max_returned_rows
        if most == (page_size or self.ds.page_size):
            most += 1
        asked = Question(
            self.path, sql, params if isinstance(params, list) else dict(params or {}), limit_ms / 1000, HEAP_BYTES,
            page_rows=most if truncate else 0, page_bytes=PAGE_BYTES, page_cells=PAGE_CELLS,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        try:
            with page_time.get().waiting() as begins:
                columns, rows, is_cut = await loop.run_in_executor(
                    self.ds.executor, self._run, asked, lambda: loop.call_soon_threadsafe(begins)
                )
        except Stopped as stopped:
            raise _explained(stopped, sql, params) from None
        if is_cut and not (truncate and (len(rows) == most or _is_of_a_query())):
            raise _wrong(
                f"The rows take more than {PAGE_BYTES >> 20} MiB: ask for fewer (_size=10), or for a part of them."
            )
        if asked_path.get().endswith(".csv"):
            rows = [Row.of(row._columns, tuple(map(_as_csv, row))) for row in rows]  # noqa: SLF001
            columns = tuple(map(csv_text, columns))
        return Results(rows, is_cut and truncate, [(column, *[None] * 6) for column in columns])

    def _run(self, asked: Question, begins: Callable[[], object]) -> tuple[tuple[str, ...], list[Row], bool]:
        """Run a statement; its first frame says that it begins. Return its columns, its rows and whether they are cut."""
        columns: tuple[str, ...] = ()
        rows: list[Row] = []
        is_cut = False
        for number, frame in enumerate(self._workers.ask(asked)):
            if number == 0:
                with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
                    begins()
            if frame.columns is not None:
                columns = tuple(frame.columns)
            rows += [Row.of(columns, marshal.loads(row)) for row in frame.rows]  # noqa: S302 - from our own process
            is_cut = frame.is_cut
        return columns, rows, is_cut

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


def _is_of_a_query() -> bool:
    """Whether the page is that of a statement, which says that rows are left out; a view's page would not."""
    return asked_path.get().rpartition("/")[2].partition(".")[0] not in PUBLIC


def _as_csv(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return csv_text(value) if isinstance(value, str) else value


def _wrong(message: str) -> Any:
    """An error of the asker's. Of one in CSV Datasette would make an empty file, with status 200."""
    if asked_path.get().endswith(".csv"):
        return DatasetteError(message, title="Invalid SQL", status=400)
    return sqlite3.OperationalError(message)


def _explained(stopped: Stopped, sql: str, params: Any) -> Any:
    if stopped.kind == question.LATE:
        return QueryInterrupted(stopped, sql, params)
    if stopped.kind == question.WRONG:
        return _wrong(stopped.words)
    if stopped.kind == question.REFUSED:
        return _wrong(f"{stopped.words} is refused: a statement may only read the public views")
    if stopped.kind == question.NO_QUESTION:
        return _wrong("That is no question: write a SELECT over the public views.")
    if stopped.kind == question.MEMORY:
        return _wrong(f"The statement needs more than {HEAP_BYTES >> 20} MiB of memory: narrow it.")
    if stopped.kind == question.DEFECT:
        return RuntimeError(stopped.words)
    error = explained(stopped, "")
    if isinstance(error, CatalogUnavailable) and stopped.kind == question.ERROR:
        return DatasetteError(str(error), title="The catalog cannot serve", status=503)
    return _wrong(str(error)) if isinstance(error, OcicatError) else error
