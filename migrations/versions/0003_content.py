"""The use of blobs, sparse stores, embedded blobs, foreign layers, annotations of layers, and the past (schema 1.2).

The rules for reading manifests have changed, so everything derived from manifests is deleted, and every store is marked so
that the next pass reads its index.json and its manifests again. Names, history and verdicts are kept.

From this schema on, the past is kept row by row (`moment`, `past_...`). The time before it is kept only as spans of names.
"""

import time

from alembic import op

revision = "0003"
down_revision = "0002"

_WORDS = {
    "sqlite": {
        "text": "VARCHAR",
        "flag": "BOOLEAN DEFAULT 0 NOT NULL",
        "id": "INTEGER",
        "bytes": "BLOB",
        "end": " WITHOUT ROWID",
        "serial": "INTEGER",
        "not_": "",
        "false": " = 0",
    },
    "postgresql": {
        "text": 'VARCHAR COLLATE "C"',
        "flag": "BOOLEAN DEFAULT false NOT NULL",
        "id": "BIGINT",
        "bytes": "BYTEA",
        "end": "",
        "serial": "BIGSERIAL",
        "not_": "NOT ",
        "false": "",
    },
}

_LEAVES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.buildkit.cacheconfig.v0",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.in-toto+json",
    "application/octet-stream",
    "application/x-tar",
    "application/gzip",
    "application/zstd",
)

