"""Copies a catalog, with its past, from a file to a server.

The copy is one transaction on the server, which keeps other writers out, and one snapshot of the file. So it happens completely or
not at all, and can be tried again. Each table is streamed into a temporary table, and one statement moves the rows into the real
table. So the server does the work that grows with the catalog, and this process holds only a few rows. Rows get new ids.
The ids of rows that belong to this host are shifted by an offset that the table's sequence provides. All hosts share the tables of
digests, repositories, media types, platforms and annotation keys: a row that exists on the server keeps its id there, and the ids of
other rows are shifted too. Facts about a digest that another host has read are not copied, because they are the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal
from sqlalchemy import Table

from catalog.db.schema import (
    DROPPED_INDEXES,
    UNREAD,
    annotation_key,
    answer_span,
    config,
    content,
    content_annotation,
    descriptor_annotation,
    edge,
    entry,
    host,
    manifest,
    media_type,
    meta,
    metadata,
    moment,
    name,
    past_blob,
    past_entry,
    past_name,
    past_store,
    platform,
    referrer,
    repository,
    store,
    store_span,
    turn,
)
from catalog.engine.host import this_host
from catalog.engine.interface import Writer
from catalog.engine.postgres.connect import timeout_ms, without_passwords
from catalog.errors import UsageError
from catalog.names.escape import shown

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy import Connection

_SHARED = {
    table.name: key
    for table, key in (
        (media_type, "name"), (platform, "name"), (annotation_key, "name"), (repository, "name"), (content, "digest"),
    )
}  # fmt: skip
"""The tables that all hosts share, with the column that identifies a row."""

_DESCRIBED = {
    manifest.name: "content_id",
    config.name: "content_id",
    content_annotation.name: "content_id",
    descriptor_annotation.name: "content_id",
    edge.name: "parent_id",
    referrer.name: "content_id",
}
"""The tables that describe the content of a digest, with the column of the content's id, which is null in a referrer of an entry."""

_PAST = (past_store, past_entry, past_name, past_blob, answer_span, store_span)
_TABLES = [moment, *(each for each in metadata.sorted_tables if each not in (meta, host, turn, moment, *_PAST)), *_PAST]
_OF = {"born": moment, "gone": moment, "answers_from": moment, "store_id": store, "entry_id": entry, "name_id": name}
"""The tables that columns without a foreign key refer to. The rows they refer to may no longer exist."""
_FETCHED = 1000

Draw = Callable[[str, int, int], None]


def copy(source: Writer, target: Writer, draw: Draw, seconds: float | None = None) -> int:
    """Copy everything in the file `source` into the catalog `target` as rows of this host; return the number of rows.

    `draw` is called with the label `copying`, the number of rows done and the total; each row counts once when it is read and once
    when it is written. The server cancels a statement after `seconds`. Raises UsageError if this host already has stores in `target`.
    """
    with target.transaction(alone=True) as connection, source.snapshot() as snapshot:
        if seconds is not None:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {timeout_ms(seconds)}")
        return _Copy(_driver(snapshot), _driver(connection), without_passwords(target.path), draw).run()


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


