"""Retention: delete history after `history_ms`, rows of missing stores after `grace_ms`, and then everything that nothing refers to."""

from __future__ import annotations

import contextlib

from sqlalchemy import Connection, delete, func, or_, select, update

from catalog.db.schema import (
    UNREAD,
    answer_span,
    config,
    content,
    content_annotation,
    descriptor_annotation,
    edge,
    entry,
    host,
    manifest,
    meta,
    moment,
    name,
    name_span,
    past_blob,
    past_entry,
    past_name,
    past_store,
    problem,
    referrer,
    repository,
    snapshot,
    store,
    store_blob,
    store_span,
)
from catalog.engine.boot import boot_id, ran_ms
from catalog.engine.interface import Writer
from catalog.errors import CatalogLocked
from catalog.ingest.names import StoreNames
from catalog.ingest.parameters import chunks
from catalog.ingest.registry import Registry
from catalog.ingest.rows import Rows
from catalog.ingest.settings import Settings
from catalog.ingest.store_state import is_retention_due
from catalog.ingest.words import forget_words

_STEP_MS = 3_600_000
_BELIEVED_MS = 86_400_000


def retain(writer: Writer, settings: Settings, now: int) -> list[str]:
    """Run `drop_missing`, and `prune` if a day has passed since the last time. Return the names of the stores whose rows were dropped.

    Nothing is done if the clock was set within the last day or since the last change, because a clock that is a year ahead for a while
    would delete the past. Only changes in the current boot are compared. Pruning locks out all hosts; if one of them writes for long,
    pruning is left for the next time.
    """
    with writer.snapshot() as connection:
        if not _is_believed(connection, now):
            return []
    dropped = writer.write(lambda connection: drop_missing(Registry(connection), Rows(connection), settings, now))
    with writer.snapshot() as connection:
        due = is_retention_due(_last(connection), now)
    if due:
        with contextlib.suppress(CatalogLocked):
            # One millisecond later, so that the rows that have just been dropped are in the past.
            writer.write(lambda connection: prune(connection, settings, now + 1), alone=True)
            writer.write(forget_words, alone=True, unchecked=True)
    return dropped


def _is_believed(connection: Connection, now: int) -> bool:
    """Return whether the clock, which shows `now`, has not been set since the recent changes of this boot were recorded."""
    mine = moment.c.boot == boot_id(), moment.c.host_id == Registry(connection).host_id
    offset = moment.c.at - moment.c.ran
    last = select(func.max(moment.c.id)).where(*mine).scalar_subquery()
    recent = or_(moment.c.ran >= ran_ms() - _BELIEVED_MS, moment.c.id == last)
    least, most = connection.execute(select(func.min(offset), func.max(offset)).where(*mine, recent)).one()
    by_now = now - ran_ms()
    return least is None or max(abs(by_now - least), abs(by_now - most)) <= _STEP_MS


def drop_missing(registry: Registry, rows: Rows, settings: Settings, now: int) -> list[str]:
    """Drop the rows of stores that have been missing for longer than the grace time. Return their names.

    A store below a root that has no rows any more is removed after the history time.
    """
    dropped: list[str] = []
    for found in registry.stores():
        if found.state != "missing":
            continue
        changed_at = found.changed_at or 0
        holds = found.entries or found.blobs_identity is not None
        if holds and now - found.state_since > settings.grace_ms:
            # The end of their names is a change like any other, and history records it.
            at = max(now, changed_at + 1)
            rows.moment.keep_emptied([found.id])
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
                    content_pending=False,
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
            rows.moment.keep_whole([found.id])
            registry.connection.execute(delete(store).where(store.c.id == found.id))
            dropped.append(found.name)
    return dropped