_STATEMENTS = (
    "ALTER TABLE root ADD COLUMN sparse {flag}",
    "ALTER TABLE store ADD COLUMN sparse {flag}",
    "ALTER TABLE store ADD COLUMN doubt {text}",
    "ALTER TABLE store ADD COLUMN doubt_reason {text}",
    "ALTER TABLE store ADD COLUMN unlisted {flag}",
    "ALTER TABLE store ADD COLUMN shares {flag}",
    """CREATE TABLE blob_place (
    store_id {id} NOT NULL,
    place {bytes} NOT NULL,
    is_own {flag},
    CONSTRAINT pk_blob_place PRIMARY KEY (store_id, place),
    CONSTRAINT fk_blob_place_store_id FOREIGN KEY(store_id) REFERENCES store (id) ON DELETE CASCADE
)""",
    "CREATE INDEX ix_blob_place_place ON blob_place (place)",
    """CREATE TABLE removed_place (
    host_id {id} NOT NULL,
    path {text} NOT NULL,
    place {bytes} NOT NULL,
    path_bytes {bytes},
    CONSTRAINT pk_removed_place PRIMARY KEY (host_id, path, place),
    CONSTRAINT fk_removed_place_host_id FOREIGN KEY(host_id) REFERENCES host (id) ON DELETE CASCADE
)""",
    "CREATE INDEX ix_removed_place_place ON removed_place (place)",
    "ALTER TABLE media_type ADD COLUMN is_leaf {flag}",
    "ALTER TABLE entry ADD COLUMN embedded {flag}",
    "ALTER TABLE edge ADD COLUMN is_foreign {flag}",
    "ALTER TABLE edge ADD COLUMN embedded {flag}",
    "ALTER TABLE manifest ADD COLUMN flaws {text}",
    "ALTER TABLE content ADD COLUMN odd {text}",
    "ALTER TABLE content ADD COLUMN long_words {flag}",
    "CREATE INDEX ix_content_long_words ON content (id) WHERE long_words",
    "CREATE INDEX ix_content_odd ON content (id) WHERE odd IS NOT NULL",
    "CREATE INDEX ix_manifest_flaws ON manifest (content_id) WHERE flaws IS NOT NULL",
    "CREATE INDEX ix_edge_platform ON edge (platform_id) WHERE platform_id IS NOT NULL",
    "CREATE INDEX ix_edge_config_type ON edge (media_type_id) WHERE role = 1 AND media_type_id > 0",
    "CREATE INDEX ix_entry_platform ON entry (platform_id) WHERE platform_id IS NOT NULL",
    "CREATE INDEX ix_entry_artifact_type ON entry (artifact_type_id) WHERE artifact_type_id IS NOT NULL",
    "CREATE INDEX ix_edge_embedded ON edge (parent_id) WHERE embedded",
    "CREATE INDEX ix_entry_embedded ON entry (store_id) WHERE embedded",
    "ALTER TABLE store_blob ADD COLUMN mtime BIGINT",
    "ALTER TABLE store_blob ADD COLUMN looked {flag}",
    "ALTER TABLE store_blob ADD COLUMN embedded {flag}",
    "ALTER TABLE store_blob ADD COLUMN reach SMALLINT",
    "CREATE INDEX ix_problem_blob ON problem (store_id, substr(subject, 1, 512)) WHERE stage = 1",
    "CREATE INDEX ix_problem_pinned ON problem (entry_id) WHERE kind = 'name-digest'",
    "CREATE INDEX ix_store_blob_unlisted ON store_blob (store_id) WHERE reach < 2",
    """CREATE TABLE descriptor_annotation (
    content_id {id} NOT NULL,
    role SMALLINT NOT NULL,
    position INTEGER NOT NULL,
    key_id {id} NOT NULL,
    value {text} NOT NULL,
    CONSTRAINT pk_descriptor_annotation PRIMARY KEY (content_id, role, position, key_id),
    CONSTRAINT fk_descriptor_annotation_content_id FOREIGN KEY(content_id) REFERENCES content (id) ON DELETE CASCADE,
    CONSTRAINT fk_descriptor_annotation_key_id FOREIGN KEY(key_id) REFERENCES annotation_key (id)
){end}""",
    "CREATE INDEX ix_descriptor_annotation_value ON descriptor_annotation (key_id, substr(value, 1, 128), content_id)",
    "CREATE TABLE turn (name {text} NOT NULL, CONSTRAINT pk_turn PRIMARY KEY (name))",
    """UPDATE media_type SET is_leaf = (1 = 1) WHERE name IN ({leaves})
    OR name LIKE 'application/vnd.oci.image.layer.%' OR name LIKE 'application/vnd.docker.image.rootfs.%'""",
    "DELETE FROM referrer",
    "DELETE FROM edge",
    "DELETE FROM content_annotation",
    "DELETE FROM config",
    "DELETE FROM manifest",
    "DELETE FROM problem WHERE stage = 1",
    "UPDATE content SET kind = 0, size = NULL WHERE kind <> 0",
    # Fingerprints of 64 bits were too short. An entry without a fingerprint is read again.
    "ALTER TABLE entry DROP COLUMN fingerprint",
    "ALTER TABLE entry ADD COLUMN fingerprint {bytes}",
    """UPDATE store SET content_pending = (entries > 0 OR content_pending),
    blobs_identity = NULL, file_identity = NULL, sha256 = NULL""",
    "ALTER TABLE store ADD COLUMN born BIGINT DEFAULT '0' NOT NULL",
    "ALTER TABLE entry ADD COLUMN born BIGINT DEFAULT '0' NOT NULL",
    "ALTER TABLE name ADD COLUMN born BIGINT DEFAULT '0' NOT NULL",
    "ALTER TABLE store_blob ADD COLUMN born BIGINT DEFAULT '0' NOT NULL",
    """CREATE TABLE moment (
    id {serial} NOT NULL,
    host_id {id} NOT NULL,
    at BIGINT NOT NULL,
    boot {text},
    ran BIGINT,
    stepped {flag},
    forgotten {flag},
    label BIGINT NOT NULL,
    CONSTRAINT pk_moment PRIMARY KEY (id),
    CONSTRAINT fk_moment_host_id FOREIGN KEY(host_id) REFERENCES host (id) ON DELETE CASCADE
)""",
    "CREATE INDEX ix_moment_host_label ON moment (host_id, label)",
    "CREATE INDEX ix_moment_host_id ON moment (host_id, id)",
    "CREATE INDEX ix_moment_stepped ON moment (host_id) WHERE stepped",
    """CREATE TABLE past_store (
    store_id {id} NOT NULL,
    host_id {id} NOT NULL,
    name {text} NOT NULL,
    path {text} NOT NULL,
    path_bytes {bytes},
    priority INTEGER NOT NULL,
    state {text} NOT NULL,
    state_since BIGINT NOT NULL,
    elements INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    shared_as {text},
    born BIGINT NOT NULL,
    gone BIGINT NOT NULL,
    CONSTRAINT pk_past_store PRIMARY KEY (store_id, born),
    CONSTRAINT fk_past_store_host_id FOREIGN KEY(host_id) REFERENCES host (id) ON DELETE CASCADE
)""",
    """CREATE TABLE past_entry (
    entry_id {id} NOT NULL,
    store_id {id} NOT NULL,
    sort BIGINT NOT NULL,
    content_id {id} NOT NULL,
    media_type_id {id} NOT NULL,
    size BIGINT,
    artifact_type_id {id},
    platform_id {id},
    ref_name {text},
    image_name {text},
    ref_tail {text},
    long_ref_name BOOLEAN NOT NULL,
    long_image_name BOOLEAN NOT NULL,
    born BIGINT NOT NULL,
    gone BIGINT NOT NULL,
    CONSTRAINT pk_past_entry PRIMARY KEY (entry_id, born),
    CONSTRAINT fk_past_entry_content_id FOREIGN KEY(content_id) REFERENCES content (id),
    CONSTRAINT fk_past_entry_media_type_id FOREIGN KEY(media_type_id) REFERENCES media_type (id),
    CONSTRAINT fk_past_entry_artifact_type_id FOREIGN KEY(artifact_type_id) REFERENCES media_type (id),
    CONSTRAINT fk_past_entry_platform_id FOREIGN KEY(platform_id) REFERENCES platform (id)
)""",
    "CREATE INDEX ix_past_entry_content ON past_entry (content_id, store_id, gone)",
    "CREATE INDEX ix_past_entry_born ON past_entry (born)",
    "CREATE INDEX ix_past_entry_gone ON past_entry (gone)",
    "CREATE INDEX ix_past_entry_image_name ON past_entry (image_name) WHERE image_name IS NOT NULL AND {not_}long_image_name{false}",
    "CREATE INDEX ix_past_entry_ref_name ON past_entry (ref_name) WHERE ref_name IS NOT NULL AND {not_}long_ref_name{false}",
    "CREATE INDEX ix_past_entry_ref_tail ON past_entry (ref_tail) WHERE ref_tail IS NOT NULL",
    "CREATE INDEX ix_past_entry_store ON past_entry (store_id)",
    """CREATE TABLE past_name (
    name_id {id} NOT NULL,
    entry_id {id} NOT NULL,
    store_id {id} NOT NULL,
    repository_id {id},
    tag {text},
    name {text},
    source SMALLINT NOT NULL,
    sort BIGINT NOT NULL,
    shadowed BOOLEAN NOT NULL,
    since BIGINT NOT NULL,
    born BIGINT NOT NULL,
    gone BIGINT NOT NULL,
    CONSTRAINT pk_past_name PRIMARY KEY (name_id, born),
    CONSTRAINT fk_past_name_repository_id FOREIGN KEY(repository_id) REFERENCES repository (id)
)""",
    "CREATE INDEX ix_past_name_entry ON past_name (entry_id, gone)",
    "CREATE INDEX ix_past_name_name ON past_name (name) WHERE name IS NOT NULL",
    "CREATE INDEX ix_past_name_repository ON past_name (repository_id) WHERE repository_id IS NOT NULL",
    "CREATE INDEX ix_past_name_tag ON past_name (tag) WHERE tag IS NOT NULL",
    """CREATE TABLE past_blob (
    store_id {id} NOT NULL,
    content_id {id} NOT NULL,
    size BIGINT NOT NULL,
    embedded BOOLEAN NOT NULL,
    reach SMALLINT,
    born BIGINT NOT NULL,
    gone BIGINT NOT NULL,
    CONSTRAINT pk_past_blob PRIMARY KEY (store_id, content_id, born),
    CONSTRAINT fk_past_blob_content_id FOREIGN KEY(content_id) REFERENCES content (id)
){end}""",
    "CREATE INDEX ix_past_blob_content ON past_blob (content_id, store_id)",
    "ALTER TABLE name ADD COLUMN answers_from BIGINT DEFAULT '0' NOT NULL",
    """CREATE TABLE answer_span (
    id {serial} NOT NULL,
    store_id {id} NOT NULL,
    repository_id {id},
    tag {text} NOT NULL,
    name {text},
    content_id {id} NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    born BIGINT NOT NULL,
    gone BIGINT NOT NULL,
    CONSTRAINT pk_answer_span PRIMARY KEY (id),
    CONSTRAINT fk_answer_span_repository_id FOREIGN KEY(repository_id) REFERENCES repository (id),
    CONSTRAINT fk_answer_span_content_id FOREIGN KEY(content_id) REFERENCES content (id)
)""",
    "CREATE INDEX ix_answer_span_name ON answer_span (name) WHERE name IS NOT NULL",
    "CREATE INDEX ix_answer_span_repository ON answer_span (repository_id) WHERE repository_id IS NOT NULL",
    "CREATE INDEX ix_answer_span_tag ON answer_span (tag)",
    "CREATE INDEX ix_answer_span_content ON answer_span (content_id)",
    "CREATE INDEX ix_answer_span_born ON answer_span (born)",
    "CREATE INDEX ix_answer_span_gone ON answer_span (gone)",
    "CREATE INDEX ix_answer_span_store ON answer_span (store_id, gone)",
    "CREATE INDEX ix_name_answers_from ON name (answers_from)",
    "CREATE INDEX ix_entry_born ON entry (born)",
    """CREATE TABLE store_span (
    store_id {id} NOT NULL,
    host_id {id} NOT NULL,
    name {text} NOT NULL,
    path {text} NOT NULL,
    path_bytes {bytes},
    priority INTEGER NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT,
    born BIGINT NOT NULL,
    gone BIGINT,
    CONSTRAINT pk_store_span PRIMARY KEY (store_id, born),
    CONSTRAINT fk_store_span_host_id FOREIGN KEY(host_id) REFERENCES host (id) ON DELETE CASCADE
)""",
    "CREATE INDEX ix_store_span_name ON store_span (name)",
    "CREATE INDEX ix_store_span_path ON store_span (path)",
    "CREATE INDEX ix_store_span_born ON store_span (born)",
    "CREATE INDEX ix_store_span_gone ON store_span (gone)",
    # Existing rows are valid from this moment on. The span of a store that is missing ends here.
    "INSERT INTO moment (host_id, at, label) SELECT id, {now}, {now} FROM host",
    """INSERT INTO store_span (store_id, host_id, name, path, path_bytes, priority, since, until, born, gone)
    SELECT store.id, store.host_id, store.name, path, path_bytes, priority, 0,
    CASE WHEN state = 'missing' THEN moment.at END, 0, CASE WHEN state = 'missing' THEN moment.id END
    FROM store JOIN moment ON moment.host_id = store.host_id""",
    "UPDATE meta SET value = '1.2' WHERE key = 'schema'",
)


