"""Which blobs of a store still have to be read, asked of the database.

Nothing here is remembered between two questions, so reading can be interrupted at any point and continued later. The questions
about a whole store are asked page by page, because a store may hold any number of blobs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from catalog.db.schema import CHILD, CONFIG, SUBJECT, UNREAD
from catalog.ingest.rows import Rows, chunks, marks
from catalog.names.media_types import CONFIGS, MANIFESTS

PAGE = 5_000
"""How many blobs of a store one question is about."""

_MAX_BYTES = ":max_bytes"
"""In the statements below this stands for the largest size of a manifest in bytes, which is a setting."""

_CONFIG_TYPES = ", ".join(f"'{name}'" for name in sorted(CONFIGS))
_MANIFEST_TYPES = ", ".join(f"'{name}'" for name in sorted({*MANIFESTS, ""}))
_CLAIM = (
    "SELECT 1 FROM edge JOIN media_type ON media_type.id = edge.media_type_id"
    " WHERE edge.child_id = content.id AND edge.role = {role} AND {of}"
)
_IS_CHILD = (
    f"(EXISTS ({_CLAIM.format(role=CHILD, of='NOT media_type.is_leaf')})"
    # The config of an artifact may be of any kind and size.
    " OR EXISTS ("
    + _CLAIM.format(role=CONFIG, of=f"(media_type.name IN ({_CONFIG_TYPES}) OR store_blob.size <= {_MAX_BYTES})")
    + "))"
)
_ENTRY_CLAIM = (
    "EXISTS (SELECT 1 FROM entry JOIN media_type ON media_type.id = entry.media_type_id"
    " WHERE entry.content_id = content.id AND entry.store_id = store_blob.store_id AND {of})"
)
_UNREAD = (
    "SELECT content.id, content.digest, store_blob.embedded,"
    f" ({_ENTRY_CLAIM.format(of=f'media_type.name IN ({_MANIFEST_TYPES})')}"
    f" OR EXISTS ({_CLAIM.format(role=CHILD, of=f'media_type.name IN ({_MANIFEST_TYPES})')})"
    f" OR EXISTS ({_CLAIM.format(role=CONFIG, of=f'media_type.name IN ({_CONFIG_TYPES})')})) AS claimed"
    " FROM store_blob JOIN content ON content.id = store_blob.content_id"
    f" WHERE store_blob.store_id = ? AND content.kind = {UNREAD} AND NOT store_blob.looked"
    f" AND ({_IS_CHILD} OR {_ENTRY_CLAIM.format(of='NOT media_type.is_leaf')})"
)
_AMONG = " AND content.id IN (%s)"
"""Narrows _UNREAD to what lies below some manifests. Searching the whole store for each level of a chain of indexes would be quadratic."""
# CROSS JOIN keeps SQLite from starting with the blobs of the stores.
_BELOW = (
    "SELECT DISTINCT store_blob.store_id, store_blob.content_id FROM edge CROSS JOIN content CROSS JOIN store_blob"
    f" WHERE edge.parent_id IN (%s) AND content.id = edge.child_id AND content.kind = {UNREAD}"
    " AND store_blob.content_id = content.id AND store_blob.store_id IN (%s) AND NOT store_blob.looked"
)
_IN_PAGE = " AND store_blob.content_id > ? AND store_blob.content_id <= ?"
_NO_END = (1 << 63) - 1
_PAGE_END = (
    "SELECT content_id FROM store_blob WHERE store_id = ? AND content_id > ?"
    f" ORDER BY content_id LIMIT 1 OFFSET {PAGE - 1}"
)
_SMALL = (
    "SELECT content.id, content.digest FROM store_blob JOIN content ON content.id = store_blob.content_id"
    f" WHERE store_blob.store_id = ? AND content.kind = {UNREAD} AND NOT store_blob.looked AND NOT store_blob.embedded"
    f" AND store_blob.size BETWEEN 2 AND {_MAX_BYTES}{_IN_PAGE}"
    " AND NOT EXISTS (SELECT 1 FROM entry"
    " WHERE entry.content_id = content.id AND entry.store_id = store_blob.store_id)"
)
# How other stores use a blob does not count, because the result must not depend on the order in which stores are read. So this
# question is asked once per store and not once per blob: any number of manifests in other stores may point to one blob.
_POINTED_TO = (
    "SELECT DISTINCT edge.child_id FROM store_blob JOIN edge ON edge.parent_id = store_blob.content_id"
    f" WHERE store_blob.store_id = ? AND edge.role <> {SUBJECT}{_IN_PAGE}"
)
_IS_SMALL = f"NOT {{of}}.embedded AND {{of}}.size BETWEEN 2 AND {_MAX_BYTES}"
_REAL_MANIFESTS = ", ".join(f"'{name}'" for name in sorted(MANIFESTS))
_SUSPECT_ENTRIES = (
    "SELECT content.digest FROM store_blob JOIN content ON content.id = store_blob.content_id"
    f" WHERE store_blob.store_id = ? AND {_IS_SMALL.format(of='store_blob')}{_IN_PAGE}"
    f" AND {_ENTRY_CLAIM.format(of='media_type.is_leaf')}"
)
_SUSPECT_CHILDREN = (
    "SELECT content.digest FROM store_blob JOIN edge ON edge.parent_id = store_blob.content_id"
    " JOIN media_type ON media_type.id = edge.media_type_id JOIN content ON content.id = edge.child_id"
    " JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.child_id"
    f" WHERE store_blob.store_id = ? AND {_IS_SMALL.format(of='held')}{_IN_PAGE} AND edge.role <> {SUBJECT}"
    f" AND (edge.role = {CHILD} AND media_type.is_leaf OR edge.role <> {CHILD} AND media_type.name IN ({_REAL_MANIFESTS}))"
)
_SET_LOOKED = "UPDATE store_blob SET looked = TRUE WHERE store_id = ? AND content_id = ?"
_IN_DOUBT = (
    "SELECT content.digest FROM problem JOIN content ON content.digest = problem.subject"
    " JOIN store_blob ON store_blob.store_id = problem.store_id AND store_blob.content_id = content.id"
    f" WHERE problem.store_id = ? AND problem.stage = 1 AND content.kind <> {UNREAD}"
)
_UNREAD_ELSEWHERE = (
    "SELECT DISTINCT other.store_id FROM edge JOIN content ON content.id = edge.child_id"
    " JOIN media_type ON media_type.id = edge.media_type_id"
    " JOIN store_blob AS other ON other.content_id = content.id AND NOT other.looked"
    f" WHERE edge.parent_id IN (%s) AND content.kind = {UNREAD}"
    f" AND (edge.role = {CHILD} AND NOT media_type.is_leaf OR edge.role = {CONFIG}) AND NOT EXISTS"
    " (SELECT 1 FROM store_blob AS here WHERE here.store_id IN (%s) AND here.content_id = content.id)"
)
_OTHER_COPIES = (
    "SELECT store_blob.store_id FROM content JOIN store_blob ON store_blob.content_id = content.id"
    f" WHERE content.digest = ? AND content.kind = {UNREAD} AND store_blob.store_id <> ? AND NOT store_blob.looked"
    f" AND {_IS_CHILD} AND NOT EXISTS"
    # A store whose copy is known to be bad too is left out. Otherwise two such stores would wake each other forever.
    " (SELECT 1 FROM problem WHERE problem.store_id = store_blob.store_id AND stage = 1 AND subject = content.digest)"
)


class UnreadBlob(NamedTuple):
    """A blob that has to be read.

    `claimed` is whether some descriptor calls it a manifest or the config of an image by its media type.
    """

    content_id: int
    digest: str
    embedded: bool = False
    claimed: bool = True


class BlobPage(NamedTuple):
    """The blobs of a store with ids greater than `low`, up to and including `high`."""

    low: int
    high: int
    is_one_of_many: bool

    @property
    def is_last(self) -> bool:
        return self.high == _NO_END


def page_after(connection: Connection, store_id: int, low: int) -> BlobPage:
    """Return the page of a store's blobs, in the order of their ids, that begins after the id `low`; 0 gives the first."""
    row = Rows(connection).cursor.execute(_PAGE_END, (store_id, low)).fetchone()
    if row is None:
        return BlobPage(low, _NO_END, is_one_of_many=low > 0)
    return BlobPage(low, row[0], is_one_of_many=True)


