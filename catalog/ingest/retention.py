"""What goes with time: closed spans and snapshots after `history`, the rows of a store that stays missing after `grace`,
and then whatever nothing refers to any more (schema.md section 6).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, delete, select, update

from catalog.db.schema import (
    content,
    edge,
    entry,
    meta,
    name,
    name_span,
    problem,
    referrer,
    repository,
    snapshot,
    store,
    store_blob,
)
from catalog.ingest.names import StoreNames
from catalog.ingest.registry import Registry
from catalog.ingest.rows import Rows
from catalog.ingest.settings import Settings

EVERY_MS = 86_400_000
"""Retention looks at whole tables, so it runs once a day."""


def drop_missing(registry: Registry, rows: Rows, settings: Settings, now: int) -> list[str]:
    """Drop the rows of stores that are missing for longer than the grace time; returns the names of those."""
    dropped: list[str] = []
    for found in registry.stores():
        if found.state != "missing":
            continue
        changed_at = found.changed_at or 0
        if found.entries and now - found.state_since > settings.grace_ms:
            # Their names end here: that is a change like any other, and history keeps it.
            at = max(now, changed_at + 1)
            StoreNames(rows, found.id, None, at, first=False).apply([])
            rows.flush()
            for table in (problem, store_blob):
                registry.connection.execute(delete(table).where(table.c.store_id == found.id))
            registry.connection.execute(
                update(store)
                .where(store.c.id == found.id)
                .values(
                    entries=0,
                    elements=0,
                    sha256=None,
                    file_identity=None,
                    blobs_identity=None,
                    generation=found.generation + 1,
                    changed_at=at,
                )
            )
            dropped.append(found.name)
        elif (
            not found.entries
            and found.root_id is not None
            and now - max(found.state_since, changed_at) > settings.history_ms
        ):
            registry.connection.execute(delete(store).where(store.c.id == found.id))
            dropped.append(found.name)
    return dropped


def prune(connection: Connection, settings: Settings, now: int) -> bool:
    """Prune history and what is referred to no more, if a day has gone since the last time; returns whether it did."""
    last = connection.execute(select(meta.c.value).where(meta.c.key == "pruned_ms")).scalar()
    if last is not None and 0 <= now - int(last) < EVERY_MS:
        return False
    connection.execute(delete(name_span).where(name_span.c.until < now - settings.history_ms))
    connection.execute(delete(snapshot).where(snapshot.c.at < now - settings.history_ms))
    _sweep_content(connection)
    connection.execute(
        delete(repository).where(
            ~select(name.c.id).where(name.c.repository_id == repository.c.id).exists(),
            ~select(name_span.c.id).where(name_span.c.repository_id == repository.c.id).exists(),
        )
    )
    connection.execute(delete(meta).where(meta.c.key == "pruned_ms"))
    connection.execute(meta.insert().values(key="pruned_ms", value=str(now)))
    return True


def _sweep_content(connection: Connection) -> None:
    """Delete the digests that nothing has or points to any more, and with each what it points to itself, in rounds."""
    # What a content says of another one goes with it; what an entry says goes with the entry.
    stale = referrer.alias()
    by = stale.c.referrer_id
    said_by_nothing = and_(stale.c.entry_id.is_(None), *(~_refers(column, by) for column in _HOLDERS))
    while True:
        connection.execute(delete(referrer).where(referrer.c.id.in_(select(stale.c.id).where(said_by_nothing))))
        holders = (*_HOLDERS, referrer.c.subject_id, referrer.c.referrer_id)
        gone = connection.execute(delete(content).where(*(~_refers(column, content.c.id) for column in holders)))
        if not gone.rowcount:
            return


_HOLDERS = (entry.c.content_id, name_span.c.content_id, store_blob.c.content_id, edge.c.child_id)
"""Columns by which a digest is kept: each has an index."""


def _refers(column: Column[Any], content_id: ColumnElement[int]) -> ColumnElement[bool]:
    return select(column).where(column == content_id).correlate(content, content_id.table).exists()
