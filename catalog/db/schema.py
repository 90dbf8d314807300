"""The tables, which are the definition of the schema for both engines. `migrations/` creates them; a test compares the two.

Conventions
- Joins are on integers; each digest is stored once, in `content`. Text is compared bytewise (collation "C" on PostgreSQL),
  so that a prefix is an index range on both engines.
- Times (`..._ms`, `since`, `until`) are milliseconds since 1970, UTC. Within a store they never decrease, even if the clock
  is set back.
- An entry's `sort` is a sort key with gaps. Entries that share a key, a tag or a raw annotation have the order of
  `index.json`; others may not (ingest/order.py).

All tables are in one file, so that a reader can see which table refers to which.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    false,
    func,
    literal_column,
    true,
)

from catalog.db import kinds

SCHEMA_MAJOR = 1
SCHEMA_MINOR = 3
APPLICATION_ID = 0x6F636963
"""SQLite's application_id of a catalog: 'ocic'."""

DROPPED_INDEXES = "dropped_indexes"
"""The key that `meta` contains while indexes are missing (catalog.engine.sqlite.bulk)."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

_id = BigInteger().with_variant(Integer, "sqlite")
_text = String().with_variant(String(collation="C"), "postgresql")


def _primary() -> Column[int]:
    return Column("id", _id, primary_key=True)


def _flag(name: str, comment: str) -> Column[bool]:
    """Return a boolean column with the default false."""
    return Column(name, Boolean, nullable=False, server_default=false(), comment=comment)


def _born() -> Column[int]:
    """Return the column for the moment since which a row has had its values; 0 means since before the first moment."""
    return Column(
        "born", BigInteger, nullable=False, server_default="0", comment="the moment of the last change of the row"
    )


def _partial(index_name: str, *columns: Column[Any], where: ColumnElement[bool]) -> None:
    """Define an index over the rows for which `where` is true. A query can use it if its condition implies `where`."""
    Index(index_name, *columns, sqlite_where=where)


meta = Table(
    "meta",
    metadata,
    Column("key", _text, primary_key=True),
    Column("value", _text, nullable=False),
    comment="schema: MAJOR.MINOR of these tables; pruned_ms: when retention last ran; dropped_indexes: a first index is unfinished",
)

host = Table(
    "host",
    metadata,
    _primary(),
    Column("name", _text, nullable=False, unique=True),
    comment="a machine whose stores are in this catalog",
)

turn = Table(
    "turn",
    metadata,
    Column("name", _text, primary_key=True),
    comment="no data: the rows that writers on a server lock, one per host",
)

root = Table(
    "root",
    metadata,
    _primary(),
    Column("host_id", _id, ForeignKey("host.id", ondelete="CASCADE"), nullable=False),
    Column("name", _text, nullable=False),
    Column("path", _text, nullable=False, comment="absolute; percent-encoded if it is not UTF-8"),
    Column("path_bytes", LargeBinary, comment="the raw path if it is not UTF-8"),
    Column("naming", _text, nullable=False),
    Column("prefix", _text),
    Column("priority", Integer, nullable=False),
    Column("shared_blobs", _text, comment="a blob directory that its layouts share"),
    Column("shared_blobs_bytes", LargeBinary, comment="the raw path if it is not UTF-8"),
    Column("shared_as", _text, comment="the name for this root on all hosts that share its file system"),
    _flag("sparse", "layers of its layouts may be absent"),
    _flag("archives", "layouts in tar archives below it are stores, too"),
    UniqueConstraint("name", "host_id"),
    UniqueConstraint("path", "host_id"),
    comment="a directory that is searched for layouts",
)

left_out = Table(
    "left_out",
    metadata,
    Column("host_id", _id, ForeignKey("host.id", ondelete="CASCADE"), primary_key=True),
    Column("path", _text, primary_key=True),
    comment="a store below a root that the user removed: ignored until it is added again",
)

store = Table(
    "store",
    metadata,
    _primary(),
    Column("host_id", _id, ForeignKey("host.id", ondelete="CASCADE"), nullable=False),
    Column("root_id", _id, ForeignKey("root.id", ondelete="CASCADE"), index=True, comment="null if added by itself"),
    Column("name", _text, nullable=False),
    Column("path", _text, nullable=False, comment="absolute; percent-encoded if it is not UTF-8"),
    Column("path_bytes", LargeBinary, comment="the raw path if it is not UTF-8"),
    Column("own_settings", Boolean, nullable=False, comment="has settings of its own, not those of its root"),
    Column("naming", _text, nullable=False),
    Column("prefix", _text),
    Column("priority", Integer, nullable=False),
    Column("state", _text, nullable=False),
    Column("error", _text),
    Column("state_since", BigInteger, nullable=False),
    Column("layout_version", _text),
    Column("file_identity", _text, comment="device, inode, size, mtime and ctime of the index.json that was read"),
    Column("sha256", _text, comment="SHA-256 of that index.json, in hex"),
    Column("keyed_by", _text, comment="the naming rules and repository with which its keys were derived"),
    Column("shared_blobs", _text, comment="a blob directory besides the layout's own (skopeo's --shared-blob-dir)"),
    Column("shared_blobs_bytes", LargeBinary, comment="the raw path if it is not UTF-8"),
    Column("blobs_identity", _text, comment="inodes and modification times of the blob directories when last listed"),
    Column("content_pending", Boolean, nullable=False, comment="its manifests are not all read yet"),
    Column("elements", Integer, nullable=False, comment="number of elements of `manifests`, including unusable ones"),
    Column("entries", Integer, nullable=False),
    Column("generation", Integer, nullable=False, comment="number of changes seen"),
    Column("indexed_at", BigInteger),
    Column("changed_at", BigInteger),
    Column(
        "first_at", BigInteger, comment="when its index.json was first read: its own history counts only before that"
    ),
    Column("shared_as", _text, comment="equal in stores of several hosts that are the same layout"),
    _flag("sparse", "its layers may be absent"),
    Column("doubt", _text, comment="the digest or directory that hides which blobs are unused; null if there is none"),
    Column("doubt_reason", _text, comment="what is wrong with `doubt`"),
    _flag("unlisted", "a blob directory could not be listed, so nothing counts as missing"),
    _flag("shares", "another store finds, or once found, blobs in its directories: see blob_place and removed_place"),
    _born(),
    _flag("archive", "it was a tar archive when it was last read"),
    UniqueConstraint("name", "host_id"),
    UniqueConstraint("path", "host_id"),
    comment="a layout",
)

_partial("ix_store_content_pending", store.c.content_pending, where=store.c.content_pending == true())
_partial("ix_store_shared_as", store.c.shared_as, where=store.c.shared_as.is_not(None))

blob_place = Table(
    "blob_place",
    metadata,
    Column("store_id", _id, ForeignKey("store.id", ondelete="CASCADE"), primary_key=True),
    Column("place", LargeBinary, primary_key=True, comment="hash of an identifier (catalog.layout.blob_places)"),
    _flag("is_own", "it is the layout's own directory, not a shared directory or one behind a link"),
    Index("ix_blob_place_place", "place"),
    comment="a directory in which a store finds blobs, or other programs find its blobs by following its links",
)

removed_place = Table(
    "removed_place",
    metadata,
    Column("host_id", _id, ForeignKey("host.id", ondelete="CASCADE"), primary_key=True),
    Column("path", _text, primary_key=True, comment="path of the layout; percent-encoded if it is not UTF-8"),
    Column("place", LargeBinary, primary_key=True),
    Column("path_bytes", LargeBinary, comment="the raw path if it is not UTF-8"),
    Index("ix_removed_place_place", "place"),
    comment="a directory in which a layout finds blobs that was removed from the catalog and still exists",
)

snapshot = Table(
    "snapshot",
    metadata,
    _primary(),
    Column("store_id", _id, ForeignKey("store.id", ondelete="CASCADE"), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("sha256", _text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("added", Integer, nullable=False),
    Column("removed", Integer, nullable=False),
    Column("moved", Integer, nullable=False),
    Column("took_ms", Integer, nullable=False),
    Index("ix_snapshot_store_at", "store_id", "at"),
    comment="a change of an index.json that ocicat saw",
)

media_type = Table(
    "media_type",
    metadata,
    _primary(),
    Column("name", _text, nullable=False, unique=True),
    _flag("is_leaf", "blobs of this type are not manifests and lead to no other blob (catalog.names.media_types)"),
)

platform = Table(
    "platform", metadata, _primary(), Column("name", _text, nullable=False, unique=True, comment="os/arch[/variant]")
)

annotation_key = Table("annotation_key", metadata, _primary(), Column("name", _text, nullable=False, unique=True))

repository = Table(
    "repository",
    metadata,
    _primary(),
    Column("name", _text, nullable=False, unique=True, comment="canonical: docker.io/library/alpine"),
    Column("domain", _text, nullable=False, comment="empty if the name has none"),
    Column("path", _text, nullable=False),
    Column("familiar", _text, nullable=False, index=True, comment="Docker's short form: alpine"),
)


def has_capitals(text: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that a text has upper-case letters."""
    return text != func.lower(text)


