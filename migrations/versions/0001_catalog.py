"""The catalog: stores, entries, names, their past, and the public views (schema 1.0).

Written out, not taken from catalog/db/schema.py: what a migration did must not change with the tables of today.
"""

from alembic import op

revision = "0001"
down_revision = None

_SQLITE = (
    """CREATE TABLE annotation_key (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    CONSTRAINT pk_annotation_key PRIMARY KEY (id),
    CONSTRAINT uq_annotation_key_name UNIQUE (name)
)""",
    """CREATE TABLE content (
    id INTEGER NOT NULL,
    digest VARCHAR NOT NULL,
    kind SMALLINT DEFAULT '0' NOT NULL,
    size BIGINT,
    CONSTRAINT pk_content PRIMARY KEY (id),
    CONSTRAINT uq_content_digest UNIQUE (digest)
)""",
    """CREATE TABLE host (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    CONSTRAINT pk_host PRIMARY KEY (id),
    CONSTRAINT uq_host_name UNIQUE (name)
)""",
    """CREATE TABLE media_type (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    CONSTRAINT pk_media_type PRIMARY KEY (id),
    CONSTRAINT uq_media_type_name UNIQUE (name)
)""",
    """CREATE TABLE meta (
    "key" VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    CONSTRAINT pk_meta PRIMARY KEY ("key")
)""",
    """CREATE TABLE platform (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    CONSTRAINT pk_platform PRIMARY KEY (id),
    CONSTRAINT uq_platform_name UNIQUE (name)
)""",
    """CREATE TABLE repository (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    domain VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    familiar VARCHAR NOT NULL,
    CONSTRAINT pk_repository PRIMARY KEY (id),
    CONSTRAINT uq_repository_name UNIQUE (name)
)""",
    """CREATE INDEX ix_repository_familiar ON repository (familiar)""",
    """CREATE TABLE config (
    content_id INTEGER NOT NULL,
    platform_id INTEGER NOT NULL,
    created BIGINT,
    CONSTRAINT pk_config PRIMARY KEY (content_id),
    CONSTRAINT fk_config_content_id FOREIGN KEY(content_id) REFERENCES content (id) ON DELETE CASCADE,
    CONSTRAINT fk_config_platform_id FOREIGN KEY(platform_id) REFERENCES platform (id)
)""",
    """CREATE INDEX ix_config_created ON config (created)""",
    """CREATE INDEX ix_config_platform ON config (platform_id)""",
    """CREATE TABLE content_annotation (
    content_id INTEGER NOT NULL,
    is_label BOOLEAN NOT NULL,
    key_id INTEGER NOT NULL,
    value VARCHAR NOT NULL,
    CONSTRAINT pk_content_annotation PRIMARY KEY (content_id, is_label, key_id),
    CONSTRAINT fk_content_annotation_content_id FOREIGN KEY(content_id) REFERENCES content (id) ON DELETE CASCADE,
    CONSTRAINT fk_content_annotation_key_id FOREIGN KEY(key_id) REFERENCES annotation_key (id)
)
 WITHOUT ROWID""",
    """CREATE INDEX ix_content_annotation_value ON content_annotation (key_id, substr(value, 1, 128), content_id)""",
    """CREATE TABLE edge (
    parent_id INTEGER NOT NULL,
    role SMALLINT NOT NULL,
    position INTEGER NOT NULL,
    child_id INTEGER NOT NULL,
    platform_id INTEGER,
    media_type_id INTEGER NOT NULL,
    size BIGINT,
    chain VARCHAR,
    CONSTRAINT pk_edge PRIMARY KEY (parent_id, role, position),
    CONSTRAINT fk_edge_parent_id FOREIGN KEY(parent_id) REFERENCES content (id) ON DELETE CASCADE,
    CONSTRAINT fk_edge_child_id FOREIGN KEY(child_id) REFERENCES content (id),
    CONSTRAINT fk_edge_platform_id FOREIGN KEY(platform_id) REFERENCES platform (id),
    CONSTRAINT fk_edge_media_type_id FOREIGN KEY(media_type_id) REFERENCES media_type (id)
)
 WITHOUT ROWID""",
    """CREATE INDEX ix_edge_chain ON edge (chain) WHERE chain IS NOT NULL""",
    """CREATE INDEX ix_edge_child ON edge (child_id, role, position, parent_id)""",
    """CREATE TABLE left_out (
    host_id INTEGER NOT NULL,
    path VARCHAR NOT NULL,
    CONSTRAINT pk_left_out PRIMARY KEY (host_id, path),
    CONSTRAINT fk_left_out_host_id FOREIGN KEY(host_id) REFERENCES host (id) ON DELETE CASCADE
)""",
    """CREATE TABLE manifest (
    content_id INTEGER NOT NULL,
    media_type_id INTEGER NOT NULL,
    artifact_type_id INTEGER,
    layers INTEGER NOT NULL,
    layers_size BIGINT NOT NULL,
    chain VARCHAR,
    CONSTRAINT pk_manifest PRIMARY KEY (content_id),
    CONSTRAINT fk_manifest_content_id FOREIGN KEY(content_id) REFERENCES content (id) ON DELETE CASCADE,
    CONSTRAINT fk_manifest_media_type_id FOREIGN KEY(media_type_id) REFERENCES media_type (id),
    CONSTRAINT fk_manifest_artifact_type_id FOREIGN KEY(artifact_type_id) REFERENCES media_type (id)
)""",
    """CREATE INDEX ix_manifest_artifact_type ON manifest (artifact_type_id)""",
    """CREATE INDEX ix_manifest_chain ON manifest (chain) WHERE chain IS NOT NULL""",
    """CREATE TABLE root (
    id INTEGER NOT NULL,
    host_id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    path_bytes BLOB,
    naming VARCHAR NOT NULL,
    prefix VARCHAR,
    priority INTEGER NOT NULL,
    shared_blobs VARCHAR,
    shared_blobs_bytes BLOB,
    CONSTRAINT pk_root PRIMARY KEY (id),
    CONSTRAINT uq_root_name_host_id UNIQUE (name, host_id),
    CONSTRAINT uq_root_path_host_id UNIQUE (path, host_id),
    CONSTRAINT fk_root_host_id FOREIGN KEY(host_id) REFERENCES host (id) ON DELETE CASCADE
)""",
    """CREATE TABLE store (
    id INTEGER NOT NULL,
    host_id INTEGER NOT NULL,
    root_id INTEGER,
    name VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    path_bytes BLOB,
    own_settings BOOLEAN NOT NULL,
    naming VARCHAR NOT NULL,
    prefix VARCHAR,
    priority INTEGER NOT NULL,
    state VARCHAR NOT NULL,
    error VARCHAR,
    state_since BIGINT NOT NULL,
    layout_version VARCHAR,
    file_identity VARCHAR,
    sha256 VARCHAR,
    keyed_by VARCHAR,
    shared_blobs VARCHAR,
    shared_blobs_bytes BLOB,
    blobs_identity VARCHAR,
    content_pending BOOLEAN NOT NULL,
    elements INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    indexed_at BIGINT,
    changed_at BIGINT,
    first_at BIGINT,
    CONSTRAINT pk_store PRIMARY KEY (id),
    CONSTRAINT uq_store_name_host_id UNIQUE (name, host_id),
    CONSTRAINT uq_store_path_host_id UNIQUE (path, host_id),
    CONSTRAINT fk_store_host_id FOREIGN KEY(host_id) REFERENCES host (id) ON DELETE CASCADE,
    CONSTRAINT fk_store_root_id FOREIGN KEY(root_id) REFERENCES root (id) ON DELETE CASCADE
)""",
    """CREATE INDEX ix_store_content_pending ON store (content_pending) WHERE content_pending = 1""",
    """CREATE INDEX ix_store_root_id ON store (root_id)""",
    """CREATE TABLE entry (
    id INTEGER NOT NULL,
    store_id INTEGER NOT NULL,
    sort BIGINT NOT NULL,
    content_id INTEGER NOT NULL,
    media_type_id INTEGER NOT NULL,
    size BIGINT,
    artifact_type_id INTEGER,
    platform_id INTEGER,
    ref_name VARCHAR,
    image_name VARCHAR,
    ref_tail VARCHAR,
    fingerprint BIGINT NOT NULL,
    long_ref_name BOOLEAN NOT NULL,
    long_image_name BOOLEAN NOT NULL,
    CONSTRAINT pk_entry PRIMARY KEY (id),
    CONSTRAINT fk_entry_store_id FOREIGN KEY(store_id) REFERENCES store (id) ON DELETE CASCADE,
    CONSTRAINT fk_entry_content_id FOREIGN KEY(content_id) REFERENCES content (id),
    CONSTRAINT fk_entry_media_type_id FOREIGN KEY(media_type_id) REFERENCES media_type (id),
    CONSTRAINT fk_entry_artifact_type_id FOREIGN KEY(artifact_type_id) REFERENCES media_type (id),
    CONSTRAINT fk_entry_platform_id FOREIGN KEY(platform_id) REFERENCES platform (id)
)""",
    """CREATE INDEX ix_entry_content ON entry (content_id, store_id, sort)""",
    """CREATE INDEX ix_entry_image_name ON entry (image_name, store_id, sort) WHERE image_name IS NOT NULL AND long_image_name = 0""",
    """CREATE INDEX ix_entry_long ON entry (store_id) WHERE long_ref_name = 1 OR long_image_name = 1""",
    """CREATE INDEX ix_entry_ref_name ON entry (ref_name, store_id, sort) WHERE ref_name IS NOT NULL AND long_ref_name = 0""",
    """CREATE INDEX ix_entry_ref_tail ON entry (ref_tail, store_id, sort) WHERE ref_tail IS NOT NULL""",
    """CREATE INDEX ix_entry_store_sort ON entry (store_id, sort)""",
    """CREATE TABLE name_span (
    id INTEGER NOT NULL,
    store_id INTEGER NOT NULL,
    repository_id INTEGER,
    tag VARCHAR NOT NULL,
    name VARCHAR,
    content_id INTEGER NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    origin VARCHAR,
    CONSTRAINT pk_name_span PRIMARY KEY (id),
    CONSTRAINT fk_name_span_store_id FOREIGN KEY(store_id) REFERENCES store (id) ON DELETE CASCADE,
    CONSTRAINT fk_name_span_repository_id FOREIGN KEY(repository_id) REFERENCES repository (id),
    CONSTRAINT fk_name_span_content_id FOREIGN KEY(content_id) REFERENCES content (id)
)""",
    """CREATE INDEX ix_name_span_content ON name_span (content_id, until)""",
    """CREATE INDEX ix_name_span_name ON name_span (name, until)""",
    """CREATE INDEX ix_name_span_repository ON name_span (repository_id, until)""",
    """CREATE INDEX ix_name_span_store ON name_span (store_id, until)""",
    """CREATE INDEX ix_name_span_tag ON name_span (tag, until)""",
    """CREATE INDEX ix_name_span_told ON name_span (store_id) WHERE origin IS NOT NULL""",
    """CREATE TABLE snapshot (
    id INTEGER NOT NULL,
    store_id INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    at BIGINT NOT NULL,
    sha256 VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    entries INTEGER NOT NULL,
    added INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    moved INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    CONSTRAINT pk_snapshot PRIMARY KEY (id),
    CONSTRAINT fk_snapshot_store_id FOREIGN KEY(store_id) REFERENCES store (id) ON DELETE CASCADE
)""",
    """CREATE INDEX ix_snapshot_store_at ON snapshot (store_id, at)""",
    """CREATE TABLE store_blob (
    store_id INTEGER NOT NULL,
    content_id INTEGER NOT NULL,
    size BIGINT NOT NULL,
    verified_at BIGINT,
    verified_as VARCHAR,
    is_good BOOLEAN,
    CONSTRAINT pk_store_blob PRIMARY KEY (store_id, content_id),
    CONSTRAINT fk_store_blob_store_id FOREIGN KEY(store_id) REFERENCES store (id) ON DELETE CASCADE,
    CONSTRAINT fk_store_blob_content_id FOREIGN KEY(content_id) REFERENCES content (id)
)
 WITHOUT ROWID""",
    """CREATE INDEX ix_store_blob_bad ON store_blob (store_id) WHERE is_good = 0""",
    """CREATE INDEX ix_store_blob_content ON store_blob (content_id, store_id)""",
    """CREATE TABLE entry_annotation (
    entry_id INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    value VARCHAR NOT NULL,
    CONSTRAINT pk_entry_annotation PRIMARY KEY (entry_id, key_id),
    CONSTRAINT fk_entry_annotation_entry_id FOREIGN KEY(entry_id) REFERENCES entry (id) ON DELETE CASCADE,
    CONSTRAINT fk_entry_annotation_key_id FOREIGN KEY(key_id) REFERENCES annotation_key (id)
)
 WITHOUT ROWID""",
    """CREATE INDEX ix_entry_annotation_value ON entry_annotation (key_id, substr(value, 1, 128), entry_id)""",
    """CREATE TABLE name (
    id INTEGER NOT NULL,
    entry_id INTEGER NOT NULL,
    store_id INTEGER NOT NULL,
    repository_id INTEGER,
    tag VARCHAR,
    name VARCHAR,
    source SMALLINT NOT NULL,
    sort BIGINT NOT NULL,
    shadowed BOOLEAN NOT NULL,
    since BIGINT NOT NULL,
    CONSTRAINT pk_name PRIMARY KEY (id),
    CONSTRAINT fk_name_entry_id FOREIGN KEY(entry_id) REFERENCES entry (id) ON DELETE CASCADE,
    CONSTRAINT fk_name_repository_id FOREIGN KEY(repository_id) REFERENCES repository (id)
)""",
    """CREATE INDEX ix_name_entry ON name (entry_id)""",
    """CREATE INDEX ix_name_name ON name (name, shadowed, store_id) WHERE name IS NOT NULL""",
    """CREATE INDEX ix_name_repository ON name (repository_id, tag) WHERE repository_id IS NOT NULL""",
    """CREATE INDEX ix_name_tag ON name (tag, store_id, source, sort) WHERE tag IS NOT NULL""",
    """CREATE TABLE problem (
    id INTEGER NOT NULL,
    store_id INTEGER NOT NULL,
    entry_id INTEGER,
    stage SMALLINT NOT NULL,
    kind VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    CONSTRAINT pk_problem PRIMARY KEY (id),
    CONSTRAINT fk_problem_store_id FOREIGN KEY(store_id) REFERENCES store (id) ON DELETE CASCADE,
    CONSTRAINT fk_problem_entry_id FOREIGN KEY(entry_id) REFERENCES entry (id) ON DELETE CASCADE
)""",
    """CREATE INDEX ix_problem_entry_id ON problem (entry_id)""",
    """CREATE INDEX ix_problem_store_id ON problem (store_id)""",
    """CREATE TABLE referrer (
    id INTEGER NOT NULL,
    subject_id INTEGER NOT NULL,
    referrer_id INTEGER NOT NULL,
    how VARCHAR NOT NULL,
    entry_id INTEGER,
    content_id INTEGER,
    CONSTRAINT pk_referrer PRIMARY KEY (id),
    CONSTRAINT fk_referrer_subject_id FOREIGN KEY(subject_id) REFERENCES content (id),
    CONSTRAINT fk_referrer_referrer_id FOREIGN KEY(referrer_id) REFERENCES content (id),
    CONSTRAINT fk_referrer_entry_id FOREIGN KEY(entry_id) REFERENCES entry (id) ON DELETE CASCADE,
    CONSTRAINT fk_referrer_content_id FOREIGN KEY(content_id) REFERENCES content (id) ON DELETE CASCADE
)""",
    """CREATE INDEX ix_referrer_content ON referrer (content_id)""",
    """CREATE INDEX ix_referrer_entry ON referrer (entry_id)""",
    """CREATE INDEX ix_referrer_referrer ON referrer (referrer_id, subject_id)""",
    """CREATE INDEX ix_referrer_subject ON referrer (subject_id, referrer_id)""",
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
  store.content_pending AS pending -- 1 while what its digests are is not all read
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
    """CREATE TABLE annotation_key (
    id BIGSERIAL NOT NULL,
    name VARCHAR COLLATE "C" NOT NULL,
    CONSTRAINT pk_annotation_key PRIMARY KEY (id),
    CONSTRAINT uq_annotation_key_name UNIQUE (name)
)""",
    """CREATE TABLE content (
    id BIGSERIAL NOT NULL,
    digest VARCHAR COLLATE "C" NOT NULL,
    kind SMALLINT DEFAULT '0' NOT NULL,
    size BIGINT,
    CONSTRAINT pk_content PRIMARY KEY (id),
    CONSTRAINT uq_content_digest UNIQUE (digest)
)""",
    """CREATE TABLE host (
    id BIGSERIAL NOT NULL,
    name VARCHAR COLLATE "C" NOT NULL,
    CONSTRAINT pk_host PRIMARY KEY (id),
    CONSTRAINT uq_host_name UNIQUE (name)
)""",
    """CREATE TABLE media_type (
    id BIGSERIAL NOT NULL,
    name VARCHAR COLLATE "C" NOT NULL,
    CONSTRAINT pk_media_type PRIMARY KEY (id),
    CONSTRAINT uq_media_type_name UNIQUE (name)
)""",
    """CREATE TABLE meta (
    key VARCHAR COLLATE "C" NOT NULL,
    value VARCHAR COLLATE "C" NOT NULL,
    CONSTRAINT pk_meta PRIMARY KEY (key)
)""",
    """CREATE TABLE platform (
    id BIGSERIAL NOT NULL,
    name VARCHAR COLLATE "C" NOT NULL,
    CONSTRAINT pk_platform PRIMARY KEY (id),
    CONSTRAINT uq_platform_name UNIQUE (name)
)""",
    """CREATE TABLE repository (
    id BIGSERIAL NOT NULL,
    name VARCHAR COLLATE "C" NOT NULL,
    domain VARCHAR COLLATE "C" NOT NULL,
    path VARCHAR COLLATE "C" NOT NULL,
    familiar VARCHAR COLLATE "C" NOT NULL,
    CONSTRAINT pk_repository PRIMARY KEY (id),
    CONSTRAINT uq_repository_name UNIQUE (name)
)""",
    """CREATE INDEX ix_repository_familiar ON repository (familiar)""",
    """CREATE TABLE config (
    content_id BIGINT NOT NULL,
    platform_id BIGINT NOT NULL,
    created BIGINT,
    CONSTRAINT pk_config PRIMARY KEY (content_id),
    CONSTRAINT fk_config_content_id FOREIGN KEY(content_id) REFERENCES content (id) ON DELETE CASCADE,
    CONSTRAINT fk_config_platform_id FOREIGN KEY(platform_id) REFERENCES platform (id)
)""",
    """CREATE INDEX ix_config_created ON config (created)""",
    """CREATE INDEX ix_config_platform ON config (platform_id)""",
    """CREATE TABLE content_annotation (
    content_id BIGINT NOT NULL,
    is_label BOOLEAN NOT NULL,
    key_id BIGINT NOT NULL,
    value VARCHAR COLLATE "C" NOT NULL,
    CONSTRAINT pk_content_annotation PRIMARY KEY (content_id, is_label, key_id),
    CONSTRAINT fk_content_annotation_content_id FOREIGN KEY(content_id) REFERENCES content (id) ON DELETE CASCADE,
    CONSTRAINT fk_content_annotation_key_id FOREIGN KEY(key_id) REFERENCES annotation_key (id)
)""",
    """CREATE INDEX ix_content_annotation_value ON content_annotation (key_id, substr(value, 1, 128), content_id)""",
    """CREATE TABLE edge (
    parent_id BIGINT NOT NULL,
    role SMALLINT NOT NULL,
    position INTEGER NOT NULL,
    child_id BIGINT NOT NULL,
    platform_id BIGINT,
    media_type_id BIGINT NOT NULL,
    size BIGINT,
    chain VARCHAR COLLATE "C",
    CONSTRAINT pk_edge PRIMARY KEY (parent_id, role, position),
    CONSTRAINT fk_edge_parent_id FOREIGN KEY(parent_id) REFERENCES content (id) ON DELETE CASCADE,
    CONSTRAINT fk_edge_child_id FOREIGN KEY(child_id) REFERENCES content (id),
    CONSTRAINT fk_edge_platform_id FOREIGN KEY(platform_id) REFERENCES platform (id),
    CONSTRAINT fk_edge_media_type_id FOREIGN KEY(media_type_id) REFERENCES media_type (id)
)""",
    """CREATE INDEX ix_edge_chain ON edge (chain) WHERE chain IS NOT NULL""",
    """CREATE INDEX ix_edge_child ON edge (child_id, role, position, parent_id)""",
    """CREATE TABLE left_out (
    host_id BIGINT NOT NULL,
    path VARCHAR COLLATE "C" NOT NULL,
    CONSTRAINT pk_left_out PRIMARY KEY (host_id, path),
    CONSTRAINT fk_left_out_host_id FOREIGN KEY(host_id) REFERENCES host (id) ON DELETE CASCADE
)""",
    """CREATE TABLE manifest (
    content_id BIGINT NOT NULL,
    media_type_id BIGINT NOT NULL,
    artifact_type_id BIGINT,
    layers INTEGER NOT NULL,
    layers_size BIGINT NOT NULL,
    chain VARCHAR COLLATE "C",
    CONSTRAINT pk_manifest PRIMARY KEY (content_id),
    CONSTRAINT fk_manifest_content_id FOREIGN KEY(content_id) REFERENCES content (id) ON DELETE CASCADE,
    CONSTRAINT fk_manifest_media_type_id FOREIGN KEY(media_type_id) REFERENCES media_type (id),
    CONSTRAINT fk_manifest_artifact_type_id FOREIGN KEY(artifact_type_id) REFERENCES media_type (id)
)""",
    """CREATE INDEX ix_manifest_artifact_type ON manifest (artifact_type_id)""",
    """CREATE INDEX ix_manifest_chain ON manifest (chain) WHERE chain IS NOT NULL""",
    """CREATE TABLE root (
    id BIGSERIAL NOT NULL,
    host_id BIGINT NOT NULL,
    name VARCHAR COLLATE "C" NOT NULL,
    path VARCHAR COLLATE "C" NOT NULL,
    path_bytes BYTEA,
    naming VARCHAR COLLATE "C" NOT NULL,
    prefix VARCHAR COLLATE "C",
    priority INTEGER NOT NULL,
    shared_blobs VARCHAR COLLATE "C",
    shared_blobs_bytes BYTEA,
    CONSTRAINT pk_root PRIMARY KEY (id),
    CONSTRAINT uq_root_name_host_id UNIQUE (name, host_id),
    CONSTRAINT uq_root_path_host_id UNIQUE (path, host_id),
    CONSTRAINT fk_root_host_id FOREIGN KEY(host_id) REFERENCES host (id) ON DELETE CASCADE
)""",
    """CREATE TABLE store (
    id BIGSERIAL NOT NULL,
    host_id BIGINT NOT NULL,
    root_id BIGINT,
    name VARCHAR COLLATE "C" NOT NULL,
    path VARCHAR COLLATE "C" NOT NULL,
    path_bytes BYTEA,
    own_settings BOOLEAN NOT NULL,
    naming VARCHAR COLLATE "C" NOT NULL,
    prefix VARCHAR COLLATE "C",
    priority INTEGER NOT NULL,
    state VARCHAR COLLATE "C" NOT NULL,
    error VARCHAR COLLATE "C",
    state_since BIGINT NOT NULL,
    layout_version VARCHAR COLLATE "C",
    file_identity VARCHAR COLLATE "C",
    sha256 VARCHAR COLLATE "C",
    keyed_by VARCHAR COLLATE "C",
    shared_blobs VARCHAR COLLATE "C",
    shared_blobs_bytes BYTEA,
    blobs_identity VARCHAR COLLATE "C",
    content_pending BOOLEAN NOT NULL,
    elements INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    indexed_at BIGINT,
    changed_at BIGINT,
    first_at BIGINT,
    CONSTRAINT pk_store PRIMARY KEY (id),
    CONSTRAINT uq_store_name_host_id UNIQUE (name, host_id),
    CONSTRAINT uq_store_path_host_id UNIQUE (path, host_id),
    CONSTRAINT fk_store_host_id FOREIGN KEY(host_id) REFERENCES host (id) ON DELETE CASCADE,
    CONSTRAINT fk_store_root_id FOREIGN KEY(root_id) REFERENCES root (id) ON DELETE CASCADE
)""",
    """CREATE INDEX ix_store_content_pending ON store (content_pending) WHERE content_pending = true""",
    """CREATE INDEX ix_store_root_id ON store (root_id)""",
    """CREATE TABLE entry (
    id BIGSERIAL NOT NULL,
    store_id BIGINT NOT NULL,
    sort BIGINT NOT NULL,
    content_id BIGINT NOT NULL,
    media_type_id BIGINT NOT NULL,
    size BIGINT,
    artifact_type_id BIGINT,
    platform_id BIGINT,
    ref_name VARCHAR COLLATE "C",
    image_name VARCHAR COLLATE "C",
    ref_tail VARCHAR COLLATE "C",
    fingerprint BIGINT NOT NULL,
    long_ref_name BOOLEAN NOT NULL,
    long_image_name BOOLEAN NOT NULL,
    CONSTRAINT pk_entry PRIMARY KEY (id),
    CONSTRAINT fk_entry_store_id FOREIGN KEY(store_id) REFERENCES store (id) ON DELETE CASCADE,
    CONSTRAINT fk_entry_content_id FOREIGN KEY(content_id) REFERENCES content (id),
    CONSTRAINT fk_entry_media_type_id FOREIGN KEY(media_type_id) REFERENCES media_type (id),
    CONSTRAINT fk_entry_artifact_type_id FOREIGN KEY(artifact_type_id) REFERENCES media_type (id),
    CONSTRAINT fk_entry_platform_id FOREIGN KEY(platform_id) REFERENCES platform (id)
)""",
    """CREATE INDEX ix_entry_content ON entry (content_id, store_id, sort)""",
    """CREATE INDEX ix_entry_image_name ON entry (image_name, store_id, sort) WHERE image_name IS NOT NULL AND NOT long_image_name""",
    """CREATE INDEX ix_entry_long ON entry (store_id) WHERE long_ref_name OR long_image_name""",
    """CREATE INDEX ix_entry_ref_name ON entry (ref_name, store_id, sort) WHERE ref_name IS NOT NULL AND NOT long_ref_name""",
    """CREATE INDEX ix_entry_ref_tail ON entry (ref_tail, store_id, sort) WHERE ref_tail IS NOT NULL""",
    """CREATE INDEX ix_entry_store_sort ON entry (store_id, sort)""",
    """CREATE TABLE name_span (
    id BIGSERIAL NOT NULL,
    store_id BIGINT NOT NULL,
    repository_id BIGINT,
    tag VARCHAR COLLATE "C" NOT NULL,
    name VARCHAR COLLATE "C",
    content_id BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    origin VARCHAR COLLATE "C",
    CONSTRAINT pk_name_span PRIMARY KEY (id),
    CONSTRAINT fk_name_span_store_id FOREIGN KEY(store_id) REFERENCES store (id) ON DELETE CASCADE,
    CONSTRAINT fk_name_span_repository_id FOREIGN KEY(repository_id) REFERENCES repository (id),
    CONSTRAINT fk_name_span_content_id FOREIGN KEY(content_id) REFERENCES content (id)
)""",
    """CREATE INDEX ix_name_span_content ON name_span (content_id, until)""",
    """CREATE INDEX ix_name_span_name ON name_span (name, until)""",
    """CREATE INDEX ix_name_span_repository ON name_span (repository_id, until)""",
    """CREATE INDEX ix_name_span_store ON name_span (store_id, until)""",
    """CREATE INDEX ix_name_span_tag ON name_span (tag, until)""",
    """CREATE INDEX ix_name_span_told ON name_span (store_id) WHERE origin IS NOT NULL""",
    """CREATE TABLE snapshot (
    id BIGSERIAL NOT NULL,
    store_id BIGINT NOT NULL,
    generation INTEGER NOT NULL,
    at BIGINT NOT NULL,
    sha256 VARCHAR COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    entries INTEGER NOT NULL,
    added INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    moved INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    CONSTRAINT pk_snapshot PRIMARY KEY (id),
    CONSTRAINT fk_snapshot_store_id FOREIGN KEY(store_id) REFERENCES store (id) ON DELETE CASCADE
)""",
    """CREATE INDEX ix_snapshot_store_at ON snapshot (store_id, at)""",
    """CREATE TABLE store_blob (
    store_id BIGINT NOT NULL,
    content_id BIGINT NOT NULL,
    size BIGINT NOT NULL,
    verified_at BIGINT,
    verified_as VARCHAR COLLATE "C",
    is_good BOOLEAN,
    CONSTRAINT pk_store_blob PRIMARY KEY (store_id, content_id),
    CONSTRAINT fk_store_blob_store_id FOREIGN KEY(store_id) REFERENCES store (id) ON DELETE CASCADE,
    CONSTRAINT fk_store_blob_content_id FOREIGN KEY(content_id) REFERENCES content (id)
)""",
    """CREATE INDEX ix_store_blob_bad ON store_blob (store_id) WHERE NOT is_good""",
    """CREATE INDEX ix_store_blob_content ON store_blob (content_id, store_id)""",
    """CREATE TABLE entry_annotation (
    entry_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    value VARCHAR COLLATE "C" NOT NULL,
    CONSTRAINT pk_entry_annotation PRIMARY KEY (entry_id, key_id),
    CONSTRAINT fk_entry_annotation_entry_id FOREIGN KEY(entry_id) REFERENCES entry (id) ON DELETE CASCADE,
    CONSTRAINT fk_entry_annotation_key_id FOREIGN KEY(key_id) REFERENCES annotation_key (id)
)""",
    """CREATE INDEX ix_entry_annotation_value ON entry_annotation (key_id, substr(value, 1, 128), entry_id)""",
    """CREATE TABLE name (
    id BIGSERIAL NOT NULL,
    entry_id BIGINT NOT NULL,
    store_id BIGINT NOT NULL,
    repository_id BIGINT,
    tag VARCHAR COLLATE "C",
    name VARCHAR COLLATE "C",
    source SMALLINT NOT NULL,
    sort BIGINT NOT NULL,
    shadowed BOOLEAN NOT NULL,
    since BIGINT NOT NULL,
    CONSTRAINT pk_name PRIMARY KEY (id),
    CONSTRAINT fk_name_entry_id FOREIGN KEY(entry_id) REFERENCES entry (id) ON DELETE CASCADE,
    CONSTRAINT fk_name_repository_id FOREIGN KEY(repository_id) REFERENCES repository (id)
)""",
    """CREATE INDEX ix_name_entry ON name (entry_id)""",
    """CREATE INDEX ix_name_name ON name (name, shadowed, store_id) WHERE name IS NOT NULL""",
    """CREATE INDEX ix_name_repository ON name (repository_id, tag) WHERE repository_id IS NOT NULL""",
    """CREATE INDEX ix_name_tag ON name (tag, store_id, source, sort) WHERE tag IS NOT NULL""",
    """CREATE TABLE problem (
    id BIGSERIAL NOT NULL,
    store_id BIGINT NOT NULL,
    entry_id BIGINT,
    stage SMALLINT NOT NULL,
    kind VARCHAR COLLATE "C" NOT NULL,
    subject VARCHAR COLLATE "C" NOT NULL,
    detail VARCHAR COLLATE "C" NOT NULL,
    CONSTRAINT pk_problem PRIMARY KEY (id),
    CONSTRAINT fk_problem_store_id FOREIGN KEY(store_id) REFERENCES store (id) ON DELETE CASCADE,
    CONSTRAINT fk_problem_entry_id FOREIGN KEY(entry_id) REFERENCES entry (id) ON DELETE CASCADE
)""",
    """CREATE INDEX ix_problem_entry_id ON problem (entry_id)""",
    """CREATE INDEX ix_problem_store_id ON problem (store_id)""",
    """CREATE TABLE referrer (
    id BIGSERIAL NOT NULL,
    subject_id BIGINT NOT NULL,
    referrer_id BIGINT NOT NULL,
    how VARCHAR COLLATE "C" NOT NULL,
    entry_id BIGINT,
    content_id BIGINT,
    CONSTRAINT pk_referrer PRIMARY KEY (id),
    CONSTRAINT fk_referrer_subject_id FOREIGN KEY(subject_id) REFERENCES content (id),
    CONSTRAINT fk_referrer_referrer_id FOREIGN KEY(referrer_id) REFERENCES content (id),
    CONSTRAINT fk_referrer_entry_id FOREIGN KEY(entry_id) REFERENCES entry (id) ON DELETE CASCADE,
    CONSTRAINT fk_referrer_content_id FOREIGN KEY(content_id) REFERENCES content (id) ON DELETE CASCADE
)""",
    """CREATE INDEX ix_referrer_content ON referrer (content_id)""",
    """CREATE INDEX ix_referrer_entry ON referrer (entry_id)""",
    """CREATE INDEX ix_referrer_referrer ON referrer (referrer_id, subject_id)""",
    """CREATE INDEX ix_referrer_subject ON referrer (subject_id, referrer_id)""",
    """CREATE VIEW stores AS -- a row a store (layout)
SELECT
  store.name AS name, -- name of the store
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
  store.content_pending AS pending -- 1 while what its digests are is not all read
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
  to_char(to_timestamp(store_blob.verified_at / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS verified_at, -- when its bytes were last compared with its digest, or null
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
  to_char(to_timestamp(name_span.since / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS since, -- from when
  to_char(to_timestamp(name_span.until / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS until, -- until when; null while it stands
  name_span.origin AS origin -- null: ocicat saw it; olareg: the layout's own index.json tells it
FROM name_span
JOIN store ON store.id = name_span.store_id
JOIN content ON content.id = name_span.content_id
LEFT JOIN repository ON repository.id = name_span.repository_id
UNION ALL
SELECT store.name, name.name, repository.name, name.tag, content.digest, to_char(to_timestamp(name.since / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), NULL, CAST(NULL AS TEXT)
FROM name
JOIN entry ON entry.id = name.entry_id
JOIN store ON store.id = name.store_id
JOIN content ON content.id = entry.content_id
LEFT JOIN repository ON repository.id = name.repository_id
WHERE NOT name.shadowed AND name.tag IS NOT NULL""",
    """CREATE VIEW snapshots AS -- a row a change of an index.json, as it was seen
SELECT
  store.name AS store, -- name of the store
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


def upgrade() -> None:
    statements = _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL
    for statement in (*statements, "INSERT INTO meta (key, value) VALUES ('schema', '1.0')"):
        op.get_bind().exec_driver_sql(statement)
