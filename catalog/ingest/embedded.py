"""Blobs that a descriptor embeds in its field `data`. They belong to the store although they are in no file."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from catalog.engine.driver import Cursor, cursor_of
from catalog.engine.interface import Writer
from catalog.ingest.listing import held_of
from catalog.ingest.parameters import chunks, marks, of_stores
from catalog.ingest.rows import Rows

_BY_ENTRIES = (
    "SELECT DISTINCT entry.store_id, content.digest FROM entry CROSS JOIN content"
    " WHERE %s AND entry.embedded AND content.id = entry.content_id"
)
_BY_MANIFESTS = (
    "SELECT DISTINCT store_blob.store_id, content.digest FROM store_blob CROSS JOIN edge CROSS JOIN content"
    " WHERE %s AND edge.parent_id = store_blob.content_id AND edge.embedded AND content.id = edge.child_id"
)
_BY_SOME_MANIFESTS = (
    "SELECT DISTINCT store_blob.store_id, content.digest FROM edge CROSS JOIN content CROSS JOIN store_blob"
    " WHERE edge.parent_id IN (%s) AND edge.embedded AND content.id = edge.child_id"
    " AND store_blob.content_id = edge.parent_id AND %s"
    " AND NOT EXISTS (SELECT 1 FROM store_blob AS held"
    " WHERE held.store_id = store_blob.store_id AND held.content_id = edge.child_id)"
)
_EMBEDDING = "SELECT DISTINCT edge.parent_id FROM edge WHERE edge.parent_id IN (%s) AND edge.embedded"
_ROWS = (
    "SELECT store_blob.store_id, content.digest, content.id FROM store_blob CROSS JOIN content"
    " WHERE %s AND store_blob.embedded AND content.id = store_blob.content_id"
)


class _Difference(NamedTuple):
    """Embedded blobs without a row (store id and digest), and rows whose blob is no longer embedded (store id and content id)."""

    new: set[tuple[int, str]]
    gone: set[tuple[int, int]]

    @property
    def store_ids(self) -> list[int]:
        return sorted({each[0] for each in (*self.new, *self.gone)})


def list_embedded(writer: Writer, store_ids: Sequence[int], parents: Sequence[int] | None = None) -> None:
    """Add embedded blobs of some stores that are in no file to `store_blob`, and remove those that are gone.

    With `parents`, only add the blobs that these manifests embed, directly or through another embedded manifest.
    """
    while store_ids:
        with writer.snapshot() as connection:
            found = _difference(cursor_of(connection), store_ids, parents)
        if found.store_ids:
            writer.write(functools.partial(_write, store_ids=found.store_ids, parents=parents))
        if not found.new or parents is None:
            return


def embedding(connection: Connection, parents: Sequence[int]) -> list[int]:
    """Return the manifests among `parents` that embed something. Hardly any manifest does."""
    cursor = cursor_of(connection)
    return [
        row[0] for some in chunks(parents) for row in cursor.execute(_EMBEDDING % marks(some), tuple(some)).fetchall()
    ]


def _difference(cursor: Cursor, store_ids: Sequence[int], parents: Sequence[int] | None) -> _Difference:
    if parents is not None:
        where, ids = of_stores("store_blob.store_id", store_ids)
        new: set[tuple[int, str]] = set()
        for some in chunks(parents):
            new.update(cursor.execute(_BY_SOME_MANIFESTS % (marks(some), where), (*some, *ids)).fetchall())
        return _Difference(new, set())
    wanted: dict[int, set[str]] = {}
    for statement, column in ((_BY_ENTRIES, "entry.store_id"), (_BY_MANIFESTS, "store_blob.store_id")):
        where, ids = of_stores(column, store_ids)
        for store_id, digest in cursor.execute(statement % where, ids).fetchall():
            wanted.setdefault(store_id, set()).add(digest)
    where, ids = of_stores("store_blob.store_id", store_ids)
    gone = {
        (store_id, content_id)
        for store_id, digest, content_id in cursor.execute(_ROWS % where, ids).fetchall()
        if digest not in wanted.get(store_id, ())
    }
    new = set()
    for store_id, digests in wanted.items():
        new.update((store_id, digest) for digest in digests - held_of(cursor, store_id, digests))
    return _Difference(new, gone)


def _write(connection: Connection, store_ids: Sequence[int], parents: Sequence[int] | None) -> None:
    rows = Rows(connection)
    new, gone = _difference(rows.cursor, store_ids, parents)
    to_delete = sorted(gone)
    rows.moment.keep_blobs(to_delete)
    rows.cursor.executemany("DELETE FROM store_blob WHERE store_id = ? AND content_id = ?", to_delete)
    sizes: dict[str, int] = {}
    for some in chunks(sorted({digest for _, digest in new})):
        statement = f"SELECT digest, coalesce(size, 0) FROM content WHERE digest IN ({marks(some)})"
        sizes.update(rows.cursor.execute(statement, tuple(some)).fetchall())
    for store_id, digest in sorted(new):
        if digest in sizes:
            rows.blob(store_id, digest, sizes[digest], None)
    rows.flush()
