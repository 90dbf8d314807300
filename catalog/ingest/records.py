"""Rows that are written rarely enough to have names for their columns.

Rows of `entry` and `name`, of which there is one or more for each entry, stay plain tuples: building records would add to the cost
of each.
"""

from __future__ import annotations

from typing import NamedTuple


class StoreRow(NamedTuple):
    """What reading a store sets in its row. Times are milliseconds since 1970."""

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
    """One change of a store's index.json. `size` is in bytes, `took_ms` how long it took to read."""

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
    """What a name was from `since` until `until`, and who says so."""

    store_id: int
    repository_id: int | None
    tag: str
    name: str | None
    content_id: int
    since: int
    until: int
    origin: str | None


class AnswerSpanRow(NamedTuple):
    """What a name answered from `since` until `until`, and from the moment `born` until before the moment `gone`."""

    store_id: int
    repository_id: int | None
    tag: str
    name: str | None
    content_id: int
    since: int
    until: int
    born: int
    gone: int
