"""Layouts that several hosts see, the host of each store in the views, and the views' documentation on PostgreSQL (schema 1.1).

Written out, not taken from the views of the code: what a migration did must not change with those of today.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

_COLUMNS = {
    "sqlite": "VARCHAR",
    "postgresql": 'VARCHAR COLLATE "C"',
}

_VIEWS = (
    "stores",
    "images",
    "unnamed",
    "manifests",
    "platforms",
    "layers",
    "blobs",
    "labels",
    "annotations",
    "referrers",
    "history",
    "snapshots",
    "problems",
)

_SQLITE = (
    """CREATE VIEW stores AS -- a row a store (layout)
SELECT
  store.name AS name, -- name of the store
  store.path AS path, -- absolute path; percent-encoded where it is not UTF-8
  root.name AS root, -- the root below which it was found, or null
  store.state AS state, -- ok, empty, invalid, unreadable or missing
  store.error AS error, -- why it is not ok, or null
  strftime('%Y-%m-%dT%H:%M:%fZ', store.state_since / 1000.0, 'unixepoch') AS state_since, -- since when it is in that state
  store.entries AS entries, -- entries of its index.json that are usable
  store.naming AS naming, -- naming policy: annotations, path or fixed=NAME
  store.prefix AS prefix, -- the registry in front of names under the policy path
  store.priority AS priority, -- lower numbers answer first
  store.shared_blobs AS shared_blob_dir, -- a directory of blobs that it shares with others, or null
  store.layout_version AS layout_version, -- imageLayoutVersion of its oci-layout
  strftime('%Y-%m-%dT%H:%M:%fZ', store.indexed_at / 1000.0, 'unixepoch') AS indexed_at, -- when its index.json was last read into the catalog
  strftime('%Y-%m-%dT%H:%M:%fZ', store.changed_at / 1000.0, 'unixepoch') AS changed_at, -- when a change of its entries was last seen
  store.content_pending AS pending, -- 1 while what its digests are is not all read
  (SELECT host.name FROM host WHERE host.id = store.host_id) AS host, -- the machine that it lies on
  store.shared_as AS shared_as -- the same in stores of several hosts that are one layout, else null
FROM store LEFT JOIN root ON root.id = store.root_id""",
    """CREATE VIEW images AS -- a row a name: every lookup key of every entry; stores that are missing are left out
SELECT
  store.name AS store, -- name of the store
  store.path AS path, -- absolute path of the store
  name.name AS name, -- full canonical name with tag, or null where the entry has a tag alone
  repository.name AS repository, -- canonical repository, docker.io/library/alpine, or null
  repository.familiar AS familiar, -- the repository as Docker shows it: alpine
  name.tag AS tag, -- the tag; null where the name has a digest and no tag
  content.digest AS digest, -- digest of the descriptor
  nullif(media_type.name, '') AS media_type, -- media type, as the descriptor claims
  artifact.name AS artifact_type, -- artifact type, as the descriptor claims, or null
  entry.size AS size, -- size of the manifest in bytes, as the descriptor claims
  platform.name AS platform, -- os/arch[/variant], where the descriptor itself says it
  entry.ref_name AS ref_name, -- raw org.opencontainers.image.ref.name
  entry.image_name AS image_name, -- raw io.containerd.image.name
  strftime('%Y-%m-%dT%H:%M:%fZ', name.since / 1000.0, 'unixepoch') AS since, -- since when this name answers with this digest here
  name.shadowed AS shadowed, -- 1 where another entry of that store answers for this name
  CASE WHEN content.kind <> 0 THEN (
    WITH RECURSIVE below(id, role) AS (
      SELECT entry.content_id, 0
      UNION SELECT edge.child_id, edge.role FROM below CROSS JOIN edge
      WHERE below.role = 0 AND edge.parent_id = below.id AND edge.role IN (0, 1, 2)
      AND EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = entry.store_id AND held.content_id = edge.parent_id)
    )
    SELECT CAST(sum(store_blob.size) AS BIGINT) FROM store_blob
    WHERE store_blob.store_id = entry.store_id AND store_blob.content_id IN (SELECT below.id FROM below)
  ) END AS total_size, -- bytes in this store of all that it reaches, each blob once; null while it is not read
  (
    WITH RECURSIVE below(id, platform_id) AS (
      SELECT content.id, CAST(NULL AS BIGINT)
      UNION SELECT edge.child_id,
      CASE WHEN child.kind = 2 AND EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = entry.store_id AND held.content_id = child.id) THEN NULL ELSE edge.platform_id END
      FROM below CROSS JOIN edge CROSS JOIN content AS child
      WHERE below.platform_id IS NULL AND edge.parent_id = below.id AND edge.role = 0 AND child.id = edge.child_id
    )
    SELECT group_concat(said.name, ',') FROM (
      SELECT DISTINCT platform.name AS name FROM below
      LEFT JOIN edge ON below.platform_id IS NULL AND edge.parent_id = below.id AND edge.role = 1
      LEFT JOIN config ON config.content_id = edge.child_id
      JOIN platform ON platform.id = coalesce(below.platform_id, config.platform_id)
      WHERE platform.name <> 'unknown/unknown' ORDER BY platform.name
    ) AS said
  ) AS platforms, -- os/arch[/variant] of all its images, sorted, with commas between; null where it has none
  strftime('%Y-%m-%dT%H:%M:%fZ', (
    WITH RECURSIVE below(id) AS (
      SELECT content.id
      UNION SELECT edge.child_id FROM below CROSS JOIN edge
      WHERE edge.parent_id = below.id AND edge.role = 0
    )
    SELECT max(config.created) FROM below CROSS JOIN edge CROSS JOIN config
    WHERE edge.parent_id = below.id AND edge.role = 1 AND config.content_id = edge.child_id
  ) / 1000.0, 'unixepoch') AS created -- when it was made, as its config says; of an index, the newest of its images
FROM name
JOIN entry ON entry.id = name.entry_id
LEFT JOIN repository ON repository.id = name.repository_id
JOIN store ON store.id = entry.store_id
JOIN content ON content.id = entry.content_id
JOIN media_type ON media_type.id = entry.media_type_id
LEFT JOIN media_type AS artifact ON artifact.id = entry.artifact_type_id
LEFT JOIN platform ON platform.id = entry.platform_id
WHERE store.state <> 'missing'""",
    """CREATE VIEW unnamed AS -- a row an entry that has no name and no tag
SELECT
  store.name AS store, -- name of the store
  store.path AS path, -- absolute path of the store
  content.digest AS digest, -- digest of the descriptor
  nullif(media_type.name, '') AS media_type, -- media type, as the descriptor claims
  artifact.name AS artifact_type, -- artifact type, as the descriptor claims, or null
  entry.size AS size, -- size of the manifest in bytes, as the descriptor claims
  platform.name AS platform, -- os/arch[/variant], where the descriptor itself says it
  CASE WHEN content.kind <> 0 THEN (
    WITH RECURSIVE below(id, role) AS (
      SELECT entry.content_id, 0
      UNION SELECT edge.child_id, edge.role FROM below CROSS JOIN edge
      WHERE below.role = 0 AND edge.parent_id = below.id AND edge.role IN (0, 1, 2)
      AND EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = entry.store_id AND held.content_id = edge.parent_id)
    )
    SELECT CAST(sum(store_blob.size) AS BIGINT) FROM store_blob
    WHERE store_blob.store_id = entry.store_id AND store_blob.content_id IN (SELECT below.id FROM below)
  ) END AS total_size, -- bytes in this store of all that it reaches, each blob once; null while it is not read
  (
    WITH RECURSIVE below(id, platform_id) AS (
      SELECT content.id, CAST(NULL AS BIGINT)
      UNION SELECT edge.child_id,
      CASE WHEN child.kind = 2 AND EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = entry.store_id AND held.content_id = child.id) THEN NULL ELSE edge.platform_id END
      FROM below CROSS JOIN edge CROSS JOIN content AS child
      WHERE below.platform_id IS NULL AND edge.parent_id = below.id AND edge.role = 0 AND child.id = edge.child_id
    )
    SELECT group_concat(said.name, ',') FROM (
      SELECT DISTINCT platform.name AS name FROM below
      LEFT JOIN edge ON below.platform_id IS NULL AND edge.parent_id = below.id AND edge.role = 1
      LEFT JOIN config ON config.content_id = edge.child_id
      JOIN platform ON platform.id = coalesce(below.platform_id, config.platform_id)
      WHERE platform.name <> 'unknown/unknown' ORDER BY platform.name
    ) AS said
  ) AS platforms, -- os/arch[/variant] of all its images, sorted, with commas between; null where it has none
  strftime('%Y-%m-%dT%H:%M:%fZ', (
    WITH RECURSIVE below(id) AS (
      SELECT content.id
      UNION SELECT edge.child_id FROM below CROSS JOIN edge
      WHERE edge.parent_id = below.id AND edge.role = 0
    )
    SELECT max(config.created) FROM below CROSS JOIN edge CROSS JOIN config
    WHERE edge.parent_id = below.id AND edge.role = 1 AND config.content_id = edge.child_id
  ) / 1000.0, 'unixepoch') AS created -- when it was made, as its config says; of an index, the newest of its images