def unread_blobs(
    connection: Connection,
    store_id: int,
    max_bytes: int,
    *,
    among: Sequence[int] | None = None,
    page: BlobPage | None = None,
) -> list[UnreadBlob]:
    """Return the blobs of a store that should be read and were not.

    With `among`, only those with one of these ids. With `page`, only those of that page.
    """
    statement = _UNREAD.replace(_MAX_BYTES, str(max_bytes))
    cursor = Rows(connection).cursor
    queries: list[tuple[str, tuple[int, ...]]] = [(statement, (store_id,))]
    if page is not None:
        queries = [(statement + _IN_PAGE, (store_id, page.low, page.high))]
    if among is not None:
        queries = [(statement + _AMONG % marks(some), (store_id, *some)) for some in chunks(among)]
    rows = {row[0]: row for text, values in queries for row in cursor.execute(text, values).fetchall()}
    return [UnreadBlob(*row) for row in rows.values()]


def unread_below(connection: Connection, store_ids: Sequence[int], parents: Sequence[int]) -> dict[int, set[int]]:
    """Return the ids of the unread content in each of these stores that these manifests point to, by store."""
    found: dict[int, set[int]] = {}
    cursor = Rows(connection).cursor
    for some in chunks(parents):
        statement = _BELOW % (marks(some), marks(store_ids))
        for store_id, content_id in cursor.execute(statement, (*some, *store_ids)).fetchall():
            found.setdefault(store_id, set()).add(content_id)
    return found