def prune(connection: Connection, settings: Settings, now: int) -> bool:
    """Prune history and unreferenced rows if a day has passed since the last time. Return whether that was done."""
    if not is_retention_due(_last(connection), now):
        return False
    # The history that a layout itself records is kept for as long as the layout has it.
    told = select(store.c.id).where(store.c.id == name_span.c.store_id, store.c.sha256.is_not(None)).exists()
    connection.execute(
        delete(name_span).where(name_span.c.until < now - settings.history_ms, or_(name_span.c.origin.is_(None), ~told))
    )
    connection.execute(delete(snapshot).where(snapshot.c.at < now - settings.history_ms))
    _prune_past(connection, now - settings.history_ms)
    _sweep_content(connection)
    connection.execute(
        delete(repository).where(
            ~select(name.c.id).where(name.c.repository_id == repository.c.id).exists(),
            ~select(name_span.c.id).where(name_span.c.repository_id == repository.c.id).exists(),
            ~select(answer_span.c.id).where(answer_span.c.repository_id == repository.c.id).exists(),
            ~select(past_name.c.name_id).where(past_name.c.repository_id == repository.c.id).exists(),
        )
    )
    connection.execute(delete(meta).where(meta.c.key == "pruned_ms"))
    connection.execute(meta.insert().values(key="pruned_ms", value=str(now)))
    return True


def _last(connection: Connection) -> str | None:
    """Return the time when `prune` last ran, as stored in the catalog."""
    return connection.execute(select(meta.c.value).where(meta.c.key == "pruned_ms")).scalar()


def _prune_past(connection: Connection, before: int) -> None:
    """Delete rows that were valid only before a time (milliseconds), that is, before the moment that was current then.

    The first moment stays, because the history that layouts record counts only before it. The order of moments decides,
    not their times, because one change while the clock was a year behind must not delete the whole past.
    """
    for host_id in connection.execute(select(host.c.id)).scalars().all():
        mine = moment.c.host_id == host_id
        first, last = connection.execute(select(func.min(moment.c.id), func.max(moment.c.id)).where(mine)).one()
        later = connection.execute(select(func.min(moment.c.id)).where(mine, moment.c.label > before)).scalar()
        kept = last
        if later is not None:
            kept = connection.execute(select(func.max(moment.c.id)).where(mine, moment.c.id < later)).scalar() or first
        if first is None or kept == first:
            continue
        over = select(moment.c.id).where(mine, moment.c.id <= kept)
        for table in (past_store, past_entry, past_name, past_blob, answer_span, store_span):
            connection.execute(delete(table).where(table.c.gone.in_(over)))
        connection.execute(delete(moment).where(mine, moment.c.id < kept, moment.c.id != first))
        connection.execute(update(moment).where(moment.c.id == first).values(forgotten=True))


def _sweep_content(connection: Connection) -> None:
    """Delete the content of digests that are no longer in any store, and the digests that nothing refers to."""
    is_held = select(store_blob.c.content_id).where(store_blob.c.content_id == content.c.id).exists()
    was_held = select(past_blob.c.content_id).where(past_blob.c.content_id == content.c.id).exists()
    forgotten = (
        connection.execute(select(content.c.id).where(content.c.kind != UNREAD, ~is_held, ~was_held)).scalars().all()
    )
    for some in chunks(forgotten):
        for table in (manifest, config, content_annotation, descriptor_annotation, referrer):
            connection.execute(delete(table).where(table.c.content_id.in_(some)))
        connection.execute(delete(edge).where(edge.c.parent_id.in_(some)))
        connection.execute(update(content).where(content.c.id.in_(some)).values(kind=UNREAD, size=None))
    # Digests that are in no store do not point to anything now, so one statement finds them all.
    connection.execute(
        delete(content).where(*(~select(column).where(column == content.c.id).exists() for column in _HOLDERS))
    )


_HOLDERS = (
    entry.c.content_id,
    name_span.c.content_id,
    answer_span.c.content_id,
    store_blob.c.content_id,
    edge.c.child_id,
    referrer.c.subject_id,
    referrer.c.referrer_id,
    past_entry.c.content_id,
    past_blob.c.content_id,
)
"""The columns that refer to a digest. Each has an index."""
