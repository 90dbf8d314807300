"""A first index without the indexes that only questions use: they are dropped while there is nothing in them, and made at the end.

To insert into an index at random places costs more than to sort its rows once (docs/performance.md). Meanwhile every question has the
same answer, but SQLite scans the tables for it. A row in `meta` says that indexes are missing, from the transaction that drops them to the
one that has made the last. Whoever opens the catalog for writing makes them, and so does the end of each pass, so a pass that was killed
leaves nothing behind but that row (docs/decisions/0025-first-index.md).
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, Index
from sqlalchemy.schema import CreateIndex, DropIndex

from catalog.db.schema import DROPPED_INDEXES, entry, entry_annotation, name

_KEPT = ("ix_entry_store_sort", "ix_name_entry")
"""The indexes by which ingest itself looks for rows."""
_FEW = 1_000
"""The most entries of a catalog whose indexes are dropped: they are made anew in no time."""


def dropped() -> Iterator[Index]:
    """Yield the indexes that are dropped, in the order in which they are made."""
    for table in (entry, name, entry_annotation):
        yield from sorted(
            (index for index in table.indexes if index.name not in _KEPT), key=lambda index: str(index.name)
        )


def is_unfinished(connection: Connection) -> bool:
    """Return whether indexes are missing."""
    statement = f"SELECT 1 FROM meta WHERE key = '{DROPPED_INDEXES}'"
    return connection.exec_driver_sql(statement).fetchone() is not None


def drop_indexes(connection: Connection) -> bool:
    """Drop the indexes if the catalog has few entries; return whether they are dropped."""
    found = connection.exec_driver_sql(f"SELECT count(*) FROM (SELECT 1 FROM entry LIMIT {_FEW + 1})").scalar_one()
    if found > _FEW:
        return False
    connection.exec_driver_sql(f"INSERT OR IGNORE INTO meta (key, value) VALUES ('{DROPPED_INDEXES}', 'yes')")
    for index in dropped():
        connection.execute(DropIndex(index, if_exists=True))
    return True


def make_index(connection: Connection, index: Index) -> None:
    """Make one of the indexes, unless it is there."""
    connection.execute(CreateIndex(index, if_not_exists=True))


def finish(connection: Connection) -> None:
    """Note that no index is missing any more."""
    connection.exec_driver_sql(f"DELETE FROM meta WHERE key = '{DROPPED_INDEXES}'")
