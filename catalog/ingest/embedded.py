"""Blobs that a descriptor carries in its field `data`: they belong to the store although no file holds them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from sqlalchemy import Connection

from catalog.engine.interface import Writer
from catalog.ingest.rows import Rows, chunks, marks

_BY_ENTRIES = (
    "SELECT DISTINCT content.digest FROM entry JOIN content ON content.id = entry.content_id"
    " WHERE entry.store_id = ? AND entry.embedded"
)
_BY_MANIFESTS = (
    "SELECT DISTINCT content.digest FROM store_blob JOIN edge ON edge.parent_id = store_blob.content_id"
    " JOIN content ON content.id = edge.child_id"
    " WHERE store_blob.store_id = ? AND edge.embedded"
)
_BY_SOME_MANIFESTS = (
    "SELECT DISTINCT content.digest FROM edge JOIN content ON content.id = edge.child_id"
    " WHERE edge.parent_id IN (%s) AND edge.embedded"
    " AND EXISTS (SELECT 1 FROM store_blob WHERE store_blob.store_id = ? AND store_blob.content_id = edge.parent_id)"
    " AND NOT EXISTS (SELECT 1 FROM store_blob WHERE store_blob.store_id = ? AND store_blob.content_id = edge.child_id)"
)
_EMBEDDING = "SELECT DISTINCT edge.parent_id FROM edge WHERE edge.parent_id IN (%s) AND edge.embedded"
_ROWS = (
    "SELECT content.digest, content.id, store_blob.embedded FROM store_blob"
    " JOIN content ON content.id = store_blob.content_id WHERE store_blob.store_id = ?"
)


def list_embedded(writer: Writer, store_id: int, parents: Sequence[int] | None = None) -> None:
    """Add to `store_blob` the embedded blobs of a store that no file holds, and remove those that are gone.

    With `parents`, only add what these manifests embed, and what is embedded in that in turn.
    """
    more = True
    while more:
        with writer.snapshot() as connection:
            new, gone = _difference(Rows(connection), store_id, parents)
        if new or gone:
            writer.write(functools.partial(_write, store_id=store_id, parents=parents))
        more = bool(new) and parents is not None


def embedding(connection: Connection, parents: Sequence[int]) -> list[int]:
    """Return those of these manifests that embed something, which hardly any does."""
    cursor = Rows(connection).cursor
    return [
        row[0] for some in chunks(parents) for row in cursor.execute(_EMBEDDING % marks(some), tuple(some)).fetchall()
    ]


def _difference(rows: Rows, store_id: int, parents: Sequence[int] | None) -> tuple[set[str], set[int]]:
    """Return the digests of embedded blobs without a row, and the content ids of rows whose blob is no longer embedded."""
    if parents is not None:
        new: set[str] = set()
        for some in chunks(parents):
            values = (*some, store_id, store_id)
            new.update(row[0] for row in rows.cursor.execute(_BY_SOME_MANIFESTS % marks(some), values).fetchall())
        return new, set()
    wanted = {
        row[0]
        for statement in (_BY_ENTRIES, _BY_MANIFESTS)
        for row in rows.cursor.execute(statement, (store_id,)).fetchall()
    }
    held = set()
    gone = set()
    for digest, content_id, embedded in rows.cursor.execute(_ROWS, (store_id,)).fetchall():
        held.add(digest)
        if embedded and digest not in wanted:
            gone.add(content_id)
    return wanted - held, gone


def _write(connection: Connection, store_id: int, parents: Sequence[int] | None) -> None:
    rows = Rows(connection)
    new, gone = _difference(rows, store_id, parents)
    to_delete = [(store_id, each) for each in sorted(gone)]
    rows.moment.keep_blobs(to_delete)
    rows.cursor.executemany("DELETE FROM store_blob WHERE store_id = ? AND content_id = ?", to_delete)
    sizes: dict[str, int] = {}
    for some in chunks(sorted(new)):
        statement = f"SELECT digest, coalesce(size, 0) FROM content WHERE digest IN ({marks(some)})"
        sizes.update(rows.cursor.execute(statement, tuple(some)).fetchall())
    for digest, size in sorted(sizes.items()):
        rows.blob(store_id, digest, size, None)
    rows.flush()