class _Copy:
    """One copy, inside its two transactions."""

    def __init__(
        self, source: sqlite3.Connection, target: psycopg.Connection[tuple[Any, ...]], where: str, draw: Draw
    ) -> None:
        self._source = source
        self._target = target
        self._where = where
        self._draw = draw
        self._shifts: dict[str, int] = {}
        self._done = self._total = 0

    def run(self) -> int:
        host_id = self._host()
        self._total = 2 * sum(
            self._source.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0] for table in _TABLES
        )
        for table in _TABLES:
            self._stage(table)
            if table.name in _SHARED:
                self._merge(table)
            else:
                self._insert(table, host_id)
                self._execute(SQL("DROP TABLE {}").format(_staged(table)))
        for row in self._source.execute(
            "SELECT key, value FROM meta WHERE key NOT IN ('schema', ?)", (DROPPED_INDEXES,)
        ).fetchall():
            self._target.execute("INSERT INTO meta (key, value) VALUES (%s, %s) ON CONFLICT DO NOTHING", row)
        for table in _TABLES:  # Otherwise the planner has no statistics until autovacuum runs.
            self._execute(SQL("ANALYZE {}").format(Identifier(table.name)))
        return self._total // 2

    def _host(self) -> int:
        """Return the id of this host; raise UsageError if it already has stores there."""
        name_of_host = this_host()
        self._target.execute("INSERT INTO host (name) VALUES (%s) ON CONFLICT DO NOTHING", (name_of_host,))
        found = self._target.execute("SELECT id FROM host WHERE name = %s", (name_of_host,)).fetchone()
        assert found is not None
        for table in ("root", "store", "left_out"):
            statement = SQL("SELECT 1 FROM {} WHERE host_id = %s LIMIT 1").format(Identifier(table))
            if self._target.execute(statement, found).fetchone() is not None:
                raise UsageError(
                    f"{shown(self._where)} already has stores of the host {shown(name_of_host)}: "
                    "copy into another database, or as another host with OCICAT_HOST=NAME"
                )
        return int(found[0])

    def _stage(self, table: Table) -> None:
        """Copy the rows of a table into a temporary one unchanged."""
        own, staged = Identifier(table.name), _staged(table)
        self._execute(SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP").format(staged, own))
        columns = SQL(", ").join(Identifier(column.name) for column in table.columns)
        listed = ", ".join(f'"{column.name}"' for column in table.columns)
        rows = self._source.execute(f"SELECT {listed} FROM {table.name}")
        with self._target.cursor() as cursor, cursor.copy(SQL("COPY {} ({}) FROM STDIN").format(staged, columns)) as to:
            while some := rows.fetchmany(_FETCHED):
                for row in some:
                    to.write_row(row)
                self._progress(len(some))
        if "id" in table.columns:
            self._shift(table)

    def _shift(self, table: Table) -> None:
        """Reserve ids for a table from its sequence, and set the offset that is added to the old ids."""
        sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
        last = self._source.execute(f"SELECT coalesce(max(id), 0) FROM {table.name}").fetchone()[0]
        found = self._execute(SQL(f"SELECT setval({sequence}, nextval({sequence}) + {{}})").format(Literal(last)))
        self._shifts[table.name] = int(found.fetchone()[0]) - last

    def _merge(self, table: Table) -> None:
        """Insert rows of a shared table that do not exist yet. A temporary table then maps each old id to its new one.

        `is_known_here` marks digests whose content the file knows and the server does not.
        """
        own, staged, key = Identifier(table.name), _staged(table), Identifier(_SHARED[table.name])
        columns = [Identifier(column.name) for column in table.columns if column.name != "id"]
        is_content = table is content
        is_known_here = SQL("(old.kind <> {0} AND coalesce(own.kind, {0}) = {0})").format(Literal(UNREAD))
        self._execute(
            SQL(
                "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT old.id, coalesce(own.id, old.id + {}) AS new_id,"
                " own.id IS NULL AS is_new, {} AS is_known_here FROM {} AS old LEFT JOIN {} AS own ON own.{} = old.{}"
            ).format(
                _known(table), Literal(self._shifts[table.name]), is_known_here if is_content else SQL("true"),
                staged, own, key, key,
            )
        )  # fmt: skip
        inserted = self._execute(
            SQL("INSERT INTO {} (id, {}) SELECT known.new_id, {} FROM {} AS known JOIN {} AS old USING (id)"
                " WHERE known.is_new").format(
                own, SQL(", ").join(columns), SQL(", ").join(SQL("old.{}").format(column) for column in columns),
                _known(table), staged,
            )
        )  # fmt: skip
        if is_content:
            self._execute(
                SQL(
                    "UPDATE content SET kind = old.kind, size = old.size, odd = old.odd, long_words = old.long_words FROM {} AS known JOIN {} AS old USING (id)"
                    " WHERE content.id = known.new_id AND known.is_known_here AND NOT known.is_new"
                ).format(_known(table), staged)
            )
        found = self._execute(SQL("SELECT count(*) FROM {}").format(_known(table)))
        self._progress(max(inserted.rowcount, int(found.fetchone()[0])))
        self._execute(SQL("DROP TABLE {}").format(staged))
        self._execute(SQL("ANALYZE {}").format(_known(table)))

    def _insert(self, table: Table, host_id: int) -> None:
        """Insert, with new ids, the rows of a table that belongs to this host or describes the content of digests."""
        values: list[Composable] = []
        joins: list[Composable] = []
        numbers = itertools.count()
        where: Composable = SQL("")
        for column in table.columns:
            old = SQL("old.{}").format(Identifier(column.name))
            refers = next((key.column.table for key in column.foreign_keys), None)
            if column.name == "id":
                refers = table
            elif refers is None:
                refers = _OF.get(column.name)
            if refers is None:
                values.append(old)
            elif refers is host:
                values.append(Literal(host_id))
            elif refers.name in _SHARED:
                known = Identifier(f"known_{next(numbers)}")
                # A LEFT JOIN, so that a row whose digest is missing makes the copy fail instead of being left out.
                joins.append(SQL(" LEFT JOIN {} AS {} ON {}.id = {}").format(_known(refers), known, known, old))
                values.append(SQL("{}.new_id").format(known))
                if _DESCRIBED.get(table.name) == column.name:
                    where = SQL(" WHERE {}.is_known_here OR {} IS NULL").format(known, old)
            elif refers is moment:  # 0 means before the first moment
                shift = Literal(self._shifts[refers.name])
                values.append(SQL("CASE WHEN {0} = 0 THEN 0 ELSE {0} + {1} END").format(old, shift))
            else:
                values.append(SQL("{} + {}").format(old, Literal(self._shifts[refers.name])))
        columns = SQL(", ").join(Identifier(column.name) for column in table.columns)
        self._execute(
            SQL("INSERT INTO {} ({}) SELECT {} FROM {} AS old{}{}").format(
                Identifier(table.name), columns, SQL(", ").join(values), _staged(table), SQL("").join(joins), where
            )
        )
        found = self._execute(SQL("SELECT count(*) FROM {}").format(_staged(table)))
        self._progress(int(found.fetchone()[0]))

    def _progress(self, rows: int) -> None:
        self._done += rows
        self._draw("copying", self._done, self._total)

    def _execute(self, statement: SQL | Composed) -> Any:
        return self._target.execute(statement)


def _staged(table: Table) -> Identifier:
    return Identifier(f"copied_{table.name}")


def _known(table: Table) -> Identifier:
    return Identifier(f"known_{table.name}")