FROM entry
JOIN store ON store.id = entry.store_id
JOIN content ON content.id = entry.content_id
JOIN media_type ON media_type.id = entry.media_type_id
LEFT JOIN media_type AS artifact ON artifact.id = entry.artifact_type_id
LEFT JOIN platform ON platform.id = entry.platform_id
WHERE store.state <> 'missing' AND NOT EXISTS (SELECT 1 FROM name WHERE name.entry_id = entry.id)""",
    """CREATE VIEW manifests AS -- a row a manifest or image index that lies in a store and was read: facts of its bytes, the same in every store
SELECT
  content.digest AS digest, -- digest of the manifest
  CASE content.kind WHEN 1 THEN 'manifest' WHEN 2 THEN 'index' END AS kind, -- manifest or index
  nullif(media_type.name, '') AS media_type, -- media type, as it says itself
  artifact.name AS artifact_type, -- artifact type, as it says itself, or null
  content.size AS size, -- its bytes
  config_content.digest AS config, -- digest of its config, or null
  nullif(config_type.name, '') AS config_type, -- media type of its config, as it claims
  edge.size AS config_size, -- bytes of its config, as it claims
  subject.digest AS subject, -- digest of what it is about, as its own field says, or null
  platform.name AS platform, -- os/arch[/variant], as the config says; null of an index (see platforms)
  strftime('%Y-%m-%dT%H:%M:%fZ', config.created / 1000.0, 'unixepoch') AS created, -- when it was made, as the config says
  manifest.layers AS layers, -- number of its layers
  manifest.layers_size AS layers_size, -- bytes of its layers, as it claims
  manifest.chain AS chain -- hash of its layers in order: images with the same chain have the same layers
FROM manifest
JOIN content ON content.id = manifest.content_id
JOIN media_type ON media_type.id = manifest.media_type_id
LEFT JOIN media_type AS artifact ON artifact.id = manifest.artifact_type_id
LEFT JOIN edge AS about ON about.parent_id = manifest.content_id AND about.role = 3 AND about.position = 0
LEFT JOIN content AS subject ON subject.id = about.child_id
LEFT JOIN edge ON edge.parent_id = manifest.content_id AND edge.role = 1 AND edge.position = 0
LEFT JOIN content AS config_content ON config_content.id = edge.child_id
LEFT JOIN media_type AS config_type ON config_type.id = edge.media_type_id
LEFT JOIN config ON config.content_id = edge.child_id
LEFT JOIN (SELECT id, name FROM platform) AS platform ON platform.id = config.platform_id
WHERE EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = manifest.content_id AND holder.state <> 'missing')""",
    """CREATE VIEW platforms AS -- a row a manifest of an image index, whether it lies anywhere or not
SELECT
  parent.digest AS image_index, -- digest of the image index
  edge.position AS position, -- place in its list, from 0
  child.digest AS digest, -- digest of the manifest, or of an index within the index
  coalesce(platform.name, (
    SELECT own.name FROM edge AS has CROSS JOIN config CROSS JOIN platform AS own
    WHERE has.parent_id = edge.child_id AND has.role = 1 AND config.content_id = has.child_id
    AND own.id = config.platform_id
  )) AS platform, -- os/arch[/variant] as the index says, else as the manifest's config does; unknown/unknown: an attestation
  nullif(media_type.name, '') AS media_type, -- media type, as the index claims
  edge.size AS size -- size of the manifest in bytes, as the index claims
FROM edge
JOIN content AS parent ON parent.id = edge.parent_id
JOIN content AS child ON child.id = edge.child_id
JOIN media_type ON media_type.id = edge.media_type_id
LEFT JOIN platform ON platform.id = edge.platform_id
WHERE edge.role = 0 AND EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = edge.parent_id AND holder.state <> 'missing')""",
    """CREATE VIEW layers AS -- a row a layer of a manifest, whether it lies anywhere or not
SELECT
  parent.digest AS manifest, -- digest of the manifest
  edge.position AS position, -- place in its list, from 0
  child.digest AS digest, -- digest of the layer
  nullif(media_type.name, '') AS media_type, -- media type, as the manifest claims
  edge.size AS size, -- bytes, as the manifest claims
  edge.chain AS chain -- hash of the layers up to this one: the chain of a manifest that has just these
FROM edge
JOIN content AS parent ON parent.id = edge.parent_id
JOIN content AS child ON child.id = edge.child_id
JOIN media_type ON media_type.id = edge.media_type_id
WHERE edge.role = 2 AND EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = edge.parent_id AND holder.state <> 'missing')""",
    """CREATE VIEW blobs AS -- a row a blob that lies in a store, whatever it is; stores that are missing are left out
SELECT
  store.name AS store, -- name of the store
  store.path AS path, -- absolute path of the store
  content.digest AS digest, -- digest of the blob, which is its name in the store
  store_blob.size AS size, -- bytes, as the file system says
  EXISTS (
    WITH RECURSIVE above(id) AS (
      SELECT store_blob.content_id
      UNION SELECT edge.parent_id FROM edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = store_blob.content_id AND edge.role IN (1, 2)
      UNION SELECT edge.parent_id FROM above CROSS JOIN edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = above.id AND edge.role = 0
    )
    SELECT 1 FROM above CROSS JOIN entry
    WHERE entry.content_id = above.id AND entry.store_id = store_blob.store_id
  ) AS reachable, -- 1 where an entry reaches it: as its manifest, one of an index, a config or a layer
  strftime('%Y-%m-%dT%H:%M:%fZ', store_blob.verified_at / 1000.0, 'unixepoch') AS verified_at, -- when its bytes were last compared with its digest, or null
  store_blob.is_good AS is_good -- 1 where they were what the digest says, 0 where not; null before
FROM store_blob
JOIN store ON store.id = store_blob.store_id
JOIN content ON content.id = store_blob.content_id
WHERE store.state <> 'missing'""",
    """CREATE VIEW labels AS -- a row a label of an image
SELECT
  parent.digest AS digest, -- digest of the image's manifest
  content.digest AS config, -- digest of its config, which has the label
  annotation_key.name AS key, -- key of the label
  content_annotation.value AS value, -- its value
  substr(content_annotation.value, 1, 128) AS beginning -- its first 128 characters: what there is an index on, so ask by this and key, and then by value
FROM content_annotation
JOIN annotation_key ON annotation_key.id = content_annotation.key_id
JOIN content ON content.id = content_annotation.content_id
JOIN edge ON edge.child_id = content_annotation.content_id AND edge.role = 1
JOIN content AS parent ON parent.id = edge.parent_id
WHERE content_annotation.is_label AND EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = edge.parent_id AND holder.state <> 'missing')""",
    """CREATE VIEW annotations AS -- a row an annotation of an entry, its two names left out (images.ref_name, images.image_name), or of a manifest
SELECT
  store.name AS store, -- name of the store
  content.digest AS digest, -- digest of the descriptor, or of the manifest or image index
  annotation_key.name AS key, -- key of the annotation
  entry_annotation.value AS value, -- its value
  'entry' AS origin, -- what says it: entry (a descriptor of index.json), or manifest (one that lies there)
  substr(entry_annotation.value, 1, 128) AS beginning -- its first 128 characters: what there is an index on, so ask by this and key, and then by value
FROM entry_annotation
JOIN annotation_key ON annotation_key.id = entry_annotation.key_id
JOIN entry ON entry.id = entry_annotation.entry_id
JOIN store ON store.id = entry.store_id
JOIN content ON content.id = entry.content_id
WHERE store.state <> 'missing'
UNION ALL
SELECT store.name, content.digest, annotation_key.name, content_annotation.value, 'manifest', substr(content_annotation.value, 1, 128)
FROM content_annotation
JOIN annotation_key ON annotation_key.id = content_annotation.key_id
JOIN content ON content.id = content_annotation.content_id
JOIN store_blob ON store_blob.content_id = content_annotation.content_id
JOIN store ON store.id = store_blob.store_id
WHERE NOT content_annotation.is_label AND store.state <> 'missing'""",
    """CREATE VIEW referrers AS -- a row a signature, attestation or the like: what says that it is about a digest, wherever either lies
