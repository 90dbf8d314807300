"""Delete unused media types, platforms and annotation keys (words, for short), which are stored once for the whole catalog.

A store may add tens of thousands of words and then be removed. Words that no row refers to are deleted, a limited number at a time.
Most columns that refer to words have no index, so whole tables are scanned. That is done only if there are enough words to make it
worthwhile.
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
"""The most words of each kind that are deleted at a time."""
_ROWS_A_WORD = 1000  # the most rows that may be scanned per existing word
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
"""For each table of words, the columns that refer to it: first those with an index, then those without."""


def forget_words(connection: Connection) -> bool:
    """Delete words that nothing refers to. Return whether there may be more. If so, retention is made due again.

    Needs a transaction that is `alone`, and on SQLite `unchecked`: otherwise SQLite would search every row for each deleted word.
    """
    may_be_more = False
    for table, indexed, others in _USES:
        if others and not _is_worth_it(connection, table):
            continue
        unused = _unused(table, indexed, others)
        may_be_more |= connection.execute(delete(table).where(table.c.id.in_(unused))).rowcount >= STEP_ROWS
    if may_be_more:
        connection.execute(delete(meta).where(meta.c.key == "pruned_ms"))
    return may_be_more


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
