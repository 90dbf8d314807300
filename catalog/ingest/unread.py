"""Query the database for the blobs of a store that still have to be read.

Nothing is remembered between two queries, so reading can be interrupted at any point and continued later. A query is about a page
of blobs: all blobs of several small stores, or some of a large store, because a store may have any number of blobs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from catalog.db.schema import CHILD, CONFIG, SUBJECT, UNREAD
from catalog.engine.driver import cursor_of
from catalog.ingest.parameters import chunks, marks, of_stores
from catalog.ingest.rows import Row, Rows
from catalog.names.media_types import CONFIGS, MANIFESTS

PAGE = 5_000
"""The number of blobs in one page."""

_MAX_BYTES = ":max_bytes"
"""In the statements below, this stands for the largest size of a manifest in bytes, which is a setting."""

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
    "SELECT store_blob.store_id, content.id, content.digest, store_blob.embedded,"
    f" ({_ENTRY_CLAIM.format(of=f'media_type.name IN ({_MANIFEST_TYPES})')}"
    f" OR EXISTS ({_CLAIM.format(role=CHILD, of=f'media_type.name IN ({_MANIFEST_TYPES})')})"
    f" OR EXISTS ({_CLAIM.format(role=CONFIG, of=f'media_type.name IN ({_CONFIG_TYPES})')})) AS claimed"
    " FROM %s CROSS JOIN content WHERE content.id = store_blob.content_id"
    f" AND content.kind = {UNREAD} AND NOT store_blob.looked"
    f" AND ({_IS_CHILD} OR {_ENTRY_CLAIM.format(of='NOT media_type.is_leaf')})"
)
"""Selects the unread blobs among some rows of store_blob."""
# Searching whole stores for each level of a chain of indexes would be quadratic. CROSS JOIN keeps SQLite from starting with the
# blobs of the stores. A child of many manifests is checked once.
_BELOW = (
    "(SELECT DISTINCT store_blob.store_id, store_blob.content_id, store_blob.size, store_blob.embedded, store_blob.looked"
    " FROM edge CROSS JOIN content CROSS JOIN store_blob"
    f" WHERE edge.parent_id IN (%s) AND content.id = edge.child_id AND content.kind = {UNREAD}"
    " AND store_blob.content_id = content.id AND %s) AS store_blob"
)
_IN_PAGE = " AND store_blob.content_id > ? AND store_blob.content_id <= ?"
_NO_END = (1 << 63) - 1
_PAGE_END = (
    "SELECT count(*), max(content_id) FROM (SELECT content_id FROM store_blob WHERE store_id = ? AND content_id > ?"
    f" ORDER BY content_id LIMIT {PAGE}) AS page"
)
_SMALL = (
    "SELECT store_blob.store_id, content.id, content.digest FROM store_blob CROSS JOIN content"
    f" WHERE %s AND content.id = store_blob.content_id AND content.kind = {UNREAD}"
    " AND NOT store_blob.looked AND NOT store_blob.embedded"
    f" AND store_blob.size BETWEEN 2 AND {_MAX_BYTES}"
    " AND NOT EXISTS (SELECT 1 FROM entry"
    " WHERE entry.content_id = content.id AND entry.store_id = store_blob.store_id)"
)
# How other stores use a blob does not count, because the result must not depend on the order in which stores are read. So this
# query is run once per store and not once per blob: any number of manifests in other stores may point to one blob.
_POINTED_TO = (
    "SELECT DISTINCT store_blob.store_id, edge.child_id FROM store_blob CROSS JOIN edge"
    f" WHERE %s AND edge.parent_id = store_blob.content_id AND edge.role <> {SUBJECT}"
)
_IS_SMALL = f"NOT {{of}}.embedded AND {{of}}.size BETWEEN 2 AND {_MAX_BYTES}"
_REAL_MANIFESTS = ", ".join(f"'{name}'" for name in sorted(MANIFESTS))
_SUSPECT_ENTRIES = (
    "SELECT store_blob.store_id, content.digest FROM store_blob CROSS JOIN content"
    f" WHERE %s AND content.id = store_blob.content_id AND {_IS_SMALL.format(of='store_blob')}"
    f" AND {_ENTRY_CLAIM.format(of='media_type.is_leaf')}"
)
_SUSPECT_CHILDREN = (
    "SELECT store_blob.store_id, content.digest FROM store_blob CROSS JOIN edge CROSS JOIN media_type"
    " CROSS JOIN store_blob AS held CROSS JOIN content"
    f" WHERE %s AND edge.parent_id = store_blob.content_id AND edge.role <> {SUBJECT}"
    " AND media_type.id = edge.media_type_id"
    f" AND (edge.role = {CHILD} AND media_type.is_leaf OR edge.role <> {CHILD} AND media_type.name IN ({_REAL_MANIFESTS}))"
    " AND held.store_id = store_blob.store_id AND held.content_id = edge.child_id"
    f" AND {_IS_SMALL.format(of='held')} AND content.id = edge.child_id"
)
_SET_LOOKED = "UPDATE store_blob SET looked = TRUE WHERE store_id = ? AND content_id = ?"
_IN_DOUBT = (
    "SELECT problem.store_id, content.digest FROM problem JOIN content ON content.digest = problem.subject"
    " JOIN store_blob ON store_blob.store_id = problem.store_id AND store_blob.content_id = content.id"
    f" WHERE %s AND problem.stage = 1 AND content.kind <> {UNREAD}"
)
_UNREAD_ELSEWHERE = (
    "SELECT DISTINCT other.store_id FROM edge JOIN content ON content.id = edge.child_id"
    " JOIN media_type ON media_type.id = edge.media_type_id"
    " JOIN store_blob AS other ON other.content_id = content.id AND NOT other.looked"
    f" WHERE edge.parent_id IN (%s) AND content.kind = {UNREAD}"
    f" AND (edge.role = {CHILD} AND NOT media_type.is_leaf OR edge.role = {CONFIG}) AND NOT EXISTS"
    " (SELECT 1 FROM store_blob AS here WHERE here.content_id = content.id AND %s)"
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

    `claimed` is True if the media type in some descriptor calls it a manifest or the config of an image.
    """

    content_id: int
    digest: str
    embedded: bool = False
    claimed: bool = True