_partial("ix_repository_capitals", repository.c.name, where=has_capitals(repository.c.name))

content = Table(
    "content",
    metadata,
    _primary(),
    Column("digest", _text, nullable=False, unique=True),
    Column("kind", SmallInteger, nullable=False, server_default="0", comment="what its bytes are: see KINDS"),
    Column("size", BigInteger, comment="size in bytes, known once they were hashed"),
    Column("odd", _text, comment="a description of fields that only Go programs read like ocicat (gojson.py)"),
    _flag("long_words", "a media type, platform or key in it is too long to be stored whole"),
    comment="a digest, stored once for all stores",
)
_partial("ix_content_long_words", content.c.id, where=content.c.long_words)
_partial("ix_content_odd", content.c.id, where=content.c.odd.is_not(None))

UNREAD, MANIFEST, INDEX, OTHER, UNUSABLE, OPAQUE, AMBIGUOUS = kinds.KINDS
CHILD, CONFIG, LAYER, SUBJECT = kinds.ROLES
UNREACHED, REFERRING, PART, LISTED = kinds.REACHES

entry = Table(
    "entry",
    metadata,
    _primary(),
    Column("store_id", _id, ForeignKey("store.id", ondelete="CASCADE"), nullable=False),
    Column("sort", BigInteger, nullable=False),
    Column("content_id", _id, ForeignKey("content.id"), nullable=False),
    Column("media_type_id", _id, ForeignKey("media_type.id"), nullable=False),
    Column("size", BigInteger, comment="in bytes, according to the descriptor"),
    Column("artifact_type_id", _id, ForeignKey("media_type.id")),
    Column("platform_id", _id, ForeignKey("platform.id"), comment="according to the descriptor"),
    Column("ref_name", _text, comment="raw org.opencontainers.image.ref.name"),
    Column("image_name", _text, comment="raw io.containerd.image.name"),
    Column("ref_tail", _text, comment="the part of ref_name after the last colon if that is a tag"),
    Column("long_ref_name", Boolean, nullable=False, comment="ref_name is too long to be indexed"),
    Column("long_image_name", Boolean, nullable=False, comment="image_name is too long to be indexed"),
    _flag("embedded", "the descriptor contains the manifest in its field `data`"),
    Column("fingerprint", LargeBinary, comment="128-bit hash of the descriptor; null if it has to be read again"),
    _born(),
    Column(
        "saved_names", _text, comment="JSON list of the names from docker save that no annotation has; null if none"
    ),
    comment="a descriptor in an index.json",
)
Index("ix_entry_store_sort", entry.c.store_id, entry.c.sort)
Index("ix_entry_content", entry.c.content_id, entry.c.store_id, entry.c.sort)
Index("ix_entry_born", entry.c.born)
for _raw, _indexed in (
    (entry.c.ref_name, ~entry.c.long_ref_name),
    (entry.c.image_name, ~entry.c.long_image_name),
    (entry.c.ref_tail, None),
):
    _held = _raw.is_not(None) if _indexed is None else _raw.is_not(None) & _indexed
    _partial(f"ix_entry_{_raw.name}", _raw, entry.c.store_id, entry.c.sort, where=_held)