SELECT
  subject.digest AS subject, -- what it is about
  content.digest AS referrer, -- digest of the manifest that is about it
  CAST('subject' AS TEXT) AS how, -- subject (its own field), fallback or cosign (a tag), buildkit or containerd (annotations)
  (
    SELECT coalesce(artifact.name, nullif(media_type.name, '')) FROM manifest
    LEFT JOIN media_type AS artifact ON artifact.id = manifest.artifact_type_id
    LEFT JOIN edge AS has ON has.parent_id = manifest.content_id AND has.role = 1
    LEFT JOIN media_type ON media_type.id = has.media_type_id
    WHERE manifest.content_id = content.id
  ) AS artifact_type -- artifact type of the referrer, else its config's media type, or null
FROM edge
JOIN content AS subject ON subject.id = edge.child_id
JOIN content ON content.id = edge.parent_id
WHERE edge.role = 3 AND EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = edge.parent_id AND holder.state <> 'missing')
UNION ALL
SELECT subject.digest, content.digest, referrer.how, (
    SELECT coalesce(artifact.name, nullif(media_type.name, '')) FROM manifest
    LEFT JOIN media_type AS artifact ON artifact.id = manifest.artifact_type_id
    LEFT JOIN edge AS has ON has.parent_id = manifest.content_id AND has.role = 1
    LEFT JOIN media_type ON media_type.id = has.media_type_id
    WHERE manifest.content_id = content.id
  )
FROM referrer
JOIN content AS subject ON subject.id = referrer.subject_id
JOIN content ON content.id = referrer.referrer_id
WHERE referrer.how <> 'fallback' AND (
    EXISTS (
      SELECT 1 FROM entry JOIN store ON store.id = entry.store_id
      WHERE entry.id = referrer.entry_id AND store.state <> 'missing'
    ) OR EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = referrer.content_id AND holder.state <> 'missing')
  )
AND NOT EXISTS (
  SELECT 1 FROM referrer AS same
  WHERE same.subject_id = referrer.subject_id AND same.referrer_id = referrer.referrer_id AND same.id < referrer.id
  AND same.how = referrer.how AND (
    EXISTS (
      SELECT 1 FROM entry JOIN store ON store.id = entry.store_id
      WHERE entry.id = same.entry_id AND store.state <> 'missing'
    ) OR EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = same.content_id AND holder.state <> 'missing')
  )
)
UNION ALL
SELECT subject.digest, content.digest, referrer.how, (
    SELECT coalesce(artifact.name, nullif(media_type.name, '')) FROM manifest
    LEFT JOIN media_type AS artifact ON artifact.id = manifest.artifact_type_id
    LEFT JOIN edge AS has ON has.parent_id = manifest.content_id AND has.role = 1
    LEFT JOIN media_type ON media_type.id = has.media_type_id
    WHERE manifest.content_id = content.id
  )
FROM referrer
JOIN content AS subject ON subject.id = referrer.subject_id
JOIN edge ON edge.parent_id = referrer.referrer_id AND edge.role = 0
JOIN content ON content.id = edge.child_id
WHERE referrer.how = 'fallback' AND (
    EXISTS (
      SELECT 1 FROM entry JOIN store ON store.id = entry.store_id
      WHERE entry.id = referrer.entry_id AND store.state <> 'missing'
    ) OR EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = referrer.content_id AND holder.state <> 'missing')
  )
AND NOT EXISTS (
  SELECT 1 FROM referrer AS same CROSS JOIN edge AS again
  WHERE same.subject_id = referrer.subject_id AND same.id <= referrer.id AND same.how = 'fallback'
  AND again.child_id = edge.child_id AND again.role = 0 AND again.parent_id = same.referrer_id
  AND (same.id < referrer.id OR again.position < edge.position) AND (
    EXISTS (
      SELECT 1 FROM entry JOIN store ON store.id = entry.store_id
      WHERE entry.id = same.entry_id AND store.state <> 'missing'
    ) OR EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = same.content_id AND holder.state <> 'missing')
  )
)""",
    """CREATE VIEW history AS -- what a name of a store answered, and when: one row a span, the standing ones with until null
SELECT
  store.name AS store, -- name of the store
  name_span.name AS name, -- full canonical name, or null where there was a tag alone
  repository.name AS repository, -- canonical repository, or null
  name_span.tag AS tag, -- the tag
  content.digest AS digest, -- what it answered
  strftime('%Y-%m-%dT%H:%M:%fZ', name_span.since / 1000.0, 'unixepoch') AS since, -- from when
  strftime('%Y-%m-%dT%H:%M:%fZ', name_span.until / 1000.0, 'unixepoch') AS until, -- until when; null while it stands
  name_span.origin AS origin -- null: ocicat saw it; olareg: the layout's own index.json tells it
FROM name_span
JOIN store ON store.id = name_span.store_id
JOIN content ON content.id = name_span.content_id
LEFT JOIN repository ON repository.id = name_span.repository_id
UNION ALL
SELECT store.name, name.name, repository.name, name.tag, content.digest, strftime('%Y-%m-%dT%H:%M:%fZ', name.since / 1000.0, 'unixepoch'), NULL, CAST(NULL AS TEXT)
FROM name
JOIN entry ON entry.id = name.entry_id
JOIN store ON store.id = name.store_id
JOIN content ON content.id = entry.content_id
LEFT JOIN repository ON repository.id = name.repository_id
WHERE NOT name.shadowed AND name.tag IS NOT NULL""",
    """CREATE VIEW snapshots AS -- a row a change of an index.json, as it was seen
SELECT
  store.name AS store, -- name of the store
  strftime('%Y-%m-%dT%H:%M:%fZ', snapshot.at / 1000.0, 'unixepoch') AS at, -- when it was taken into the catalog
  snapshot.generation AS generation, -- rises by one with each change of that store
  snapshot.sha256 AS sha256, -- of the bytes of index.json, hex
  snapshot.size AS size, -- of index.json in bytes
  snapshot.entries AS entries, -- usable entries after it
  snapshot.added AS added, -- entries that it added
  snapshot.removed AS removed, -- entries that it removed
  snapshot.moved AS moved, -- entries whose order it changed where order matters
  snapshot.took_ms AS took_ms -- milliseconds from the read to the commit
FROM snapshot JOIN store ON store.id = snapshot.store_id""",
    """CREATE VIEW problems AS -- what ocicat check lists: stores that are not well, entries, names and blobs that cannot be used or are not there
SELECT
  store.name AS store, -- name of the store
  problem.kind AS kind, -- kind of problem (docs/problems.md)
  problem.subject AS subject, -- what it is about
  problem.detail AS detail -- why
FROM problem JOIN store ON store.id = problem.store_id
UNION ALL
SELECT store.name, store.state, store.path, coalesce(store.error, '')
FROM store WHERE store.state IN ('invalid', 'unreadable', 'missing')
UNION ALL
SELECT store.name, 'missing-blob', content.digest, 'the manifest of an entry'
FROM store
JOIN entry ON entry.store_id = store.id
JOIN content ON content.id = entry.content_id
WHERE NOT store.content_pending AND store.state <> 'missing' AND NOT EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = entry.store_id AND held.content_id = entry.content_id)
AND entry.id = (
  SELECT min(same.id) FROM entry AS same
  WHERE same.content_id = entry.content_id AND same.store_id = entry.store_id
)
UNION ALL
SELECT store.name, 'missing-blob', content.digest, CASE WHEN edge.role = 1 THEN 'config of ' ELSE 'layers[' || edge.position || '] of ' END
  || parent.digest
FROM store
JOIN store_blob ON store_blob.store_id = store.id
JOIN content AS parent ON parent.id = store_blob.content_id
JOIN edge ON edge.parent_id = store_blob.content_id AND edge.role IN (1, 2)
JOIN content ON content.id = edge.child_id
WHERE NOT store.content_pending AND store.state <> 'missing' AND NOT EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = store_blob.store_id AND held.content_id = edge.child_id)
AND EXISTS (
    WITH RECURSIVE above(id) AS (
      SELECT edge.parent_id
      UNION SELECT edge.parent_id FROM edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = edge.parent_id AND edge.role IN (1, 2)
      UNION SELECT edge.parent_id FROM above CROSS JOIN edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = above.id AND edge.role = 0
    )
    SELECT 1 FROM above CROSS JOIN entry
    WHERE entry.content_id = above.id AND entry.store_id = store_blob.store_id
  )
