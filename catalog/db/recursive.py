"""SQL expressions for the views that walk the edges: down from an entry to everything that it reaches.

Each is a recursive CTE within a correlated subquery, so that a query of a view by its key remains one search, and the walk happens
only for the rows of the result. `UNION` ends cycles. `CROSS JOIN` only keeps SQLite from reversing a join. An index leads to
its manifests, to any depth. A manifest leads to its config and layers, which lead no further, even if the same blob is a
manifest elsewhere. A manifest does not lead to its subject.

A walk stops at a limit. PostgreSQL evaluates only as much of a recursive CTE as `reached` fetches. SQLite evaluates all of
it unless the CTE has a LIMIT of its own, which PostgreSQL does not support, so view.py turns `/* at most N */` into a LIMIT
for SQLite.
"""

from __future__ import annotations

from catalog.db.kinds import AMBIGUOUS, CHILD, CONFIG, INDEX, LAYER, OPAQUE, UNREAD

WALKS = ("below", "reached")
"""Names of the CTEs. SQLite reports these to the authorizer as the reader of a table, not the view (catalog.reports.gate)."""

MOST_MANIFESTS = 1_000
"""The maximum number of manifests below one image that a view visits. No index with more platforms is known. Without a
limit, many entries above one long chain of indexes would cost the number of entries times the length of the chain."""
MOST_BLOBS = 10_000
"""The maximum number of blobs of one image whose sizes a view adds up. Artifacts with thousands of files exist."""
MOST_PARTS = 20_000
"""The maximum number of parts of images that one statement returns for a block of entries: some 8 MB."""

ATTESTATION = "unknown/unknown"
"""The platform that BuildKit writes for an attestation, which is not an image."""


def held(store_id: str, content_id: str) -> str:
    """Return the condition that a blob is in a store."""
    return (
        f"EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = {store_id} AND held.content_id = {content_id})"
    )


def held_somewhere(content_id: str, condition: str = "") -> str:
    """Return the condition that a blob is in any store that is not missing, with `condition` on its row `held`."""
    return (
        "EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id"
        f" WHERE held.content_id = {content_id} AND holder.state <> 'missing'{condition and f' AND {condition}'})"
    )


IS_UNDERSTOOD = "store.state IN ('ok', 'empty') AND NOT store.content_pending AND store.doubt IS NULL"
"""The condition that the catalog knows for every blob of the store whether this store needs it (catalog.ingest.reach)."""


def users_of(store_id: str) -> str:
    """Return the statement for the ids and paths of other layouts that find blobs in a store's own directories.

    The id is null for a layout that was removed from the catalog. If the same layout, with the same index.json, is also known by
    another path, it needs the same blobs and does not count.
    """
    return f"""SELECT sharer.id, sharer.path FROM store AS owner
      JOIN blob_place AS mine ON mine.store_id = owner.id AND mine.is_own
      JOIN blob_place AS theirs ON theirs.place = mine.place AND theirs.store_id <> mine.store_id
      JOIN store AS sharer ON sharer.id = theirs.store_id
      WHERE owner.id = {store_id} AND (
        sharer.host_id = owner.host_id AND (sharer.file_identity IS NULL OR sharer.file_identity <> owner.file_identity)
        OR sharer.host_id <> owner.host_id AND NOT theirs.is_own
      )
      UNION ALL SELECT NULL, removed_place.path FROM store AS owner
      JOIN blob_place AS mine ON mine.store_id = owner.id AND mine.is_own
      JOIN removed_place ON removed_place.place = mine.place
      WHERE owner.id = {store_id} AND removed_place.path <> owner.path"""


USER = f"(SELECT min(users.path) FROM ({users_of('store.id')}) AS users)"
"""The path of another layout that finds blobs in the own directories of `store`, or null."""
IS_USED_ELSEWHERE = f"(store.shares AND {USER} IS NOT NULL)"
USED_ELSEWHERE = "'finds blobs in its directory, too: ''ocicat plan prune'' judges both together'"
"""What is wrong with such a store, as an SQL literal."""
IS_JUDGED = f"{IS_UNDERSTOOD} AND NOT {IS_USED_ELSEWHERE}"
"""The condition that the catalog knows for every blob of the store whether anything needs it."""


