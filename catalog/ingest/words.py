"""Words that nothing uses any more: media types, platforms and keys of annotations, once for the whole catalog.

A store may bring tens of thousands of them and go. Each is deleted once no row refers to it, so many at a time. Most of the
columns that refer to a word have no index, and are read from end to end; that is done only where there are enough words to
be worth it.
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, Select, Table, delete, except_, func, select

from catalog.db.schema import (
    annotation_key,
    config,
    content,
    content_annotation,
    descriptor_annotation,
    edge,
    entry,
    entry_annotation,
    manifest,
    media_type,
    meta,
    past_entry,
    platform,
)

STEP_ROWS = 20_000
"""So many words of each kind are deleted at a time."""
_ROWS_A_WORD = 1000  # so many rows may be read for each word that there is
_Columns = tuple["Column[int]", ...]

_USES: tuple[tuple[Table, _Columns, _Columns], ...] = (
    (
        media_type,
        (manifest.c.artifact_type_id,),
        (
            entry.c.media_type_id,
            entry.c.artifact_type_id,
            past_entry.c.media_type_id,
            past_entry.c.artifact_type_id,
            manifest.c.media_type_id,
            edge.c.media_type_id,
        ),
    ),
    (platform, (config.c.platform_id,), (entry.c.platform_id, past_entry.c.platform_id, edge.c.platform_id)),
    (annotation_key, (entry_annotation.c.key_id, content_annotation.c.key_id, descriptor_annotation.c.key_id), ()),
)
"""By dictionary the columns that refer to it: those with an index, and those without."""


def forget_words(connection: Connection) -> bool:
    """Delete words that nothing refers to; returns whether there may be more, and then retention is due again.

    In a transaction that is `alone`, and on SQLite `unchecked`: it would search every row for each word that goes.
    """
    is_more = False
    for table, indexed, others in _USES:
        if others and not _is_worth_it(connection, table):
            continue
        unused = _unused(table, indexed, others)
        is_more |= connection.execute(delete(table).where(table.c.id.in_(unused))).rowcount >= STEP_ROWS
    if is_more:
        connection.execute(delete(meta).where(meta.c.key == "pruned_ms"))
    return is_more


def _unused(table: Table, indexed: _Columns, others: _Columns) -> Select[tuple[int]]:
    free = select(table.c.id).where(*(~select(column).where(column == table.c.id).exists() for column in indexed))
    if others:
        some = except_(free, *(select(column) for column in others)).subquery()
        return select(some.c.id).limit(STEP_ROWS)
    return free.limit(STEP_ROWS)


def _is_worth_it(connection: Connection, table: Table) -> bool:
    words = connection.execute(select(func.count()).select_from(table)).scalar_one()
    rows = max(connection.execute(select(func.max(each.c.id))).scalar() or 0 for each in (entry, content))
    return bool(words and rows <= words * _ROWS_A_WORD)