UNION ALL
SELECT store.name, 'unusable-content', content.digest, 'is no JSON, which its media type claims'
FROM store
JOIN store_blob ON store_blob.store_id = store.id
JOIN content ON content.id = store_blob.content_id
WHERE content.kind = 4 AND store.state <> 'missing' AND (
  EXISTS (
    SELECT 1 FROM entry JOIN media_type ON media_type.id = entry.media_type_id
    WHERE entry.content_id = content.id AND entry.store_id = store.id AND media_type.name IN ('application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.index.v1+json',
    'application/vnd.oci.image.config.v1+json', 'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.docker.distribution.manifest.list.v2+json', 'application/vnd.docker.container.image.v1+json')
  ) OR EXISTS (
    SELECT 1 FROM edge JOIN media_type ON media_type.id = edge.media_type_id
    WHERE edge.child_id = content.id AND media_type.name IN ('application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.index.v1+json',
    'application/vnd.oci.image.config.v1+json', 'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.docker.distribution.manifest.list.v2+json', 'application/vnd.docker.container.image.v1+json') AND EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = store.id AND held.content_id = edge.parent_id)
  )
)
AND EXISTS (
    WITH RECURSIVE above(id) AS (
      SELECT content.id
      UNION SELECT edge.parent_id FROM edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = content.id AND edge.role IN (1, 2)
      UNION SELECT edge.parent_id FROM above CROSS JOIN edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = above.id AND edge.role = 0
    )
    SELECT 1 FROM above CROSS JOIN entry
    WHERE entry.content_id = above.id AND entry.store_id = store_blob.store_id
  )
UNION ALL
SELECT store.name, 'digest-differs', content.digest, 'its bytes are not what its digest says'
FROM store
JOIN store_blob ON store_blob.store_id = store.id AND NOT store_blob.is_good
JOIN content ON content.id = store_blob.content_id
WHERE store.state <> 'missing' AND NOT EXISTS (
  SELECT 1 FROM problem WHERE problem.store_id = store.id AND problem.kind = 'digest-differs'
  AND problem.subject = content.digest
)""",
)

_POSTGRESQL = (
    """CREATE VIEW stores AS -- a row a store (layout)
