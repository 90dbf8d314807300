"""Blobs that were not good when they were last looked at, and have changed in place since.

A writer that completes a file where it lies (`cp`, `rsync --inplace`) changes no directory, so that nothing tells of it: the file
is to be looked at. That is done for few: blobs that could not be read, or are not what their digest says, and those of another
size than what points to them claims.
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
"""So many blobs are looked at in one go at most."""
MOST_COMPARED = 20_000
"""The sizes of so many blobs are compared with what is claimed in one go at most."""

_DENIED = os.strerror(errno.EACCES)
_MANY = 100
"""Stores; more of them are asked for together."""

Ask = Callable[[str, Mapping[str, object]], Iterable[Any]]
"""Returns the rows of a statement with `:name` for its parameters."""

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
    f" JOIN content ON content.id = held.content_id WHERE NOT held.embedded AND (content.size IS NULL OR content.size <> held.size) LIMIT {MOST}"
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
    """Finds them, from where it ended the last time on, so that all have their turn where there are many."""

    def __init__(self) -> None:
        self._problem = 0
        self._blob = 0, 0

    def stores(self, ask: Ask, stores: Mapping[int, Store | Standing], *, sizes: bool = True) -> set[int]:
        """The ids of those of `stores` in which such a blob has changed; with `sizes`, layers and the like are looked at too.

        A stat for each blob; never raises OSError.
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


def completed_of(ask: Ask, stores: Mapping[int, Store | Standing], *, sizes: bool) -> set[int]:
    """The ids of those of `stores` in which such a blob has changed; with `sizes`, layers and the like are looked at too.

    A stat for each, and for no more than MOST in a store, or in all where there are many; never raises OSError.
    """
    if len(stores) > _MANY:
        return Completed().stores(ask, stores, sizes=sizes)
    found: set[int] = set()
    for store_id in stores:
        asked = {"store_id": store_id}
        rows = list(ask(_BAD.format("problem.store_id = :store_id"), asked))
        if sizes:
            rows += ask(_OTHER_SIZE.format("store_id = :store_id"), asked)
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
    """Whether a blob that we had no right to read can be opened now: that changes none of its times."""
    try:
        opened = blobs.open(digest)
    except BlobProblem:
        return False
    if opened is None:
        return False
    os.close(opened[0])
    return True
