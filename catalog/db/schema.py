"""The tables: the one source of the schema for both engines (schema.md). `migrations/` builds them; a test compares.

Conventions
- Joins are on integers; a digest stands once, in `content`. Text is compared bytewise (collation "C" on PostgreSQL), so
  that a prefix is an index range on both engines.
- Times (`..._ms`, `since`, `until`) are milliseconds since 1970 in UTC, made to rise within a store although clocks step.
- An entry's `sort` is a sort key with gaps: entries that share a key, a tag or a raw annotation stand in the order of
  `index.json`; others may not (ingest/order.py).
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
    func,
)

SCHEMA_MAJOR = 1
SCHEMA_MINOR = 0
APPLICATION_ID = 0x6F636963
"""SQLite's application_id of a catalog: 'ocic'."""

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


def _partial(index_name: str, *columns: Column[Any], where: ColumnElement[bool]) -> None:
    """An index over the rows that `where` holds: a query is served where it says or implies the same."""
    Index(index_name, *columns, sqlite_where=where, postgresql_where=where)


meta = Table(
    "meta",
    metadata,
    Column("key", _text, primary_key=True),
    Column("value", _text, nullable=False),
    comment="schema: MAJOR.MINOR of these tables; pruned_ms: when retention last ran",
)

host = Table(
    "host",
    metadata,
    _primary(),
    Column("name", _text, nullable=False, unique=True),
    comment="a machine whose stores are catalogued here",
)

root = Table(
    "root",
    metadata,
    _primary(),
    Column("host_id", _id, ForeignKey("host.id", ondelete="CASCADE"), nullable=False),
    Column("name", _text, nullable=False),
    Column("path", _text, nullable=False, comment="absolute; percent-encoded where it is not UTF-8"),
    Column("path_bytes", LargeBinary, comment="the path itself where it is not UTF-8"),
    Column("naming", _text, nullable=False),
    Column("prefix", _text),
    Column("priority", Integer, nullable=False),
    UniqueConstraint("host_id", "name"),
    UniqueConstraint("host_id", "path"),
    comment="a directory that is searched for layouts",
)

left_out = Table(
    "left_out",
    metadata,
    Column("host_id", _id, ForeignKey("host.id", ondelete="CASCADE"), primary_key=True),
    Column("path", _text, primary_key=True),
    comment="a store below a root that was removed by name: not found again until it is added",
)

store = Table(
    "store",
    metadata,
    _primary(),
    Column("host_id", _id, ForeignKey("host.id", ondelete="CASCADE"), nullable=False),
    Column("root_id", _id, ForeignKey("root.id", ondelete="CASCADE"), index=True, comment="null: added by itself"),
    Column("name", _text, nullable=False),
    Column("path", _text, nullable=False, comment="absolute; percent-encoded where it is not UTF-8"),
    Column("path_bytes", LargeBinary, comment="the path itself where it is not UTF-8"),
    Column("own_settings", Boolean, nullable=False, comment="naming, prefix and priority are its own, not its root's"),
    Column("naming", _text, nullable=False),
    Column("prefix", _text),
    Column("priority", Integer, nullable=False),
    Column("state", _text, nullable=False),
    Column("error", _text),
    Column("state_since", BigInteger, nullable=False),
    Column("layout_version", _text),
    Column("file_identity", _text, comment="device, inode, size, mtime and ctime of the index.json that was read"),
    Column("sha256", _text, comment="of the bytes of that index.json, hex"),
    Column("keyed_by", _text, comment="the naming rules and repository by which its keys were derived"),
    Column("elements", Integer, nullable=False, comment="of `manifests`, unusable ones counted"),
    Column("entries", Integer, nullable=False),
    Column("generation", Integer, nullable=False, comment="rises by one with each change"),
    Column("indexed_at", BigInteger),
    Column("changed_at", BigInteger),
    UniqueConstraint("host_id", "name"),
    UniqueConstraint("host_id", "path"),
    comment="a layout",
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
    comment="one change of one index.json, as it was seen",
)

media_type = Table("media_type", metadata, _primary(), Column("name", _text, nullable=False, unique=True))

