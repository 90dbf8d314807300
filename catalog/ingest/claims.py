"""Blobs of a store whose size none of the descriptors that point to them claims: a copy that was cut off, say.

Only what lies in the store can claim anything there. So this is found out at the end of reading the store, from its own
manifests: to look from each blob for all manifests anywhere that have it would be quadratic in the number of stores.
"""

from __future__ import annotations

from catalog.db.schema import SUBJECT
from catalog.ingest.rows import Rows

STAGE = 2
"""The `problem.stage` of what is found here: the view `problems` shows it until the bytes of the blob have been hashed."""

_FROM_ENTRIES = (
    "FROM entry JOIN store_blob ON store_blob.store_id = entry.store_id AND store_blob.content_id = entry.content_id"
    " JOIN content ON content.id = entry.content_id WHERE entry.store_id = ?"
)
# CROSS JOIN keeps SQLite from beginning with the blob.
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
    """Write the problem `truncated-blob` for each blob of the store that has another size than all that claim one."""
    cursor = rows.cursor
    cursor.execute("DELETE FROM problem WHERE store_id = ? AND stage = ?", (store_id, STAGE))
    if not any(cursor.execute(_ANY.format(**each), (store_id,)).fetchone() for each in _SOURCES):
        return
    sizes: dict[str, tuple[int, int]] = {}
    right: set[str] = set()
    for each in _SOURCES:  # what an entry claims comes first
        for digest, held, most, is_right in cursor.execute(_CLAIMS.format(**each), (store_id,)).fetchall():
            sizes.setdefault(digest, (held, most))
            if is_right:
                right.add(digest)
    for digest in sorted(sizes.keys() - right):
        held, most = sizes[digest]
        rows.problem(store_id, None, "truncated-blob", digest, f"has {held} bytes instead of {most}", stage=STAGE)
    rows.flush()
