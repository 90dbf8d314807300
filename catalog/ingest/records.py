"""Records for rows that are written rarely.

Rows of `entry` and `name` are written for every entry. They stay plain tuples, because building records would make each more expensive.
"""

from __future__ import annotations

from typing import NamedTuple


class StoreRow(NamedTuple):
    """The columns of a store's row that reading the store sets. Times are milliseconds since 1970."""

    state: str
    error: str | None
    state_since: int
    layout_version: str | None
    file_identity: str | None
    sha256: str | None
    keyed_by: str | None
    elements: int
    entries: int
    generation: int
    indexed_at: int
    changed_at: int | None
    content_pending: bool
    first_at: int
    archive: bool


class SnapshotRow(NamedTuple):
    """One change of a store's index.json. `size` is in bytes; `took_ms` is the time that reading took, in milliseconds."""

    store_id: int
    generation: int
    at: int
    sha256: str | None
    size: int
    entries: int
    added: int
    removed: int
    moved: int
    took_ms: int


class NameSpanRow(NamedTuple):
    """The content that a name had from `since` until `until`. `origin` is the source of the span, or None if ocicat itself saw it."""

    store_id: int
    repository_id: int | None
    tag: str
    name: str | None
    content_id: int
    since: int
    until: int
    origin: str | None


class AnswerSpanRow(NamedTuple):
    """The content that a name answered from `since` until `until`, that is, from the moment `born` until just before `gone`."""

    store_id: int
    repository_id: int | None
    tag: str
    name: str | None
    content_id: int
    since: int
    until: int
    born: int
    gone: int