_partial("ix_entry_platform", entry.c.platform_id, where=entry.c.platform_id.is_not(None))
_partial("ix_entry_artifact_type", entry.c.artifact_type_id, where=entry.c.artifact_type_id.is_not(None))
_partial("ix_entry_embedded", entry.c.store_id, where=entry.c.embedded)
_partial("ix_entry_long", entry.c.store_id, where=entry.c.long_ref_name | entry.c.long_image_name)

name = Table(
    "name",
    metadata,
    _primary(),
    Column("entry_id", _id, ForeignKey("entry.id", ondelete="CASCADE"), nullable=False),
    Column("store_id", _id, nullable=False, comment="copied from the entry, as part of the indexes below"),
    Column("repository_id", _id, ForeignKey("repository.id")),
    Column("tag", _text, comment="null if the name has a digest but no tag"),
    Column("name", _text, comment="full canonical name; null if the repository or the tag is missing"),
    Column(
        "source",
        SmallInteger,
        nullable=False,
        comment="0: io.containerd.image.name, 1: ref.name, 2: RepoTags of docker save; plus 3 if the entry is not an image",
    ),
    Column("sort", BigInteger, nullable=False, comment="copied from the entry"),
    Column("shadowed", Boolean, nullable=False, comment="another key of the store answers for this name"),
    Column("since", BigInteger, nullable=False, comment="since when the key has had its present answer"),
    _born(),
    Column("answers_from", BigInteger, nullable=False, server_default="0", comment="the moment of `since`"),
    comment="a lookup key of an entry",
)
Index("ix_name_entry", name.c.entry_id, name.c.source)  # so that the first key is the one with which an entry is shown
Index("ix_name_answers_from", name.c.answers_from)
_partial("ix_name_name", name.c.name, name.c.shadowed, name.c.store_id, where=name.c.name.is_not(None))
_partial("ix_name_tag", name.c.tag, name.c.store_id, name.c.source, name.c.sort, where=name.c.tag.is_not(None))
_partial("ix_name_repository", name.c.repository_id, name.c.tag, where=name.c.repository_id.is_not(None))