class BlobPage(NamedTuple):
    """The blobs of some stores with ids greater than `low`, up to and including `high`.

    `is_one_of_many` is True if the page has only some of the blobs of a store. Then no other store is in it.
    """

    store_ids: tuple[int, ...]
    low: int = 0
    high: int = _NO_END
    is_one_of_many: bool = False

    @property
    def is_last(self) -> bool:
        return self.high == _NO_END


def first_pages(connection: Connection, store_ids: Iterable[int]) -> list[BlobPage]:
    """Return pages with all blobs of the stores that have less than a page, and the first page of each other store."""
    pages: list[BlobPage] = []
    together: list[int] = []
    total = 0
    for store_id in store_ids:
        page, count = _page(connection, store_id, 0)
        if page.is_one_of_many:
            pages.append(page)
            continue
        if total + count > PAGE:
            pages.append(BlobPage(tuple(together)))
            together, total = [], 0
        together.append(store_id)
        total += count
    if together:
        pages.append(BlobPage(tuple(together)))
    return pages


def page_after(connection: Connection, page: BlobPage) -> BlobPage:
    """Return the next page of a large store, in the order of the ids of its blobs."""
    return _page(connection, page.store_ids[0], page.high)[0]


def _page(connection: Connection, store_id: int, low: int) -> tuple[BlobPage, int]:
    """Return the page that begins after the id `low`, and the number of blobs in it."""
    count, high = cursor_of(connection).execute(_PAGE_END, (store_id, low)).fetchall()[0]
    if count < PAGE:
        return BlobPage((store_id,), low, is_one_of_many=low > 0), count
    return BlobPage((store_id,), low, high, is_one_of_many=True), count


def unread_in(connection: Connection, page: BlobPage, max_bytes: int) -> dict[int, list[UnreadBlob]]:
    """Return the blobs of a page that still have to be read, by store."""
    return _by_store(_of_page(connection, f"{_UNREAD % 'store_blob'} AND %s", page, max_bytes))


def unread_of(connection: Connection, store_ids: Sequence[int], max_bytes: int) -> dict[int, list[UnreadBlob]]:
    """Return the blobs of these stores that still have to be read, by store."""
    where, ids = of_stores("store_blob.store_id", store_ids)
    return _by_store(_asked(connection, f"{_UNREAD % 'store_blob'} AND {where}", ids, max_bytes))