platform = Table(
    "platform", metadata, _primary(), Column("name", _text, nullable=False, unique=True, comment="os/arch[/variant]")
)

annotation_key = Table("annotation_key", metadata, _primary(), Column("name", _text, nullable=False, unique=True))

repository = Table(
    "repository",
    metadata,
    _primary(),
    Column("name", _text, nullable=False, unique=True, comment="canonical: docker.io/library/alpine"),
    Column("domain", _text, nullable=False, comment="empty where the name has none"),
    Column("path", _text, nullable=False),
    Column("familiar", _text, nullable=False, index=True, comment="as Docker shows it: alpine"),
)

content = Table(
    "content",
    metadata,
    _primary(),
    Column("digest", _text, nullable=False, unique=True),
    comment="a digest, once for all stores",
)

entry = Table(
    "entry",
    metadata,
    _primary(),
    Column("store_id", _id, ForeignKey("store.id", ondelete="CASCADE"), nullable=False),
    Column("sort", BigInteger, nullable=False),
    Column("content_id", _id, ForeignKey("content.id"), nullable=False),
    Column("media_type_id", _id, ForeignKey("media_type.id"), nullable=False),
    Column("size", BigInteger, comment="bytes, as the descriptor claims"),
    Column("artifact_type_id", _id, ForeignKey("media_type.id")),
    Column("platform_id", _id, ForeignKey("platform.id"), comment="as the descriptor claims"),
    Column("ref_name", _text, comment="raw org.opencontainers.image.ref.name"),
    Column("image_name", _text, comment="raw io.containerd.image.name"),
    Column("ref_tail", _text, comment="behind the last colon of ref_name, where that is a tag that no key of it has"),
    Column("fingerprint", BigInteger, nullable=False, comment="64 bits of the descriptor's meaning, for the diff"),
    Column("oversize", Boolean, nullable=False, comment="a raw annotation is too long to be indexed"),
    comment="a descriptor in an index.json",
)
Index("ix_entry_store_sort", entry.c.store_id, entry.c.sort)
Index("ix_entry_content", entry.c.content_id, entry.c.store_id)
for _raw in (entry.c.ref_name, entry.c.image_name, entry.c.ref_tail):
    _partial(f"ix_entry_{_raw.name}", _raw, entry.c.store_id, entry.c.sort, where=_raw.is_not(None) & ~entry.c.oversize)
_partial("ix_entry_oversize", entry.c.store_id, where=entry.c.oversize)

name = Table(
    "name",
    metadata,
    _primary(),
    Column("entry_id", _id, ForeignKey("entry.id", ondelete="CASCADE"), nullable=False),
    Column("store_id", _id, nullable=False, comment="the entry's, repeated: part of every key below"),
    Column("repository_id", _id, ForeignKey("repository.id")),
    Column("tag", _text, comment="null: the name had a digest and no tag"),
    Column("name", _text, comment="full canonical name; null where a half is missing"),
    Column("source", SmallInteger, nullable=False, comment="0: io.containerd.image.name, 1: ref.name"),
    Column("sort", BigInteger, nullable=False, comment="the entry's, repeated"),
    Column("shadowed", Boolean, nullable=False, comment="another key of this store answers for this name"),
    Column("since", BigInteger, nullable=False, comment="since when this key answers what it answers"),
    comment="a lookup key of an entry (resolution.md section 2)",
)
Index("ix_name_entry", name.c.entry_id)
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
    Index("ix_name_span_name", "name", "until"),
    Index("ix_name_span_tag", "tag", "until"),
    Index("ix_name_span_repository", "repository_id", "until"),
    Index("ix_name_span_content", "content_id", "until"),
    Index("ix_name_span_store", "store_id", "until"),
    comment="over: what a key of a store answered, and from when until when",
)

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

problem = Table(
    "problem",
    metadata,
    _primary(),
    Column("store_id", _id, ForeignKey("store.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("entry_id", _id, ForeignKey("entry.id", ondelete="CASCADE"), index=True),
    Column("kind", _text, nullable=False),
    Column("subject", _text, nullable=False),
    Column("detail", _text, nullable=False),
    comment="what `ocicat check` lists: unusable entries and names",
)
