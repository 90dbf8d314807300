"""Makes a first index faster: drops the database indexes that only questions use while they are nearly empty, and creates them at the end.

Inserting into an index at random places costs more than sorting its rows once (docs/performance.md). Meanwhile every question has the
same answer, but SQLite scans the tables for it. While indexes are missing, `meta` has a row that says so: the transaction that drops
them inserts it, and it is deleted after the last index is created. Each pass creates missing indexes at its end, and so does every
process that opens the catalog for writing, so a pass that was killed does no harm (docs/decisions/0025-first-index.md).
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, Index
from sqlalchemy.schema import CreateIndex, DropIndex

from catalog.db.schema import DROPPED_INDEXES, entry, entry_annotation, name

_KEPT = ("ix_entry_store_sort", "ix_name_entry")
"""The indexes that ingest itself uses to find rows."""
_FEW = 1_000
"""Indexes are dropped only in a catalog with at most this many entries, because creating them again takes no time."""


def dropped() -> Iterator[Index]:
    """Yield the indexes that are dropped, in the order in which they are created again."""
    for table in (entry, name, entry_annotation):
        yield from sorted(
            (index for index in table.indexes if index.name not in _KEPT), key=lambda index: str(index.name)
        )


def is_unfinished(connection: Connection) -> bool:
    """Return whether indexes are missing."""
    statement = f"SELECT 1 FROM meta WHERE key = '{DROPPED_INDEXES}'"
    return connection.exec_driver_sql(statement).fetchone() is not None


def drop_indexes(connection: Connection) -> bool:
    """Drop the indexes if the catalog has few entries; return whether they were dropped."""
    found = connection.exec_driver_sql(f"SELECT count(*) FROM (SELECT 1 FROM entry LIMIT {_FEW + 1})").scalar_one()
    if found > _FEW:
        return False
    connection.exec_driver_sql(f"INSERT OR IGNORE INTO meta (key, value) VALUES ('{DROPPED_INDEXES}', 'yes')")
    for index in dropped():
        connection.execute(DropIndex(index, if_exists=True))
    return True


def make_index(connection: Connection, index: Index) -> None:
    """Create one of the indexes, unless it exists."""
    connection.execute(CreateIndex(index, if_not_exists=True))


def finish(connection: Connection) -> None:
    """Record that no index is missing any more."""
    connection.exec_driver_sql(f"DELETE FROM meta WHERE key = '{DROPPED_INDEXES}'")