# These columns have no index, so deleting a media type or platform would scan the referring tables.
_ON_A_SERVER = (
    "ALTER TABLE entry DROP CONSTRAINT fk_entry_media_type_id",
    "ALTER TABLE entry DROP CONSTRAINT fk_entry_artifact_type_id",
    "ALTER TABLE entry DROP CONSTRAINT fk_entry_platform_id",
    "ALTER TABLE past_entry DROP CONSTRAINT fk_past_entry_media_type_id",
    "ALTER TABLE past_entry DROP CONSTRAINT fk_past_entry_artifact_type_id",
    "ALTER TABLE past_entry DROP CONSTRAINT fk_past_entry_platform_id",
    "ALTER TABLE edge DROP CONSTRAINT fk_edge_media_type_id",
    "ALTER TABLE edge DROP CONSTRAINT fk_edge_platform_id",
    "ALTER TABLE manifest DROP CONSTRAINT fk_manifest_media_type_id",
)


def upgrade() -> None:
    words = _WORDS[op.get_bind().dialect.name]
    now = time.time_ns() // 1_000_000
    for statement in _STATEMENTS + (_ON_A_SERVER if op.get_bind().dialect.name == "postgresql" else ()):
        text = statement.format(**words, now=now, leaves=", ".join(f"'{name}'" for name in _LEAVES))
        # psycopg reads % as the beginning of a placeholder.
        op.get_bind().exec_driver_sql(text.replace("%", "%%") if op.get_bind().dialect.name != "sqlite" else text)
