"""Blobs whose size differs from what every descriptor claims, for example because copying them was interrupted.

Only descriptors in the same store count. So the blobs are found when a store has been read, starting from its own manifests. Starting
from each blob and looking for all manifests that point to it would be quadratic in the number of stores.
"""

from __future__ import annotations

from catalog.db.schema import SUBJECT
from catalog.ingest.rows import Rows

STAGE = 2
"""The `problem.stage` of these problems. The view `problems` shows them until the bytes of the blob have been hashed."""

_FROM_ENTRIES = (
    "FROM entry JOIN store_blob ON store_blob.store_id = entry.store_id AND store_blob.content_id = entry.content_id"
    " JOIN content ON content.id = entry.content_id WHERE entry.store_id = ?"
)
# CROSS JOIN keeps SQLite from starting with the blob.
_FROM_EDGES = (
    "FROM store_blob AS above CROSS JOIN edge CROSS JOIN store_blob CROSS JOIN content WHERE above.store_id = ?"
    f" AND edge.parent_id = above.content_id AND edge.role <> {SUBJECT} AND store_blob.store_id = above.store_id"
    " AND store_blob.content_id = edge.child_id AND content.id = edge.child_id"
)
_UNPROVED = "content.size IS NULL AND store_blob.is_good IS NULL AND NOT store_blob.embedded"
_ANY = "SELECT 1 {from_} AND {claims}.size <> store_blob.size AND " + _UNPROVED + " LIMIT 1"
_CLAIMS = (
    "SELECT content.digest, min(store_blob.size), max({claims}.size),"
    " max(CASE WHEN {claims}.size = store_blob.size THEN 1 ELSE 0 END)"
    " {from_} AND {claims}.size IS NOT NULL AND " + _UNPROVED + " GROUP BY content.digest"
)
_SOURCES = ({"claims": "entry", "from_": _FROM_ENTRIES}, {"claims": "edge", "from_": _FROM_EDGES})


def write_claims(rows: Rows, store_id: int) -> None:
    """Write a problem `truncated-blob` for each blob of the store whose size differs from every claimed one."""
    cursor = rows.cursor
    cursor.execute("DELETE FROM problem WHERE store_id = ? AND stage = ?", (store_id, STAGE))
    if not any(cursor.execute(_ANY.format(**each), (store_id,)).fetchone() for each in _SOURCES):
        return
    sizes: dict[str, tuple[int, int]] = {}
    right: set[str] = set()
    for each in _SOURCES:  # The claim of an entry comes first.
        for digest, held, most, is_right in cursor.execute(_CLAIMS.format(**each), (store_id,)).fetchall():
            sizes.setdefault(digest, (held, most))
            if is_right:
                right.add(digest)
    for digest in sorted(sizes.keys() - right):
        held, most = sizes[digest]
        rows.problem(store_id, None, "truncated-blob", digest, f"has {held} bytes instead of {most}", stage=STAGE)
    rows.flush()