SELECT
  CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END AS name, -- name of the store
  store.path AS path, -- absolute path; percent-encoded where it is not UTF-8
  root.name AS root, -- the root below which it was found, or null
  store.state AS state, -- ok, empty, invalid, unreadable or missing
  store.error AS error, -- why it is not ok, or null
  to_char(to_timestamp(store.state_since / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS state_since, -- since when it is in that state
  store.entries AS entries, -- entries of its index.json that are usable
  store.naming AS naming, -- naming policy: annotations, path or fixed=NAME
  store.prefix AS prefix, -- the registry in front of names under the policy path
  store.priority AS priority, -- lower numbers answer first
  store.shared_blobs AS shared_blob_dir, -- a directory of blobs that it shares with others, or null
  store.layout_version AS layout_version, -- imageLayoutVersion of its oci-layout
  to_char(to_timestamp(store.indexed_at / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS indexed_at, -- when its index.json was last read into the catalog
  to_char(to_timestamp(store.changed_at / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS changed_at, -- when a change of its entries was last seen
  store.content_pending AS pending, -- 1 while what its digests are is not all read
  (SELECT host.name FROM host WHERE host.id = store.host_id) AS host, -- the machine that it lies on
  store.shared_as AS shared_as -- the same in stores of several hosts that are one layout, else null
FROM store LEFT JOIN root ON root.id = store.root_id""",
    """COMMENT ON VIEW stores IS 'a row a store (layout)'""",
    """COMMENT ON COLUMN stores.name IS 'name of the store'""",
    """COMMENT ON COLUMN stores.path IS 'absolute path; percent-encoded where it is not UTF-8'""",
    """COMMENT ON COLUMN stores.root IS 'the root below which it was found, or null'""",
    """COMMENT ON COLUMN stores.state IS 'ok, empty, invalid, unreadable or missing'""",
    """COMMENT ON COLUMN stores.error IS 'why it is not ok, or null'""",
    """COMMENT ON COLUMN stores.state_since IS 'since when it is in that state'""",
    """COMMENT ON COLUMN stores.entries IS 'entries of its index.json that are usable'""",
    """COMMENT ON COLUMN stores.naming IS 'naming policy: annotations, path or fixed=NAME'""",
    """COMMENT ON COLUMN stores.prefix IS 'the registry in front of names under the policy path'""",
    """COMMENT ON COLUMN stores.priority IS 'lower numbers answer first'""",
    """COMMENT ON COLUMN stores.shared_blob_dir IS 'a directory of blobs that it shares with others, or null'""",
    """COMMENT ON COLUMN stores.layout_version IS 'imageLayoutVersion of its oci-layout'""",
    """COMMENT ON COLUMN stores.indexed_at IS 'when its index.json was last read into the catalog'""",
    """COMMENT ON COLUMN stores.changed_at IS 'when a change of its entries was last seen'""",
    """COMMENT ON COLUMN stores.pending IS '1 while what its digests are is not all read'""",
    """COMMENT ON COLUMN stores.host IS 'the machine that it lies on'""",
    """COMMENT ON COLUMN stores.shared_as IS 'the same in stores of several hosts that are one layout, else null'""",
    """CREATE VIEW images AS -- a row a name: every lookup key of every entry; stores that are missing are left out
SELECT
  CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END AS store, -- name of the store
  store.path AS path, -- absolute path of the store
  name.name AS name, -- full canonical name with tag, or null where the entry has a tag alone
  repository.name AS repository, -- canonical repository, docker.io/library/alpine, or null
  repository.familiar AS familiar, -- the repository as Docker shows it: alpine
  name.tag AS tag, -- the tag; null where the name has a digest and no tag
  content.digest AS digest, -- digest of the descriptor
  nullif(media_type.name, '') AS media_type, -- media type, as the descriptor claims
  artifact.name AS artifact_type, -- artifact type, as the descriptor claims, or null
  entry.size AS size, -- size of the manifest in bytes, as the descriptor claims
  platform.name AS platform, -- os/arch[/variant], where the descriptor itself says it
  entry.ref_name AS ref_name, -- raw org.opencontainers.image.ref.name
  entry.image_name AS image_name, -- raw io.containerd.image.name
  to_char(to_timestamp(name.since / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS since, -- since when this name answers with this digest here
  name.shadowed AS shadowed, -- 1 where another entry of that store answers for this name
  CASE WHEN content.kind <> 0 THEN (
    WITH RECURSIVE below(id, role) AS (
      SELECT entry.content_id, 0
      UNION SELECT edge.child_id, edge.role FROM below CROSS JOIN edge
      WHERE below.role = 0 AND edge.parent_id = below.id AND edge.role IN (0, 1, 2)
      AND EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = entry.store_id AND held.content_id = edge.parent_id)
    )
    SELECT CAST(sum(store_blob.size) AS BIGINT) FROM store_blob
    WHERE store_blob.store_id = entry.store_id AND store_blob.content_id IN (SELECT below.id FROM below)
  ) END AS total_size, -- bytes in this store of all that it reaches, each blob once; null while it is not read
  (
    WITH RECURSIVE below(id, platform_id) AS (
      SELECT content.id, CAST(NULL AS BIGINT)
      UNION SELECT edge.child_id,
      CASE WHEN child.kind = 2 AND EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = entry.store_id AND held.content_id = child.id) THEN NULL ELSE edge.platform_id END
      FROM below CROSS JOIN edge CROSS JOIN content AS child
      WHERE below.platform_id IS NULL AND edge.parent_id = below.id AND edge.role = 0 AND child.id = edge.child_id
    )
    SELECT string_agg(said.name, ',') FROM (
      SELECT DISTINCT platform.name AS name FROM below
      LEFT JOIN edge ON below.platform_id IS NULL AND edge.parent_id = below.id AND edge.role = 1
      LEFT JOIN config ON config.content_id = edge.child_id
      JOIN platform ON platform.id = coalesce(below.platform_id, config.platform_id)
      WHERE platform.name <> 'unknown/unknown' ORDER BY platform.name
    ) AS said
  ) AS platforms, -- os/arch[/variant] of all its images, sorted, with commas between; null where it has none
  to_char(to_timestamp((
    WITH RECURSIVE below(id) AS (
      SELECT content.id
      UNION SELECT edge.child_id FROM below CROSS JOIN edge
      WHERE edge.parent_id = below.id AND edge.role = 0
    )
    SELECT max(config.created) FROM below CROSS JOIN edge CROSS JOIN config
    WHERE edge.parent_id = below.id AND edge.role = 1 AND config.content_id = edge.child_id
  ) / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created -- when it was made, as its config says; of an index, the newest of its images
FROM name
JOIN entry ON entry.id = name.entry_id
LEFT JOIN repository ON repository.id = name.repository_id
JOIN store ON store.id = entry.store_id
JOIN content ON content.id = entry.content_id
JOIN media_type ON media_type.id = entry.media_type_id
LEFT JOIN media_type AS artifact ON artifact.id = entry.artifact_type_id
LEFT JOIN platform ON platform.id = entry.platform_id
WHERE store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1))""",
    """COMMENT ON VIEW images IS 'a row a name: every lookup key of every entry; stores that are missing are left out'""",
    """COMMENT ON COLUMN images.store IS 'name of the store'""",
    """COMMENT ON COLUMN images.path IS 'absolute path of the store'""",
    """COMMENT ON COLUMN images.name IS 'full canonical name with tag, or null where the entry has a tag alone'""",
    """COMMENT ON COLUMN images.repository IS 'canonical repository, docker.io/library/alpine, or null'""",
    """COMMENT ON COLUMN images.familiar IS 'the repository as Docker shows it: alpine'""",
    """COMMENT ON COLUMN images.tag IS 'the tag; null where the name has a digest and no tag'""",
    """COMMENT ON COLUMN images.digest IS 'digest of the descriptor'""",
    """COMMENT ON COLUMN images.media_type IS 'media type, as the descriptor claims'""",
    """COMMENT ON COLUMN images.artifact_type IS 'artifact type, as the descriptor claims, or null'""",
    """COMMENT ON COLUMN images.size IS 'size of the manifest in bytes, as the descriptor claims'""",
    """COMMENT ON COLUMN images.platform IS 'os/arch[/variant], where the descriptor itself says it'""",
    """COMMENT ON COLUMN images.ref_name IS 'raw org.opencontainers.image.ref.name'""",
    """COMMENT ON COLUMN images.image_name IS 'raw io.containerd.image.name'""",
    """COMMENT ON COLUMN images.since IS 'since when this name answers with this digest here'""",
    """COMMENT ON COLUMN images.shadowed IS '1 where another entry of that store answers for this name'""",
    """COMMENT ON COLUMN images.total_size IS 'bytes in this store of all that it reaches, each blob once; null while it is not read'""",
    """COMMENT ON COLUMN images.platforms IS 'os/arch[/variant] of all its images, sorted, with commas between; null where it has none'""",
    """COMMENT ON COLUMN images.created IS 'when it was made, as its config says; of an index, the newest of its images'""",
    """CREATE VIEW unnamed AS -- a row an entry that has no name and no tag
SELECT
  CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END AS store, -- name of the store
  store.path AS path, -- absolute path of the store
  content.digest AS digest, -- digest of the descriptor
  nullif(media_type.name, '') AS media_type, -- media type, as the descriptor claims
  artifact.name AS artifact_type, -- artifact type, as the descriptor claims, or null
  entry.size AS size, -- size of the manifest in bytes, as the descriptor claims
  platform.name AS platform, -- os/arch[/variant], where the descriptor itself says it
  CASE WHEN content.kind <> 0 THEN (
    WITH RECURSIVE below(id, role) AS (
      SELECT entry.content_id, 0
      UNION SELECT edge.child_id, edge.role FROM below CROSS JOIN edge
      WHERE below.role = 0 AND edge.parent_id = below.id AND edge.role IN (0, 1, 2)
      AND EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = entry.store_id AND held.content_id = edge.parent_id)
    )
    SELECT CAST(sum(store_blob.size) AS BIGINT) FROM store_blob
    WHERE store_blob.store_id = entry.store_id AND store_blob.content_id IN (SELECT below.id FROM below)
  ) END AS total_size, -- bytes in this store of all that it reaches, each blob once; null while it is not read
  (
    WITH RECURSIVE below(id, platform_id) AS (
      SELECT content.id, CAST(NULL AS BIGINT)
      UNION SELECT edge.child_id,
      CASE WHEN child.kind = 2 AND EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = entry.store_id AND held.content_id = child.id) THEN NULL ELSE edge.platform_id END
      FROM below CROSS JOIN edge CROSS JOIN content AS child
      WHERE below.platform_id IS NULL AND edge.parent_id = below.id AND edge.role = 0 AND child.id = edge.child_id
    )
    SELECT string_agg(said.name, ',') FROM (
      SELECT DISTINCT platform.name AS name FROM below
      LEFT JOIN edge ON below.platform_id IS NULL AND edge.parent_id = below.id AND edge.role = 1
      LEFT JOIN config ON config.content_id = edge.child_id
      JOIN platform ON platform.id = coalesce(below.platform_id, config.platform_id)
      WHERE platform.name <> 'unknown/unknown' ORDER BY platform.name
    ) AS said
  ) AS platforms, -- os/arch[/variant] of all its images, sorted, with commas between; null where it has none
  to_char(to_timestamp((
    WITH RECURSIVE below(id) AS (
      SELECT content.id
      UNION SELECT edge.child_id FROM below CROSS JOIN edge
      WHERE edge.parent_id = below.id AND edge.role = 0
    )
    SELECT max(config.created) FROM below CROSS JOIN edge CROSS JOIN config
    WHERE edge.parent_id = below.id AND edge.role = 1 AND config.content_id = edge.child_id
  ) / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created -- when it was made, as its config says; of an index, the newest of its images
FROM entry
JOIN store ON store.id = entry.store_id
JOIN content ON content.id = entry.content_id
JOIN media_type ON media_type.id = entry.media_type_id
LEFT JOIN media_type AS artifact ON artifact.id = entry.artifact_type_id
LEFT JOIN platform ON platform.id = entry.platform_id
WHERE store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1)) AND NOT EXISTS (SELECT 1 FROM name WHERE name.entry_id = entry.id)""",
    """COMMENT ON VIEW unnamed IS 'a row an entry that has no name and no tag'""",
    """COMMENT ON COLUMN unnamed.store IS 'name of the store'""",
    """COMMENT ON COLUMN unnamed.path IS 'absolute path of the store'""",
    """COMMENT ON COLUMN unnamed.digest IS 'digest of the descriptor'""",
    """COMMENT ON COLUMN unnamed.media_type IS 'media type, as the descriptor claims'""",
    """COMMENT ON COLUMN unnamed.artifact_type IS 'artifact type, as the descriptor claims, or null'""",
    """COMMENT ON COLUMN unnamed.size IS 'size of the manifest in bytes, as the descriptor claims'""",
    """COMMENT ON COLUMN unnamed.platform IS 'os/arch[/variant], where the descriptor itself says it'""",
    """COMMENT ON COLUMN unnamed.total_size IS 'bytes in this store of all that it reaches, each blob once; null while it is not read'""",
    """COMMENT ON COLUMN unnamed.platforms IS 'os/arch[/variant] of all its images, sorted, with commas between; null where it has none'""",
    """COMMENT ON COLUMN unnamed.created IS 'when it was made, as its config says; of an index, the newest of its images'""",
    """CREATE VIEW manifests AS -- a row a manifest or image index that lies in a store and was read: facts of its bytes, the same in every store
SELECT
  content.digest AS digest, -- digest of the manifest
  CASE content.kind WHEN 1 THEN 'manifest' WHEN 2 THEN 'index' END AS kind, -- manifest or index
  nullif(media_type.name, '') AS media_type, -- media type, as it says itself
  artifact.name AS artifact_type, -- artifact type, as it says itself, or null
  content.size AS size, -- its bytes
  config_content.digest AS config, -- digest of its config, or null
  nullif(config_type.name, '') AS config_type, -- media type of its config, as it claims
  edge.size AS config_size, -- bytes of its config, as it claims
  subject.digest AS subject, -- digest of what it is about, as its own field says, or null
  platform.name AS platform, -- os/arch[/variant], as the config says; null of an index (see platforms)
  to_char(to_timestamp(config.created / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created, -- when it was made, as the config says
  manifest.layers AS layers, -- number of its layers
  manifest.layers_size AS layers_size, -- bytes of its layers, as it claims
  manifest.chain AS chain -- hash of its layers in order: images with the same chain have the same layers
FROM manifest
JOIN content ON content.id = manifest.content_id
JOIN media_type ON media_type.id = manifest.media_type_id
LEFT JOIN media_type AS artifact ON artifact.id = manifest.artifact_type_id
LEFT JOIN edge AS about ON about.parent_id = manifest.content_id AND about.role = 3 AND about.position = 0
LEFT JOIN content AS subject ON subject.id = about.child_id
LEFT JOIN edge ON edge.parent_id = manifest.content_id AND edge.role = 1 AND edge.position = 0
LEFT JOIN content AS config_content ON config_content.id = edge.child_id
LEFT JOIN media_type AS config_type ON config_type.id = edge.media_type_id
LEFT JOIN config ON config.content_id = edge.child_id
LEFT JOIN (SELECT id, name FROM platform) AS platform ON platform.id = config.platform_id
WHERE EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = manifest.content_id AND holder.state <> 'missing')""",
    """COMMENT ON VIEW manifests IS 'a row a manifest or image index that lies in a store and was read: facts of its bytes, the same in every store'""",
    """COMMENT ON COLUMN manifests.digest IS 'digest of the manifest'""",
    """COMMENT ON COLUMN manifests.kind IS 'manifest or index'""",
    """COMMENT ON COLUMN manifests.media_type IS 'media type, as it says itself'""",
    """COMMENT ON COLUMN manifests.artifact_type IS 'artifact type, as it says itself, or null'""",
    """COMMENT ON COLUMN manifests.size IS 'its bytes'""",
    """COMMENT ON COLUMN manifests.config IS 'digest of its config, or null'""",
    """COMMENT ON COLUMN manifests.config_type IS 'media type of its config, as it claims'""",
    """COMMENT ON COLUMN manifests.config_size IS 'bytes of its config, as it claims'""",
    """COMMENT ON COLUMN manifests.subject IS 'digest of what it is about, as its own field says, or null'""",
    """COMMENT ON COLUMN manifests.platform IS 'os/arch[/variant], as the config says; null of an index (see platforms)'""",
    """COMMENT ON COLUMN manifests.created IS 'when it was made, as the config says'""",
    """COMMENT ON COLUMN manifests.layers IS 'number of its layers'""",
    """COMMENT ON COLUMN manifests.layers_size IS 'bytes of its layers, as it claims'""",
    """COMMENT ON COLUMN manifests.chain IS 'hash of its layers in order: images with the same chain have the same layers'""",
    """CREATE VIEW platforms AS -- a row a manifest of an image index, whether it lies anywhere or not
SELECT
  parent.digest AS image_index, -- digest of the image index
  edge.position AS position, -- place in its list, from 0
  child.digest AS digest, -- digest of the manifest, or of an index within the index
  coalesce(platform.name, (
    SELECT own.name FROM edge AS has CROSS JOIN config CROSS JOIN platform AS own
    WHERE has.parent_id = edge.child_id AND has.role = 1 AND config.content_id = has.child_id
    AND own.id = config.platform_id
  )) AS platform, -- os/arch[/variant] as the index says, else as the manifest's config does; unknown/unknown: an attestation
  nullif(media_type.name, '') AS media_type, -- media type, as the index claims
  edge.size AS size -- size of the manifest in bytes, as the index claims
FROM edge
JOIN content AS parent ON parent.id = edge.parent_id
JOIN content AS child ON child.id = edge.child_id
JOIN media_type ON media_type.id = edge.media_type_id
LEFT JOIN platform ON platform.id = edge.platform_id
WHERE edge.role = 0 AND EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = edge.parent_id AND holder.state <> 'missing')""",
    """COMMENT ON VIEW platforms IS 'a row a manifest of an image index, whether it lies anywhere or not'""",
    """COMMENT ON COLUMN platforms.image_index IS 'digest of the image index'""",
    """COMMENT ON COLUMN platforms.position IS 'place in its list, from 0'""",
    """COMMENT ON COLUMN platforms.digest IS 'digest of the manifest, or of an index within the index'""",
    """COMMENT ON COLUMN platforms.platform IS 'os/arch[/variant] as the index says, else as the manifest''s config does; unknown/unknown: an attestation'""",
    """COMMENT ON COLUMN platforms.media_type IS 'media type, as the index claims'""",
    """COMMENT ON COLUMN platforms.size IS 'size of the manifest in bytes, as the index claims'""",
    """CREATE VIEW layers AS -- a row a layer of a manifest, whether it lies anywhere or not
SELECT
  parent.digest AS manifest, -- digest of the manifest
  edge.position AS position, -- place in its list, from 0
  child.digest AS digest, -- digest of the layer
  nullif(media_type.name, '') AS media_type, -- media type, as the manifest claims
  edge.size AS size, -- bytes, as the manifest claims
  edge.chain AS chain -- hash of the layers up to this one: the chain of a manifest that has just these
FROM edge
JOIN content AS parent ON parent.id = edge.parent_id
JOIN content AS child ON child.id = edge.child_id
JOIN media_type ON media_type.id = edge.media_type_id
WHERE edge.role = 2 AND EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = edge.parent_id AND holder.state <> 'missing')""",
    """COMMENT ON VIEW layers IS 'a row a layer of a manifest, whether it lies anywhere or not'""",
    """COMMENT ON COLUMN layers.manifest IS 'digest of the manifest'""",
    """COMMENT ON COLUMN layers.position IS 'place in its list, from 0'""",
    """COMMENT ON COLUMN layers.digest IS 'digest of the layer'""",
    """COMMENT ON COLUMN layers.media_type IS 'media type, as the manifest claims'""",
    """COMMENT ON COLUMN layers.size IS 'bytes, as the manifest claims'""",
    """COMMENT ON COLUMN layers.chain IS 'hash of the layers up to this one: the chain of a manifest that has just these'""",
    """CREATE VIEW blobs AS -- a row a blob that lies in a store, whatever it is; stores that are missing are left out
SELECT
  CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END AS store, -- name of the store
  store.path AS path, -- absolute path of the store
  content.digest AS digest, -- digest of the blob, which is its name in the store
  store_blob.size AS size, -- bytes, as the file system says
  EXISTS (
    WITH RECURSIVE above(id) AS (
      SELECT store_blob.content_id
      UNION SELECT edge.parent_id FROM edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = store_blob.content_id AND edge.role IN (1, 2)
      UNION SELECT edge.parent_id FROM above CROSS JOIN edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = above.id AND edge.role = 0
    )
    SELECT 1 FROM above CROSS JOIN entry
    WHERE entry.content_id = above.id AND entry.store_id = store_blob.store_id
  ) AS reachable, -- 1 where an entry reaches it: as its manifest, one of an index, a config or a layer
  to_char(to_timestamp(store_blob.verified_at / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS verified_at, -- when its bytes were last compared with its digest, or null
  store_blob.is_good AS is_good -- 1 where they were what the digest says, 0 where not; null before
FROM store_blob
JOIN store ON store.id = store_blob.store_id
JOIN content ON content.id = store_blob.content_id
WHERE store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1))""",
    """COMMENT ON VIEW blobs IS 'a row a blob that lies in a store, whatever it is; stores that are missing are left out'""",
    """COMMENT ON COLUMN blobs.store IS 'name of the store'""",
    """COMMENT ON COLUMN blobs.path IS 'absolute path of the store'""",
    """COMMENT ON COLUMN blobs.digest IS 'digest of the blob, which is its name in the store'""",
    """COMMENT ON COLUMN blobs.size IS 'bytes, as the file system says'""",
    """COMMENT ON COLUMN blobs.reachable IS '1 where an entry reaches it: as its manifest, one of an index, a config or a layer'""",
    """COMMENT ON COLUMN blobs.verified_at IS 'when its bytes were last compared with its digest, or null'""",
    """COMMENT ON COLUMN blobs.is_good IS '1 where they were what the digest says, 0 where not; null before'""",
    """CREATE VIEW labels AS -- a row a label of an image
SELECT
  parent.digest AS digest, -- digest of the image's manifest
  content.digest AS config, -- digest of its config, which has the label
  annotation_key.name AS key, -- key of the label
  content_annotation.value AS value, -- its value
  substr(content_annotation.value, 1, 128) AS beginning -- its first 128 characters: what there is an index on, so ask by this and key, and then by value
FROM content_annotation
JOIN annotation_key ON annotation_key.id = content_annotation.key_id
JOIN content ON content.id = content_annotation.content_id
JOIN edge ON edge.child_id = content_annotation.content_id AND edge.role = 1
JOIN content AS parent ON parent.id = edge.parent_id
WHERE content_annotation.is_label AND EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = edge.parent_id AND holder.state <> 'missing')""",
    """COMMENT ON VIEW labels IS 'a row a label of an image'""",
    """COMMENT ON COLUMN labels.digest IS 'digest of the image''s manifest'""",
    """COMMENT ON COLUMN labels.config IS 'digest of its config, which has the label'""",
    """COMMENT ON COLUMN labels.key IS 'key of the label'""",
    """COMMENT ON COLUMN labels.value IS 'its value'""",
    """COMMENT ON COLUMN labels.beginning IS 'its first 128 characters: what there is an index on, so ask by this and key, and then by value'""",
    """CREATE VIEW annotations AS -- a row an annotation of an entry, its two names left out (images.ref_name, images.image_name), or of a manifest
SELECT
  CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END AS store, -- name of the store
  content.digest AS digest, -- digest of the descriptor, or of the manifest or image index
  annotation_key.name AS key, -- key of the annotation
  entry_annotation.value AS value, -- its value
  'entry' AS origin, -- what says it: entry (a descriptor of index.json), or manifest (one that lies there)
  substr(entry_annotation.value, 1, 128) AS beginning -- its first 128 characters: what there is an index on, so ask by this and key, and then by value
FROM entry_annotation
JOIN annotation_key ON annotation_key.id = entry_annotation.key_id
JOIN entry ON entry.id = entry_annotation.entry_id
JOIN store ON store.id = entry.store_id
JOIN content ON content.id = entry.content_id
WHERE store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1))
UNION ALL
SELECT CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END, content.digest, annotation_key.name, content_annotation.value, 'manifest', substr(content_annotation.value, 1, 128)
FROM content_annotation
JOIN annotation_key ON annotation_key.id = content_annotation.key_id
JOIN content ON content.id = content_annotation.content_id
JOIN store_blob ON store_blob.content_id = content_annotation.content_id
JOIN store ON store.id = store_blob.store_id
WHERE NOT content_annotation.is_label AND store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1))""",
    """COMMENT ON VIEW annotations IS 'a row an annotation of an entry, its two names left out (images.ref_name, images.image_name), or of a manifest'""",
    """COMMENT ON COLUMN annotations.store IS 'name of the store'""",
    """COMMENT ON COLUMN annotations.digest IS 'digest of the descriptor, or of the manifest or image index'""",
    """COMMENT ON COLUMN annotations.key IS 'key of the annotation'""",
    """COMMENT ON COLUMN annotations.value IS 'its value'""",
    """COMMENT ON COLUMN annotations.origin IS 'what says it: entry (a descriptor of index.json), or manifest (one that lies there)'""",
    """COMMENT ON COLUMN annotations.beginning IS 'its first 128 characters: what there is an index on, so ask by this and key, and then by value'""",
    """CREATE VIEW referrers AS -- a row a signature, attestation or the like: what says that it is about a digest, wherever either lies
