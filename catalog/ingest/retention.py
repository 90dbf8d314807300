"""What goes with time: closed spans and snapshots after `history`, the rows of a store that stays missing after `grace`,
and then whatever nothing refers to any more (schema.md section 6).
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update

from catalog.db.schema import content, entry, meta, name, name_span, repository, snapshot, store
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
        age = now - found.state_since
        if found.entries and age > settings.grace_ms:
            # Their names end here: that is a change like any other, and history keeps it.
            StoreNames(rows, found.id, None, max(now, (found.changed_at or 0) + 1), first=False).apply([])
            rows.flush()
            registry.connection.execute(
                update(store)
                .where(store.c.id == found.id)
                .values(
                    entries=0,
                    elements=0,
                    sha256=None,
                    file_identity=None,
                    generation=found.generation + 1,
                    changed_at=now,
                )
            )
            dropped.append(found.name)
        elif not found.entries and age > settings.history_ms and found.root_id is not None:
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
    connection.execute(
        delete(content).where(
            ~select(entry.c.id).where(entry.c.content_id == content.c.id).exists(),
            ~select(name_span.c.id).where(name_span.c.content_id == content.c.id).exists(),
        )
    )
    connection.execute(
        delete(repository).where(
            ~select(name.c.id).where(name.c.repository_id == repository.c.id).exists(),
            ~select(name_span.c.id).where(name_span.c.repository_id == repository.c.id).exists(),
        )
    )
    connection.execute(delete(meta).where(meta.c.key == "pruned_ms"))
    connection.execute(meta.insert().values(key="pruned_ms", value=str(now)))
    return True
