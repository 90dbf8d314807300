"""The statements that write rows. SQLAlchemy compiles each from its table, once per process.

Compiling a statement costs as much as writing 50 rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Dialect, Table, bindparam, select, update

from catalog.db.schema import annotation_key, content, media_type, platform, repository, store
from catalog.engine.driver import Driver
from catalog.ingest.records import StoreRow

_DICTIONARIES = (media_type, platform, annotation_key, repository)

_compiled: dict[tuple[str, str], str] = {}  # by dialect and statement


class CompiledStatements:
    """Statements for one driver, with positional parameters."""

    def __init__(self, driver: Driver, dialect: Dialect) -> None:
        self._driver = driver
        self._dialect = dialect

    def lookup(self, table: Table) -> str:
        """Return the statement that finds the id of a string in a table of interned strings, such as media types."""

        def make() -> tuple[Any, Sequence[str]]:
            return select(table.c.id).where(table.c.name == bindparam("text")), ("text",)

        return self._text(f"lookup {table.name}", make)

    def insert(self, table: Table) -> str:
        """Return the statement that inserts a row, given its columns in order. For `content`, it inserts a digest if it is new."""

        def make() -> tuple[Any, Sequence[str]]:
            insert = self._driver.insert
            if table is content:
                return insert(content).values(digest=bindparam("digest")).on_conflict_do_nothing(), ("digest",)
            values: dict[str, Any] = {column.name: bindparam(f"v_{column.name}") for column in table.columns}
            # inline() leaves out RETURNING, which executemany has rejected since Python 3.12.
            statement = insert(table).values(values).inline()
            if self._driver.is_shared and table in _DICTIONARIES:
                statement = statement.on_conflict_do_nothing()
            return statement, [f"v_{column.name}" for column in table.columns]

        return self._text(f"insert {table.name}", make)

    def update_store(self) -> str:
        """Return the statement that sets the columns of StoreRow. Its last parameter is the id of the store."""

        def make() -> tuple[Any, Sequence[str]]:
            values: dict[str, Any] = {column: bindparam(f"v_{column}") for column in StoreRow._fields}
            # Another host may have set it after the row was read.
            values["content_pending"] = store.c.content_pending | values["content_pending"]
            ordered: list[tuple[Any, Any]] = [(store.c[column], value) for column, value in values.items()]
            return (
                update(store).where(store.c.id == bindparam("which")).ordered_values(*ordered),
                [*(f"v_{column}" for column in StoreRow._fields), "which"],
            )

        return self._text("update store", make)

    def _text(self, key: str, make: Callable[[], tuple[Any, Sequence[str]]]) -> str:
        """Return the text of a statement. `make` returns the statement and the names of its parameters in order."""
        known = (self._dialect.name, key)
        text = _compiled.get(known)
        if text is None:
            statement, order = make()
            compiled = statement.compile(dialect=self._dialect)
            if list(compiled.positiontup or ()) != list(order):
                raise RuntimeError(f"{key}: the order of the parameters is {compiled.positiontup}")
            text = _compiled[known] = str(compiled)
        return text
