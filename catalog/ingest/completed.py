"""Find blobs that were bad when they were last read, and have changed in place since.

A writer that completes a file in place (`cp`, `rsync --inplace`) changes no directory, so the file itself has to be checked. That
is done only for a few files: blobs that could not be read or do not match their digest, and blobs whose size differs from the size
in a descriptor.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from catalog.db.kinds import SUBJECT
from catalog.ingest.store_state import Standing, Store
from catalog.layout.blobs import BlobDirectories, BlobProblem

MOST = 1_000
"""The most blobs that are checked at once."""
MOST_COMPARED = 20_000
"""The most blobs whose sizes are compared with descriptors at once."""

_DENIED = os.strerror(errno.EACCES)
_MANY = 100
"""For more stores than this, all stores are queried together."""

Ask = Callable[[str, Mapping[str, object]], Iterable[Any]]
"""A function that returns the rows of a statement with `:name` parameters."""

_BAD = (
    "SELECT store_blob.store_id, content.digest, store_blob.size, store_blob.mtime, problem.detail, problem.id FROM problem"
    " JOIN content ON content.digest = problem.subject"
    " JOIN store_blob ON store_blob.content_id = content.id AND store_blob.store_id = problem.store_id"
    " WHERE problem.stage = 1 AND NOT store_blob.embedded AND {}"
    f" ORDER BY problem.id LIMIT {MOST}"
)
_OTHER_SIZE = (
    "SELECT DISTINCT held.store_id, content.digest, held.size, held.mtime FROM"
    " (SELECT store_id, content_id, size, mtime, embedded FROM store_blob WHERE {}"
    f" ORDER BY store_id, content_id LIMIT {MOST_COMPARED}) AS held"
    f" JOIN edge ON edge.child_id = held.content_id AND edge.role <> {SUBJECT} AND edge.size <> held.size"
    f" JOIN content ON content.id = held.content_id WHERE NOT held.embedded AND (content.size IS NULL OR content.size <> held.size)"
)
_LAST = (
    "SELECT store_id, content_id FROM store_blob WHERE {}"
    f" ORDER BY store_id, content_id LIMIT 1 OFFSET {MOST_COMPARED - 1}"
)


class _Suspect(NamedTuple):
    store_id: int
    digest: str
    size: int
    mtime: int | None
    why: str = ""


class Completed:
    """Finds blobs that have changed in place. Each call continues where the last one ended, so every blob is checked in the end."""

    def __init__(self) -> None:
        self._problem = 0
        self._blob = 0, 0

    def stores(self, ask: Ask, stores: Mapping[int, Store | Standing], *, sizes: bool = True) -> set[int]:
        """Return the ids of the stores in `stores` in which a bad blob has changed in place.

        With `sizes`, also check blobs, such as layers, whose size differs from the size in a descriptor. Costs one stat per blob.
        Raises Exhausted, but never OSError.
        """
        bad = list(ask(_BAD.format("problem.id > :last"), {"last": self._problem}))
        self._problem = int(bad[-1][5]) if len(bad) == MOST else 0
        if not sizes:
            return _changed((_Suspect(*row[:5]) for row in bad), stores)
        after = "(store_id, content_id) > (:store_id, :content_id)"
        begin = {"store_id": self._blob[0], "content_id": self._blob[1]}
        other = list(ask(_OTHER_SIZE.format(after), begin))
        last = next(iter(ask(_LAST.format(after), begin)), None)
        self._blob = (0, 0) if last is None else (int(last[0]), int(last[1]))
        return _changed((_Suspect(*row[:5]) for row in (*bad, *other)), stores)


def completed_of(
    ask: Ask,
    stores: Mapping[int, Store | Standing],
    *,
    sizes: bool,
    look: Callable[[], None] = lambda: None,
) -> set[int]:
    """Return the ids of the stores in `stores` in which a bad blob has changed in place.

    With `sizes`, also check blobs, such as layers, whose size differs from the size in a descriptor. All such blobs are checked, however
    many there are, at the cost of one stat per blob. `look` is called before each piece of work; exceptions from it are passed on. Raises
    Exhausted, but never OSError.
    """
    found: set[int] = set()
    if len(stores) > _MANY:
        asked: list[tuple[str, str, dict[str, object]]] = [("", "(store_id, content_id) > (:after_store, :after)", {})]
    else:
        of_store = " AND problem.store_id = :store_id", "store_id = :store_id AND content_id > :after"
        asked = [(*of_store, {"store_id": store_id}) for store_id in stores]
    for of_problems, of_blobs, values in asked:
        problem: object = 0
        while problem is not None:
            look()
            rows = list(ask(_BAD.format("problem.id > :last" + of_problems), {"last": problem, **values}))
            problem = rows[-1][5] if len(rows) == MOST else None
            found |= _changed((_Suspect(*row[:5]) for row in rows), stores)
        place: tuple[object, object] | None = (0, 0) if sizes else None
        while place is not None:
            look()
            begin = {"after": place[1], **(values or {"after_store": place[0]})}
            rows = list(ask(_OTHER_SIZE.format(of_blobs), begin))
            place = next(((row[0], row[1]) for row in ask(_LAST.format(of_blobs), begin)), None)
            found |= _changed((_Suspect(*row[:5]) for row in rows), stores)
    return found


def _changed(suspects: Iterable[_Suspect], stores: Mapping[int, Store | Standing]) -> set[int]:
    by_store: dict[int, list[_Suspect]] = {}
    for one in suspects:
        if one.store_id in stores:
            by_store.setdefault(one.store_id, []).append(one)
    return {store_id for store_id, some in by_store.items() if _has_changed(stores[store_id], some)}


def _has_changed(store: Store | Standing, suspects: Iterable[_Suspect]) -> bool:
    with BlobDirectories(store.opened, store.shared_blobs) as blobs:
        for one in suspects:
            found = blobs.stat(one.digest)
            if found is not None and (found.st_size, found.st_mtime_ns // 1_000_000) != (one.size, one.mtime):
                return True
            if found is not None and one.why == _DENIED and _may_open(blobs, one.digest):
                return True
    return False


def _may_open(blobs: BlobDirectories, digest: str) -> bool:
    """Return whether a blob that could not be opened before can be opened now. A change of permissions does not change its mtime."""
    try:
        opened = blobs.open(digest)
    except BlobProblem:
        return False
    if opened is None:
        return False
    os.close(opened.descriptor)
    return True