name_span = Table(
    "name_span",
    metadata,
    _primary(),
    Column("store_id", _id, ForeignKey("store.id", ondelete="CASCADE"), nullable=False),
    Column("repository_id", _id, ForeignKey("repository.id")),
    Column("tag", _text, nullable=False),
    Column("name", _text),
    Column("content_id", _id, ForeignKey("content.id"), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("origin", _text, comment="null: seen by ocicat before schema 1.2; olareg: recorded by the layout"),
    Index("ix_name_span_name", "name", "until"),
    Index("ix_name_span_tag", "tag", "until"),
    Index("ix_name_span_repository", "repository_id", "until"),
    Index("ix_name_span_content", "content_id", "until"),
    Index("ix_name_span_store", "store_id", "until"),
    comment="a span that has ended: what a key of a store answered, and when",
)
_partial("ix_name_span_told", name_span.c.store_id, where=name_span.c.origin.is_not(None))

entry_annotation = Table(
    "entry_annotation",
    metadata,
    Column("entry_id", _id, ForeignKey("entry.id", ondelete="CASCADE"), primary_key=True),
    Column("key_id", _id, ForeignKey("annotation_key.id"), primary_key=True),
    Column("value", _text, nullable=False),
    sqlite_with_rowid=False,
    comment="the annotations of an entry other than its two names",
)
Index(
    "ix_entry_annotation_value",
    entry_annotation.c.key_id,
    func.substr(entry_annotation.c.value, 1, 128),
    entry_annotation.c.entry_id,
)

manifest = Table(
    "manifest",
    metadata,
    Column("content_id", _id, ForeignKey("content.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("media_type_id", _id, ForeignKey("media_type.id"), nullable=False, comment="its own field mediaType"),
    Column("artifact_type_id", _id, ForeignKey("media_type.id")),
    Column("layers", Integer, nullable=False),
    Column("layers_size", BigInteger, nullable=False, comment="total bytes, according to its descriptors"),
    Column("chain", _text, comment="hash of the digests of its layers, in order"),
    Column("flaws", _text, comment="its unusable descriptors, which hide what else it points to; null if it has none"),
    comment="a manifest or index, read once for the whole catalog; the row never changes",
)
_partial("ix_manifest_flaws", manifest.c.content_id, where=manifest.c.flaws.is_not(None))
_partial("ix_manifest_chain", manifest.c.chain, where=manifest.c.chain.is_not(None))
Index("ix_manifest_artifact_type", manifest.c.artifact_type_id)

config = Table(
    "config",
    metadata,
    Column("content_id", _id, ForeignKey("content.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("platform_id", _id, ForeignKey("platform.id"), nullable=False, comment="normalised"),
    Column("created", BigInteger, comment="milliseconds since 1970"),
    Index("ix_config_platform", "platform_id"),
    Index("ix_config_created", "created"),
    comment="the config of an image: its platform and date; never Env, Cmd or history",
)

edge = Table(
    "edge",
    metadata,
    Column("parent_id", _id, ForeignKey("content.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("role", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("child_id", _id, ForeignKey("content.id"), nullable=False),
    Column("platform_id", _id, ForeignKey("platform.id"), comment="normalised, according to the descriptor"),
    Column("media_type_id", _id, ForeignKey("media_type.id"), nullable=False),
    Column("size", BigInteger, comment="in bytes, according to the descriptor"),
    Column("chain", _text, comment="for a layer, hash of the digests of the layers up to it"),
    _flag("is_foreign", "a layer that may be absent: nondistributable, or with `urls`"),
    _flag("embedded", "the descriptor contains the blob in its field `data`"),
    sqlite_with_rowid=False,
    comment="a reference from a manifest or index to another content",
)
Index("ix_edge_child", edge.c.child_id, edge.c.role, edge.c.position, edge.c.parent_id)
_partial("ix_edge_chain", edge.c.chain, where=edge.c.chain.is_not(None))
_partial("ix_edge_platform", edge.c.platform_id, where=edge.c.platform_id.is_not(None))
# `> 0`, which is always true, keeps PostgreSQL from choosing this index for any other question about configs.
_partial(
    "ix_edge_config_type",
    edge.c.media_type_id,
    where=(edge.c.role == literal_column("1")) & (edge.c.media_type_id > literal_column("0")),
)
_partial("ix_edge_embedded", edge.c.parent_id, where=edge.c.embedded)

content_annotation = Table(
    "content_annotation",
    metadata,
    Column("content_id", _id, ForeignKey("content.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("is_label", Boolean, primary_key=True, comment="true for a label of a config, false for an annotation"),
    Column("key_id", _id, ForeignKey("annotation_key.id"), primary_key=True, autoincrement=False),
    Column("value", _text, nullable=False),
    sqlite_with_rowid=False,
    comment="annotations of a manifest or index, and labels of a config",
)
Index(
    "ix_content_annotation_value",
    content_annotation.c.key_id,
    func.substr(content_annotation.c.value, 1, 128),
    content_annotation.c.content_id,
)

descriptor_annotation = Table(
    "descriptor_annotation",
    metadata,
    Column("content_id", _id, ForeignKey("content.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("role", SmallInteger, primary_key=True, autoincrement=False, comment="role of the edge: a layer or a child"),
    Column("position", Integer, primary_key=True, autoincrement=False, comment="position of the edge"),
    Column("key_id", _id, ForeignKey("annotation_key.id"), primary_key=True, autoincrement=False),
    Column("value", _text, nullable=False),
    sqlite_with_rowid=False,
    comment="annotations of the descriptors of a manifest's layers, and of an index's children",
)
Index(
    "ix_descriptor_annotation_value",
    descriptor_annotation.c.key_id,
    func.substr(descriptor_annotation.c.value, 1, 128),
    descriptor_annotation.c.content_id,
)

store_blob = Table(
    "store_blob",
    metadata,
    Column("store_id", _id, ForeignKey("store.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("content_id", _id, ForeignKey("content.id"), primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False, comment="in bytes, from stat"),
    Column("verified_at", BigInteger, comment="when its bytes were last hashed"),
    Column("verified_as", _text, comment="the identity of the file hashed then: size, mtime, ctime, inode"),
    Column("is_good", Boolean, comment="whether they matched its digest; null if never hashed"),
    Column("mtime", BigInteger, comment="modification time of its file; null if it is embedded"),
    _flag("looked", "nothing refers to it as a manifest, and its first bytes are not those of a manifest"),
    _flag("embedded", "not a file: a descriptor of the store contains the bytes in its field `data`"),
    Column("reach", SmallInteger, comment="see REACHES; null until the manifests of its store have been read"),
    _born(),
    sqlite_with_rowid=False,
    comment="a blob in a store",
)
Index("ix_store_blob_content", store_blob.c.content_id, store_blob.c.store_id)
_partial("ix_store_blob_bad", store_blob.c.store_id, where=~store_blob.c.is_good)
_partial("ix_store_blob_unlisted", store_blob.c.store_id, where=store_blob.c.reach < 2)

referrer = Table(
    "referrer",
    metadata,
    _primary(),
    Column("subject_id", _id, ForeignKey("content.id"), nullable=False),
    Column("referrer_id", _id, ForeignKey("content.id"), nullable=False),
    Column("how", _text, nullable=False, comment="subject, fallback, cosign, buildkit, containerd or kind"),
    Column(
        "entry_id",
        _id,
        ForeignKey("entry.id", ondelete="CASCADE"),
        comment="the entry that is the source; null if a manifest is",
    ),
    Column(
        "content_id",
        _id,
        ForeignKey("content.id", ondelete="CASCADE"),
        comment="the manifest or index that is the source; null if an entry is",
    ),
    comment="a reference from a content to its subject, and how it is expressed",
)
Index("ix_referrer_subject", referrer.c.subject_id, referrer.c.referrer_id)
Index("ix_referrer_referrer", referrer.c.referrer_id, referrer.c.subject_id)
Index("ix_referrer_entry", referrer.c.entry_id)
Index("ix_referrer_content", referrer.c.content_id)

problem = Table(
    "problem",
    metadata,
    _primary(),
    Column("store_id", _id, ForeignKey("store.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("entry_id", _id, ForeignKey("entry.id", ondelete="CASCADE"), index=True),
    Column(
        "stage",
        SmallInteger,
        nullable=False,
        comment="found 0: in index.json, 1: in a blob, 2: from the size of a blob",
    ),
    Column("kind", _text, nullable=False),
    Column("subject", _text, nullable=False),
    Column("detail", _text, nullable=False),
    comment="a problem that `ocicat check` lists",
)
Index(
    "ix_problem_blob",
    problem.c.store_id,
    func.substr(problem.c.subject, 1, 512),
    sqlite_where=problem.c.stage == 1,
)
_partial("ix_problem_pinned", problem.c.entry_id, where=problem.c.kind == "name-digest")

# --- the past ----------------------------------------------------------------------------------------------------
#
# When a row of `store`, `entry`, `name` or `store_blob` changes or is deleted, its old values are kept here with the moments
# between which they were valid: from `born` until just before `gone`. For an answer about a moment, the usual statements run
# over the rows that were valid then (catalog.engine.moments). Ids of live rows are not foreign keys here, because the past
# outlives the live rows.

moment = Table(
    "moment",
    metadata,
    _primary(),
    Column("host_id", _id, ForeignKey("host.id", ondelete="CASCADE"), nullable=False),
    Column("at", BigInteger, nullable=False, comment="the time of the host's clock"),
    Column("boot", _text, comment="the boot id of the machine"),
    Column("ran", BigInteger, comment="milliseconds since boot, by a clock that cannot be set"),
    _flag("stepped", "the clock was ahead at the previous moment"),
    _flag("forgotten", "retention has dropped rows that were valid only between this moment and the next"),
    Column("label", BigInteger, nullable=False, comment="its time: `at`, or an estimate if the clock was wrong"),
    comment="a transaction that changed answers; its id gives the order, its time is only a label",
)
Index("ix_moment_host_label", moment.c.host_id, moment.c.label)
Index("ix_moment_host_id", moment.c.host_id, moment.c.id)
_partial("ix_moment_stepped", moment.c.host_id, where=moment.c.stepped)


def _between() -> tuple[Column[int], Column[int]]:
    return (
        Column("born", BigInteger, primary_key=True, autoincrement=False),
        Column("gone", BigInteger, nullable=False),
    )


def _of(column: str) -> Column[int]:
    """Return a column for the id of a row that may have been deleted."""
    return Column(column, _id, primary_key=True, autoincrement=False)


def _store_then() -> tuple[Column[Any], ...]:
    """Return the columns that identify a store of the past."""
    return (
        _of("store_id"),
        Column("host_id", _id, ForeignKey("host.id", ondelete="CASCADE"), nullable=False),
        Column("name", _text, nullable=False),
        Column("path", _text, nullable=False),
        Column("path_bytes", LargeBinary),
        Column("priority", Integer, nullable=False),
    )


past_store = Table(
    "past_store",
    metadata,
    *_store_then(),
    Column("state", _text, nullable=False),
    Column("state_since", BigInteger, nullable=False),
    Column("elements", Integer, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("shared_as", _text),
    *_between(),
    comment="a store as it was",
)

past_entry = Table(
    "past_entry",
    metadata,
    _of("entry_id"),
    Column("store_id", _id, nullable=False),
    Column("sort", BigInteger, nullable=False),
    Column("content_id", _id, ForeignKey("content.id"), nullable=False),
    Column("media_type_id", _id, ForeignKey("media_type.id"), nullable=False),
    Column("size", BigInteger),
    Column("artifact_type_id", _id, ForeignKey("media_type.id")),
    Column("platform_id", _id, ForeignKey("platform.id")),
    Column("ref_name", _text),
    Column("image_name", _text),
    Column("ref_tail", _text),
    Column("long_ref_name", Boolean, nullable=False),
    Column("long_image_name", Boolean, nullable=False),
    *_between(),
    comment="an entry as it was",
)
Index("ix_past_entry_store", past_entry.c.store_id)
Index("ix_past_entry_content", past_entry.c.content_id, past_entry.c.store_id, past_entry.c.gone)
Index("ix_past_entry_born", past_entry.c.born)
Index("ix_past_entry_gone", past_entry.c.gone)
_partial("ix_past_entry_ref_tail", past_entry.c.ref_tail, where=past_entry.c.ref_tail.is_not(None))
for _raw, _indexed in (
    (past_entry.c.ref_name, ~past_entry.c.long_ref_name),
    (past_entry.c.image_name, ~past_entry.c.long_image_name),
):
    _partial(f"ix_past_entry_{_raw.name}", _raw, where=_raw.is_not(None) & _indexed)

past_name = Table(
    "past_name",
    metadata,
    _of("name_id"),
    Column("entry_id", _id, nullable=False),
    Column("store_id", _id, nullable=False),
    Column("repository_id", _id, ForeignKey("repository.id")),
    Column("tag", _text),
    Column("name", _text),
    Column("source", SmallInteger, nullable=False),
    Column("sort", BigInteger, nullable=False),
    Column("shadowed", Boolean, nullable=False),
    Column("since", BigInteger, nullable=False),
    *_between(),
    comment="a lookup key as it was",
)
Index("ix_past_name_entry", past_name.c.entry_id, past_name.c.gone)
_partial("ix_past_name_name", past_name.c.name, where=past_name.c.name.is_not(None))
_partial("ix_past_name_tag", past_name.c.tag, where=past_name.c.tag.is_not(None))
_partial("ix_past_name_repository", past_name.c.repository_id, where=past_name.c.repository_id.is_not(None))

past_blob = Table(
    "past_blob",
    metadata,
    _of("store_id"),
    Column("content_id", _id, ForeignKey("content.id"), primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("embedded", Boolean, nullable=False),
    Column("reach", SmallInteger),
    *_between(),
    sqlite_with_rowid=False,
    comment="a manifest or index that was in a store; other blobs are not part of any answer",
)
Index("ix_past_blob_content", past_blob.c.content_id, past_blob.c.store_id)

answer_span = Table(
    "answer_span",
    metadata,
    _primary(),
    Column("store_id", _id, nullable=False),
    Column("repository_id", _id, ForeignKey("repository.id")),
    Column("tag", _text, nullable=False),
    Column("name", _text),
    Column("content_id", _id, ForeignKey("content.id"), nullable=False),
    Column("since", BigInteger, nullable=False, comment="the time of the clock, used once the moment is forgotten"),
    Column("until", BigInteger, nullable=False),
    Column("born", BigInteger, nullable=False, comment="the moment at which it began; 0: before the first"),
    Column("gone", BigInteger, nullable=False, comment="the moment at which it ended"),
    comment="a span that has ended: what a key of a store answered, whether the store existed or not (see store_span)",
)
_partial("ix_answer_span_name", answer_span.c.name, where=answer_span.c.name.is_not(None))
_partial("ix_answer_span_repository", answer_span.c.repository_id, where=answer_span.c.repository_id.is_not(None))
Index("ix_answer_span_tag", answer_span.c.tag)
Index("ix_answer_span_content", answer_span.c.content_id)
Index("ix_answer_span_born", answer_span.c.born)
Index("ix_answer_span_gone", answer_span.c.gone)
Index("ix_answer_span_store", answer_span.c.store_id, answer_span.c.gone)

store_span = Table(
    "store_span",
    metadata,
    *_store_then(),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, comment="null if it has not ended"),
    Column("born", BigInteger, primary_key=True, autoincrement=False),
    Column("gone", BigInteger, comment="null if it has not ended"),
    comment="a span in which a store existed under one name",
)
Index("ix_store_span_name", store_span.c.name)
Index("ix_store_span_path", store_span.c.path)
Index("ix_store_span_born", store_span.c.born)
Index("ix_store_span_gone", store_span.c.gone)

for _constraint in [each for table in (entry, past_entry, edge, manifest) for each in table.foreign_key_constraints]:
    if _constraint.referred_table in (media_type, platform) and _constraint.name != "fk_manifest_artifact_type_id":
        # On PostgreSQL, deleting a media type or platform would scan these tables for references, because the columns have no index.
        _constraint.ddl_if(dialect="sqlite")


def set_conditions_for_postgresql() -> None:
    """Give the partial indexes the same conditions on PostgreSQL, for a program that renders the tables for PostgreSQL.

    With an argument `postgresql_where` in the tables, SQLAlchemy would load the dialect with all its drivers, and asyncio, in every process.
    """
    for table in metadata.tables.values():
        for index in table.indexes:
            index.dialect_kwargs["postgresql_where"] = index.dialect_kwargs.get("sqlite_where")