SELECT
  subject.digest AS subject, -- what it is about
  content.digest AS referrer, -- digest of the manifest that is about it
  CAST('subject' AS TEXT) AS how, -- subject (its own field), fallback or cosign (a tag), buildkit or containerd (annotations)
  (
    SELECT coalesce(artifact.name, nullif(media_type.name, '')) FROM manifest
    LEFT JOIN media_type AS artifact ON artifact.id = manifest.artifact_type_id
    LEFT JOIN edge AS has ON has.parent_id = manifest.content_id AND has.role = 1
    LEFT JOIN media_type ON media_type.id = has.media_type_id
    WHERE manifest.content_id = content.id
  ) AS artifact_type -- artifact type of the referrer, else its config's media type, or null
FROM edge
JOIN content AS subject ON subject.id = edge.child_id
JOIN content ON content.id = edge.parent_id
WHERE edge.role = 3 AND EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = edge.parent_id AND holder.state <> 'missing')
UNION ALL
SELECT subject.digest, content.digest, referrer.how, (
    SELECT coalesce(artifact.name, nullif(media_type.name, '')) FROM manifest
    LEFT JOIN media_type AS artifact ON artifact.id = manifest.artifact_type_id
    LEFT JOIN edge AS has ON has.parent_id = manifest.content_id AND has.role = 1
    LEFT JOIN media_type ON media_type.id = has.media_type_id
    WHERE manifest.content_id = content.id
  )
