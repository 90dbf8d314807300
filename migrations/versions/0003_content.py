"""What blobs are used for, sparse stores, embedded blobs, foreign layers, and annotations of layers (schema 1.2).

All that was derived from manifests is thrown away, and every store is marked so that the next pass reads its index.json
and its manifests again: manifests are read by other rules than before. Names, history and verdicts stay.
"""

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
    },
    "postgresql": {
        "text": 'VARCHAR COLLATE "C"',
        "flag": "BOOLEAN DEFAULT false NOT NULL",
        "id": "BIGINT",
        "bytes": "BYTEA",
        "end": "",
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
    "CREATE INDEX ix_edge_embedded ON edge (parent_id) WHERE embedded",
    "CREATE INDEX ix_entry_embedded ON entry (store_id) WHERE embedded",
    "ALTER TABLE store_blob ADD COLUMN mtime BIGINT",
    "ALTER TABLE store_blob ADD COLUMN looked {flag}",
    "ALTER TABLE store_blob ADD COLUMN embedded {flag}",
    "ALTER TABLE store_blob ADD COLUMN reach SMALLINT",
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
    # 64 bits were not enough to tell two descriptors apart; without any, each entry is read again.
    "ALTER TABLE entry DROP COLUMN fingerprint",
    "ALTER TABLE entry ADD COLUMN fingerprint {bytes}",
    """UPDATE store SET content_pending = (entries > 0 OR content_pending),
    blobs_identity = NULL, file_identity = NULL, sha256 = NULL""",
    "UPDATE meta SET value = '1.2' WHERE key = 'schema'",
)


# Columns without an index: to delete a word of a dictionary would take a search of all rows.
_ON_A_SERVER = (
    "ALTER TABLE entry DROP CONSTRAINT fk_entry_media_type_id",
    "ALTER TABLE entry DROP CONSTRAINT fk_entry_artifact_type_id",
    "ALTER TABLE entry DROP CONSTRAINT fk_entry_platform_id",
    "ALTER TABLE edge DROP CONSTRAINT fk_edge_media_type_id",
    "ALTER TABLE edge DROP CONSTRAINT fk_edge_platform_id",
    "ALTER TABLE manifest DROP CONSTRAINT fk_manifest_media_type_id",
)


def upgrade() -> None:
    words = _WORDS[op.get_bind().dialect.name]
    for statement in _STATEMENTS + (_ON_A_SERVER if op.get_bind().dialect.name == "postgresql" else ()):
        text = statement.format(**words, leaves=", ".join(f"'{name}'" for name in _LEAVES))
        # % would be a parameter's mark to psycopg, which is not asked to look for any here.
        op.get_bind().exec_driver_sql(text.replace("%", "%%") if op.get_bind().dialect.name != "sqlite" else text)