_LEAF = "(SELECT media_type.is_leaf FROM media_type WHERE media_type.id = {0}.media_type_id)"
TOTAL_SIZE = f"""(
    WITH RECURSIVE below(id, leads) AS (
      SELECT entry.content_id, NOT {_LEAF.format("entry")}
      UNION SELECT edge.child_id, edge.role = {CHILD} AND NOT {_LEAF.format("edge")} FROM below CROSS JOIN edge
      WHERE below.leads AND edge.parent_id = below.id AND edge.role IN ({CHILD}, {CONFIG}, {LAYER})
      AND {held("entry.store_id", "edge.parent_id")}
      /* at most {MOST_BLOBS + 1} */
    ), reached AS (SELECT below.id, below.leads FROM below LIMIT {MOST_BLOBS + 1})
    SELECT CASE WHEN (SELECT count(*) FROM reached) <= {MOST_BLOBS} AND NOT EXISTS (
      SELECT 1 FROM reached CROSS JOIN content AS node WHERE reached.leads AND node.id = reached.id AND (
        node.kind IN ({OPAQUE}, {AMBIGUOUS}) OR node.kind = {UNREAD} AND EXISTS (
          SELECT 1 FROM store_blob AS held
          WHERE held.store_id = entry.store_id AND held.content_id = node.id AND NOT held.looked
        )
      )
    ) THEN CAST(sum(store_blob.size) AS BIGINT) END FROM store_blob
    WHERE store_blob.store_id = entry.store_id AND store_blob.content_id IN (SELECT reached.id FROM reached)
  )"""
"""The total size in bytes of the blobs that an entry reaches in its store, each counted once. Null if a manifest among them
was not read or understood, or if there are more than MOST_BLOBS."""

PLATFORMS = f"""(
    WITH RECURSIVE below(id, platform_id) AS (
      SELECT content.id, CAST(NULL AS BIGINT)
      UNION SELECT edge.child_id,
      CASE WHEN child.kind = {INDEX} AND {held("entry.store_id", "child.id")} THEN NULL ELSE edge.platform_id END
      FROM below CROSS JOIN edge CROSS JOIN content AS child
      WHERE below.platform_id IS NULL AND edge.parent_id = below.id AND edge.role = {CHILD} AND child.id = edge.child_id
      /* at most {MOST_MANIFESTS + 1} */
    ), reached AS (SELECT below.id, below.platform_id FROM below LIMIT {MOST_MANIFESTS + 1})
    SELECT CASE WHEN (SELECT count(*) FROM reached) <= {MOST_MANIFESTS} THEN string_agg(said.name, ',') END FROM (
      SELECT DISTINCT platform.name AS name FROM reached
      LEFT JOIN edge ON reached.platform_id IS NULL AND edge.parent_id = reached.id AND edge.role = {CONFIG}
      LEFT JOIN config ON config.content_id = edge.child_id
      JOIN platform ON platform.id = coalesce(reached.platform_id, config.platform_id)
      WHERE platform.name <> '{ATTESTATION}' ORDER BY platform.name
    ) AS said
  )"""
"""The platforms of `content` in the store of an entry, sorted: from the index, else from the config of the manifest. The
platform in an index's descriptor of another index counts only if that other index is not in the store. Null if there are more than
MOST_MANIFESTS."""

CREATED = f"""@(
    WITH RECURSIVE below(id) AS (
      SELECT content.id
      UNION SELECT edge.child_id FROM below CROSS JOIN edge
      WHERE edge.parent_id = below.id AND edge.role = {CHILD}
      /* at most {MOST_MANIFESTS + 1} */
    ), reached AS (SELECT below.id FROM below LIMIT {MOST_MANIFESTS + 1})
    SELECT CASE WHEN (SELECT count(*) FROM reached) <= {MOST_MANIFESTS} THEN max(config.created) END
    FROM reached CROSS JOIN edge CROSS JOIN config
    WHERE edge.parent_id = reached.id AND edge.role = {CONFIG} AND config.content_id = edge.child_id
  )"""
"""When `content` was created according to its config; for an index, the date of the newest of its images. Null if there are more
than MOST_MANIFESTS."""