FROM referrer
JOIN content AS subject ON subject.id = referrer.subject_id
JOIN content ON content.id = referrer.referrer_id
WHERE referrer.how <> 'fallback' AND (
    EXISTS (
      SELECT 1 FROM entry JOIN store ON store.id = entry.store_id
      WHERE entry.id = referrer.entry_id AND store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1))
    ) OR EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = referrer.content_id AND holder.state <> 'missing')
  )
AND NOT EXISTS (
  SELECT 1 FROM referrer AS same
  WHERE same.subject_id = referrer.subject_id AND same.referrer_id = referrer.referrer_id AND same.id < referrer.id
  AND same.how = referrer.how AND (
    EXISTS (
      SELECT 1 FROM entry JOIN store ON store.id = entry.store_id
      WHERE entry.id = same.entry_id AND store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1))
    ) OR EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = same.content_id AND holder.state <> 'missing')
  )
)
UNION ALL
SELECT subject.digest, content.digest, referrer.how, (
    SELECT coalesce(artifact.name, nullif(media_type.name, '')) FROM manifest
    LEFT JOIN media_type AS artifact ON artifact.id = manifest.artifact_type_id
    LEFT JOIN edge AS has ON has.parent_id = manifest.content_id AND has.role = 1
    LEFT JOIN media_type ON media_type.id = has.media_type_id
    WHERE manifest.content_id = content.id
  )
FROM referrer
JOIN content AS subject ON subject.id = referrer.subject_id
JOIN edge ON edge.parent_id = referrer.referrer_id AND edge.role = 0
JOIN content ON content.id = edge.child_id
WHERE referrer.how = 'fallback' AND (
    EXISTS (
      SELECT 1 FROM entry JOIN store ON store.id = entry.store_id
      WHERE entry.id = referrer.entry_id AND store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1))
    ) OR EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = referrer.content_id AND holder.state <> 'missing')
  )
AND NOT EXISTS (
  SELECT 1 FROM referrer AS same CROSS JOIN edge AS again
  WHERE same.subject_id = referrer.subject_id AND same.id <= referrer.id AND same.how = 'fallback'
  AND again.child_id = edge.child_id AND again.role = 0 AND again.parent_id = same.referrer_id
  AND (same.id < referrer.id OR again.position < edge.position) AND (
    EXISTS (
      SELECT 1 FROM entry JOIN store ON store.id = entry.store_id
      WHERE entry.id = same.entry_id AND store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1))
    ) OR EXISTS (SELECT 1 FROM store_blob AS held JOIN store AS holder ON holder.id = held.store_id WHERE held.content_id = same.content_id AND holder.state <> 'missing')
  )
)""",
    """COMMENT ON VIEW referrers IS 'a row a signature, attestation or the like: what says that it is about a digest, wherever either lies'""",
    """COMMENT ON COLUMN referrers.subject IS 'what it is about'""",
    """COMMENT ON COLUMN referrers.referrer IS 'digest of the manifest that is about it'""",
    """COMMENT ON COLUMN referrers.how IS 'subject (its own field), fallback or cosign (a tag), buildkit or containerd (annotations)'""",
    """COMMENT ON COLUMN referrers.artifact_type IS 'artifact type of the referrer, else its config''s media type, or null'""",
    """CREATE VIEW history AS -- what a name of a store answered, and when: one row a span, the standing ones with until null