def small_blobs(connection: Connection, store_id: int, max_bytes: int, page: BlobPage) -> list[tuple[int, str]]:
    """Return id and digest of the unread blobs of a page that are no entry of the store and small enough for a manifest."""
    statement = _SMALL.replace(_MAX_BYTES, str(max_bytes))
    return list(Rows(connection).cursor.execute(statement, (store_id, page.low, page.high)).fetchall())


def pointed_to(connection: Connection, store_id: int, page: BlobPage) -> list[int]:
    """Return the ids of all content that the manifests of a page point to, except as their subject."""
    rows = Rows(connection).cursor.execute(_POINTED_TO, (store_id, page.low, page.high)).fetchall()
    return [row[0] for row in rows]


def suspects(connection: Connection, store_id: int, max_bytes: int, page: BlobPage) -> list[str]:
    """Return the digests of blobs of a page, or that manifests of the page point to, which may be manifests although they are not read.

    An entry or an index calls them layers or the like, or a manifest lists manifests as its layers.
    """
    cursor = Rows(connection).cursor
    found: set[str] = set()
    for statement in (_SUSPECT_ENTRIES, _SUSPECT_CHILDREN):
        rows = cursor.execute(statement.replace(_MAX_BYTES, str(max_bytes)), (store_id, page.low, page.high)).fetchall()
        found.update(row[0] for row in rows)
    return sorted(found)


def set_looked(connection: Connection, blobs: Iterable[tuple[int, int]]) -> None:
    """Note of blobs, given as store id and content id, that they were looked at and are no manifests."""
    Rows(connection).cursor.executemany(_SET_LOOKED, blobs)


def blobs_in_doubt(connection: Connection, store_id: int) -> list[str]:
    """Return the digests of bad blobs in a store that need not be read any more, because another store has a good copy."""
    return [row[0] for row in Rows(connection).cursor.execute(_IN_DOUBT, (store_id,)).fetchall()]


def unread_elsewhere(rows: Rows, store_ids: Sequence[int], parents: Sequence[int]) -> set[int]:
    """Return the ids of stores that hold an unread child of `parents` which is in none of `store_ids`."""
    found: set[int] = set()
    for some in chunks(parents):
        statement = _UNREAD_ELSEWHERE % (marks(some), marks(store_ids))
        found.update(row[0] for row in rows.cursor.execute(statement, (*some, *store_ids)).fetchall())
    return found


def other_copies(rows: Rows, blobs: Collection[tuple[str, int]], max_bytes: int) -> set[int]:
    """Return the ids of stores with another copy of an unread blob; `blobs` are digests and the store of the bad copy."""
    statement = _OTHER_COPIES.replace(_MAX_BYTES, str(max_bytes))
    return {row[0] for one in blobs for row in rows.cursor.execute(statement, one)}