def unread_below(
    connection: Connection, store_ids: Sequence[int], parents: Sequence[int], max_bytes: int
) -> dict[int, list[UnreadBlob]]:
    """Return the blobs of these stores that the manifests `parents` point to and that still have to be read, by store."""
    where, ids = of_stores("store_blob.store_id", store_ids)
    rows: dict[Row, None] = {}
    for some in chunks(parents):
        statement = _UNREAD % (_BELOW % (marks(some), where))
        rows.update(dict.fromkeys(_asked(connection, statement, (*some, *ids), max_bytes)))
    return _by_store(rows)


def small_blobs(connection: Connection, page: BlobPage, max_bytes: int) -> list[tuple[int, int, str]]:
    """Return the store, id and digest of each unread blob of a page that is not an entry of the store and may be a manifest by its size."""
    return _of_page(connection, _SMALL, page, max_bytes)


def pointed_to(connection: Connection, page: BlobPage) -> list[tuple[int, int]]:
    """Return the store and the content id of everything that the manifests of a page point to, except as their subject."""
    return _of_page(connection, _POINTED_TO, page)


def suspects(connection: Connection, page: BlobPage, max_bytes: int) -> list[tuple[int, str]]:
    """Return the store and digest of blobs that may be manifests although they are not read.

    They are blobs of a page, or its manifests point to them. An entry or an index gives them the media type of a layer or the like, or a
    manifest lists manifests as its layers.
    """
    found: set[tuple[int, str]] = set()
    for statement in (_SUSPECT_ENTRIES, _SUSPECT_CHILDREN):
        found.update(_of_page(connection, statement, page, max_bytes))
    return sorted(found)


def _of_page(connection: Connection, statement: str, page: BlobPage, max_bytes: int = 0) -> list[Any]:
    where, values = of_stores("store_blob.store_id", page.store_ids)
    if page.is_one_of_many:  # Otherwise SQLite might search for the ids of all blobs of the catalog.
        where += _IN_PAGE
        values += (page.low, page.high)
    return _asked(connection, statement % where, values, max_bytes)


def _asked(connection: Connection, statement: str, values: Sequence[int], max_bytes: int) -> list[Any]:
    return cursor_of(connection).execute(statement.replace(_MAX_BYTES, str(max_bytes)), values).fetchall()


def _by_store(rows: Iterable[Row]) -> dict[int, list[UnreadBlob]]:
    found: dict[int, list[UnreadBlob]] = {}
    for store_id, *blob in rows:
        found.setdefault(store_id, []).append(UnreadBlob(*blob))
    return found


def set_looked(connection: Connection, blobs: Iterable[tuple[int, int]]) -> None:
    """Record that blobs, given as store id and content id, were checked and are not manifests."""
    cursor_of(connection).executemany(_SET_LOOKED, blobs)


def blobs_in_doubt(connection: Connection, store_ids: Sequence[int]) -> list[tuple[int, str]]:
    """Return the store and digest of each bad blob in these stores that need not be read, because another store has a good copy."""
    where, ids = of_stores("problem.store_id", store_ids)
    return _asked(connection, _IN_DOUBT % where, ids, 0)


def unread_elsewhere(rows: Rows, store_ids: Sequence[int], parents: Sequence[int]) -> set[int]:
    """Return the ids of stores that have an unread child of `parents` that is not in any of `store_ids`."""
    where, ids = of_stores("here.store_id", store_ids)
    found: set[int] = set()
    for some in chunks(parents):
        statement = _UNREAD_ELSEWHERE % (marks(some), where)
        found.update(row[0] for row in rows.cursor.execute(statement, (*some, *ids)).fetchall())
    return found


def other_copies(rows: Rows, blobs: Collection[tuple[str, int]], max_bytes: int) -> set[int]:
    """Return the ids of stores with another copy of an unread blob. `blobs` are digests, each with the store of the bad copy."""
    statement = _OTHER_COPIES.replace(_MAX_BYTES, str(max_bytes))
    return {row[0] for one in blobs for row in rows.cursor.execute(statement, one)}
