"""Find blobs whose size differs from the size in every descriptor, for example because copying them was interrupted.

Only descriptors in the same store count. So the blobs are found when a store has been read, starting from its own manifests. Starting
from each blob and searching for all manifests that point to it would be quadratic in the number of stores.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

from catalog.db.schema import SUBJECT
from catalog.ingest.reach import Ask
from catalog.ingest.rows import Rows
from catalog.names.sizes import in_bytes

STAGE = 2
"""The `problem.stage` of these problems. The view `problems` shows them until the bytes of the blob have been hashed."""

_FROM_ENTRIES = (
    "FROM entry JOIN store_blob ON store_blob.store_id = entry.store_id AND store_blob.content_id = entry.content_id"
    " JOIN content ON content.id = entry.content_id WHERE entry.store_id = ?"
)
# CROSS JOIN keeps SQLite from starting with the blob.
_FROM_EDGES = (
    "FROM store_blob AS above CROSS JOIN edge CROSS JOIN store_blob CROSS JOIN content WHERE above.store_id = ?"
    "{page}"
    f" AND edge.parent_id = above.content_id AND edge.role <> {SUBJECT} AND store_blob.store_id = above.store_id"
    " AND store_blob.content_id = edge.child_id AND content.id = edge.child_id"
)
_UNPROVED = "content.size IS NULL AND store_blob.is_good IS NULL AND NOT store_blob.embedded"
_IN_PAGE = " AND above.content_id > ? AND above.content_id <= ?"
_ANY = "SELECT 1 {from_} AND {claims}.size <> store_blob.size AND " + _UNPROVED + " LIMIT 1"
_CLAIMS = (
    "SELECT content.digest, min(store_blob.size), max({claims}.size),"
    " max(CASE WHEN {claims}.size = store_blob.size THEN 1 ELSE 0 END)"
    " {from_} AND {claims}.size IS NOT NULL AND " + _UNPROVED + " GROUP BY content.digest"
)
_SOURCES = ({"claims": "entry", "from_": _FROM_ENTRIES}, {"claims": "edge", "from_": _FROM_EDGES})


_WRITTEN = "SELECT id, subject, detail FROM problem WHERE store_id = ? AND stage = ?"


class Claims(NamedTuple):
    """Changes to the problems `truncated-blob` of a store: new problems (digest, detail), and ids of obsolete problems."""

    new: list[tuple[str, str]]
    gone: list[int]


def find_claims(ask: Ask, store_id: int, pages: Sequence[tuple[int, int]] = ()) -> Generator[None, None, Claims]:
    """Return the changes that bring the problems of a store up to date with the sizes of its blobs.

    `pages` are ranges of content ids, each given as the number before its first id, and its last id. If there is more than one, the
    manifests are read in as many pieces. Yields between statements.
    """
    asked: list[tuple[str, str, str, tuple[int, ...]]] = []
    for each in _SOURCES:  # The sizes in entries come first.
        is_paged = len(pages) > 1 and each["claims"] == "edge"
        from_ = each["from_"].format(page=_IN_PAGE if is_paged else "")
        asked += [(each["claims"], _ANY, from_, (store_id, *page)) for page in (pages if is_paged else [()])]
    is_any = False
    for claims, any_of, from_, values in asked:
        yield
        is_any = is_any or bool(ask(any_of.format(claims=claims, from_=from_), values))
    sizes: dict[str, tuple[int, int]] = {}
    of_edges: dict[str, tuple[int, int]] = {}
    right: set[str] = set()
    for claims, _, from_, values in asked if is_any else ():
        yield
        found = sizes if claims == "entry" else of_edges
        for digest, held, most, is_right in ask(_CLAIMS.format(claims=claims, from_=from_), values):
            found[digest] = held, max(most, found.get(digest, (0, most))[1])
            if is_right:
                right.add(digest)
    sizes = of_edges | sizes
    wanted = {
        (digest, f"has {in_bytes(sizes[digest][0])} instead of {sizes[digest][1]}") for digest in sizes.keys() - right
    }
    yield
    written = {(subject, detail): id_ for id_, subject, detail in ask(_WRITTEN, (store_id, STAGE))}
    return Claims(sorted(wanted - written.keys()), [id_ for each, id_ in written.items() if each not in wanted])


def write_claims(rows: Rows, store_id: int, found: Claims) -> None:
    """Write the changes from `find_claims`."""
    rows.cursor.executemany("DELETE FROM problem WHERE id = ?", [(id_,) for id_ in found.gone])
    for digest, detail in found.new:
        rows.pause()
        rows.problem(store_id, None, "truncated-blob", digest, detail, stage=STAGE)
    rows.flush()