SELECT
  CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END AS store, -- name of the store
  name_span.name AS name, -- full canonical name, or null where there was a tag alone
  repository.name AS repository, -- canonical repository, or null
  name_span.tag AS tag, -- the tag
  content.digest AS digest, -- what it answered
  to_char(to_timestamp(name_span.since / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS since, -- from when
  to_char(to_timestamp(name_span.until / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS until, -- until when; null while it stands
  name_span.origin AS origin -- null: ocicat saw it; olareg: the layout's own index.json tells it
FROM name_span
JOIN store ON store.id = name_span.store_id
JOIN content ON content.id = name_span.content_id
LEFT JOIN repository ON repository.id = name_span.repository_id
UNION ALL
SELECT CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END, name.name, repository.name, name.tag, content.digest, to_char(to_timestamp(name.since / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), NULL, CAST(NULL AS TEXT)
FROM name
JOIN entry ON entry.id = name.entry_id
JOIN store ON store.id = name.store_id
JOIN content ON content.id = entry.content_id
LEFT JOIN repository ON repository.id = name.repository_id
WHERE NOT name.shadowed AND name.tag IS NOT NULL""",
    """COMMENT ON VIEW history IS 'what a name of a store answered, and when: one row a span, the standing ones with until null'""",
    """COMMENT ON COLUMN history.store IS 'name of the store'""",
    """COMMENT ON COLUMN history.name IS 'full canonical name, or null where there was a tag alone'""",
    """COMMENT ON COLUMN history.repository IS 'canonical repository, or null'""",
    """COMMENT ON COLUMN history.tag IS 'the tag'""",
    """COMMENT ON COLUMN history.digest IS 'what it answered'""",
    """COMMENT ON COLUMN history.since IS 'from when'""",
    """COMMENT ON COLUMN history.until IS 'until when; null while it stands'""",
    """COMMENT ON COLUMN history.origin IS 'null: ocicat saw it; olareg: the layout''s own index.json tells it'""",
    """CREATE VIEW snapshots AS -- a row a change of an index.json, as it was seen
SELECT
  CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END AS store, -- name of the store
  to_char(to_timestamp(snapshot.at / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at, -- when it was taken into the catalog
  snapshot.generation AS generation, -- rises by one with each change of that store
  snapshot.sha256 AS sha256, -- of the bytes of index.json, hex
  snapshot.size AS size, -- of index.json in bytes
  snapshot.entries AS entries, -- usable entries after it
  snapshot.added AS added, -- entries that it added
  snapshot.removed AS removed, -- entries that it removed
  snapshot.moved AS moved, -- entries whose order it changed where order matters
  snapshot.took_ms AS took_ms -- milliseconds from the read to the commit
FROM snapshot JOIN store ON store.id = snapshot.store_id""",
    """COMMENT ON VIEW snapshots IS 'a row a change of an index.json, as it was seen'""",
    """COMMENT ON COLUMN snapshots.store IS 'name of the store'""",
    """COMMENT ON COLUMN snapshots.at IS 'when it was taken into the catalog'""",
    """COMMENT ON COLUMN snapshots.generation IS 'rises by one with each change of that store'""",
    """COMMENT ON COLUMN snapshots.sha256 IS 'of the bytes of index.json, hex'""",
    """COMMENT ON COLUMN snapshots.size IS 'of index.json in bytes'""",
    """COMMENT ON COLUMN snapshots.entries IS 'usable entries after it'""",
    """COMMENT ON COLUMN snapshots.added IS 'entries that it added'""",
    """COMMENT ON COLUMN snapshots.removed IS 'entries that it removed'""",
    """COMMENT ON COLUMN snapshots.moved IS 'entries whose order it changed where order matters'""",
    """COMMENT ON COLUMN snapshots.took_ms IS 'milliseconds from the read to the commit'""",
    """CREATE VIEW problems AS -- what ocicat check lists: stores that are not well, entries, names and blobs that cannot be used or are not there
SELECT
  CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END AS store, -- name of the store
  problem.kind AS kind, -- kind of problem (docs/problems.md)
  problem.subject AS subject, -- what it is about
  problem.detail AS detail -- why
FROM problem JOIN store ON store.id = problem.store_id
UNION ALL
SELECT CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END, store.state, store.path, coalesce(store.error, '')
FROM store WHERE store.state IN ('invalid', 'unreadable', 'missing')
UNION ALL
SELECT CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END, 'missing-blob', content.digest, 'the manifest of an entry'
FROM store
JOIN entry ON entry.store_id = store.id
JOIN content ON content.id = entry.content_id
WHERE NOT store.content_pending AND store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1)) AND NOT EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = entry.store_id AND held.content_id = entry.content_id)
AND entry.id = (
  SELECT min(same.id) FROM entry AS same
  WHERE same.content_id = entry.content_id AND same.store_id = entry.store_id
)
UNION ALL
SELECT CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END, 'missing-blob', content.digest, CASE WHEN edge.role = 1 THEN 'config of ' ELSE 'layers[' || edge.position || '] of ' END
  || parent.digest
FROM store
JOIN store_blob ON store_blob.store_id = store.id
JOIN content AS parent ON parent.id = store_blob.content_id
JOIN edge ON edge.parent_id = store_blob.content_id AND edge.role IN (1, 2)
JOIN content ON content.id = edge.child_id
WHERE NOT store.content_pending AND store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1)) AND NOT EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = store_blob.store_id AND held.content_id = edge.child_id)
AND EXISTS (
    WITH RECURSIVE above(id) AS (
      SELECT edge.parent_id
      UNION SELECT edge.parent_id FROM edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = edge.parent_id AND edge.role IN (1, 2)
      UNION SELECT edge.parent_id FROM above CROSS JOIN edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = above.id AND edge.role = 0
    )
    SELECT 1 FROM above CROSS JOIN entry
    WHERE entry.content_id = above.id AND entry.store_id = store_blob.store_id
  )
UNION ALL
SELECT CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END, 'unusable-content', content.digest, 'is no JSON, which its media type claims'
FROM store
JOIN store_blob ON store_blob.store_id = store.id
JOIN content ON content.id = store_blob.content_id
WHERE content.kind = 4 AND store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1)) AND (
  EXISTS (
    SELECT 1 FROM entry JOIN media_type ON media_type.id = entry.media_type_id
    WHERE entry.content_id = content.id AND entry.store_id = store.id AND media_type.name IN ('application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.index.v1+json',
    'application/vnd.oci.image.config.v1+json', 'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.docker.distribution.manifest.list.v2+json', 'application/vnd.docker.container.image.v1+json')
  ) OR EXISTS (
    SELECT 1 FROM edge JOIN media_type ON media_type.id = edge.media_type_id
    WHERE edge.child_id = content.id AND media_type.name IN ('application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.index.v1+json',
    'application/vnd.oci.image.config.v1+json', 'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.docker.distribution.manifest.list.v2+json', 'application/vnd.docker.container.image.v1+json') AND EXISTS (SELECT 1 FROM store_blob AS held WHERE held.store_id = store.id AND held.content_id = edge.parent_id)
  )
)
AND EXISTS (
    WITH RECURSIVE above(id) AS (
      SELECT content.id
      UNION SELECT edge.parent_id FROM edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = content.id AND edge.role IN (1, 2)
      UNION SELECT edge.parent_id FROM above CROSS JOIN edge JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.parent_id
      WHERE edge.child_id = above.id AND edge.role = 0
    )
    SELECT 1 FROM above CROSS JOIN entry
    WHERE entry.content_id = above.id AND entry.store_id = store_blob.store_id
  )
UNION ALL
SELECT CASE WHEN store.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true)) THEN store.name ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END, 'digest-differs', content.digest, 'its bytes are not what its digest says'
FROM store
JOIN store_blob ON store_blob.store_id = store.id AND NOT store_blob.is_good
JOIN content ON content.id = store_blob.content_id
WHERE store.state <> 'missing' AND (store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing' ORDER BY (twin.host_id = (SELECT id FROM host WHERE name = current_setting('ocicat.host', true))) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1)) AND NOT EXISTS (
  SELECT 1 FROM problem WHERE problem.store_id = store.id AND problem.kind = 'digest-differs'
  AND problem.subject = content.digest
)""",
    """COMMENT ON VIEW problems IS 'what ocicat check lists: stores that are not well, entries, names and blobs that cannot be used or are not there'""",
    """COMMENT ON COLUMN problems.store IS 'name of the store'""",
    """COMMENT ON COLUMN problems.kind IS 'kind of problem (docs/problems.md)'""",
    """COMMENT ON COLUMN problems.subject IS 'what it is about'""",
    """COMMENT ON COLUMN problems.detail IS 'why'""",
)


def upgrade() -> None:
    engine = op.get_bind().dialect.name
    statements = [f"DROP VIEW {view}" for view in reversed(_VIEWS)]
    statements += [f"ALTER TABLE {table} ADD COLUMN shared_as {_COLUMNS[engine]}" for table in ("root", "store")]
    statements.append("CREATE INDEX ix_store_shared_as ON store (shared_as) WHERE shared_as IS NOT NULL")
    statements += _SQLITE if engine == "sqlite" else _POSTGRESQL
    statements.append("UPDATE meta SET value = '1.1' WHERE key = 'schema'")
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)
