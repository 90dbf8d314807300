"""The stores of this host for a plan, and whether each can be judged now.

The catalog says what a store held when it was indexed. Because a plan is meant to be carried out, the disk is checked once more: a
store that has changed since then is unjudged until it is indexed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from catalog.engine.interface import Reader
from catalog.ingest.store_state import Standing, differs, standing
from catalog.layout.blobs import BlobDirectories
from catalog.layout.blobs_identity import blobs_identity
from catalog.layout.index import IndexProblem, stat_index
from catalog.names.escape import shown
from catalog.names.sizes import counted

_MORE = "SELECT id, doubt, doubt_reason, first_at, sparse FROM store"
_DIGESTS = (
    "SELECT content.digest FROM store_blob JOIN content ON content.id = store_blob.content_id"
    " WHERE store_blob.store_id = :store_id AND NOT store_blob.embedded"
)
_ELSEWHERE = (
    "SELECT id, name, state, content_pending, doubt, doubt_reason FROM store WHERE shared_blobs = :shared_blobs"
)
_INDEX_AGAIN = "run 'ocicat index'"


class PlanStore(NamedTuple):
    """A store of this host. `first_at` is when its index.json was first read, in milliseconds since 1970.

    `is_sparse` is true if manifests may be absent.
    """

    id: int
    name: str
    standing: Standing
    doubt: str | None
    doubt_reason: str | None
    first_at: int | None
    is_sparse: bool

    @property
    def opened(self) -> str:
        """The path with which to open its directory: see catalog.layout.beneath."""
        return self.standing.opened


class Unjudged(NamedTuple):
    """A store for which nothing is planned, and why. `is_pending` is true if only its content has not been read yet."""

    store: str
    reason: str
    is_pending: bool = False


def plan_stores(reader: Reader) -> dict[int, PlanStore]:
    """Return the stores of this host by id."""
    more = {row[0]: row[1:] for row in reader.select(_MORE, {})}
    found = {}
    for store_id, name, *row in reader.rows("STORE_FILES", {}):
        if store_id in more:  # A store that is not in it was added between the two statements.
            found[store_id] = PlanStore(store_id, name, standing(*row), *more[store_id])
    return found


def judge(reader: Reader, store: PlanStore) -> Unjudged | None:
    """Return why the store cannot be judged, or None if it can be. Call this after everything else was read and checked."""
    known = store.standing
    if (found := judge_as_indexed(store)) is not None:
        return found
    try:
        if differs(known, stat_index(known.opened)):
            return Unjudged(store.name, f"index.json has changed since it was indexed: {_INDEX_AGAIN}")
    except IndexProblem as problem:
        return Unjudged(store.name, f"{problem.reason}: {_INDEX_AGAIN}")
    if blobs_identity(known.opened, known.shared_blobs) != known.blobs_identity:
        # It may be the shared directory that changed, which is listed anyway, or nothing, because file times are coarse.
        reason = _unknown_blobs(reader, store)
        return None if reason is None else Unjudged(store.name, reason)
    return None


def judge_as_indexed(store: PlanStore) -> Unjudged | None:
    """Return why the store cannot be judged according to the catalog alone, or None."""
    known = store.standing
    if known.state not in ("ok", "empty"):
        return Unjudged(store.name, known.error or f"the store is {known.state}")
    if known.content_pending:
        return Unjudged(store.name, f"its manifests have not all been read: {_INDEX_AGAIN}", is_pending=True)
    if store.doubt is not None:
        return Unjudged(store.name, f"{shown(store.doubt)} {store.doubt_reason}")
    return None


def _unknown_blobs(reader: Reader, store: PlanStore) -> str | None:
    """Return what is wrong if the store's own directory has blobs that the catalog does not know, else None."""
    with BlobDirectories(store.opened) as blobs:
        there = {digest for digest, *_ in blobs.list()}
        for path, reason in blobs.unlisted.items():
            return f"{shown(path)} cannot be listed: {reason}"
    new = there.difference(row[0] for row in reader.select(_DIGESTS, {"store_id": store.id}))
    return (
        f"{counted(len(new), 'blob has', 'blobs have')} been written since it was indexed: {_INDEX_AGAIN}"
        if new
        else None
    )


def elsewhere(reader: Reader, shared_blobs: str) -> Iterator[tuple[int, Unjudged | None]]:
    """Yield each store of any host whose shared directory has this path in the catalog, and why it cannot be judged, or None.

    Only the catalog is consulted, because the disk of another host cannot be read.
    """
    for store_id, name, state, pending, doubt, reason in reader.select(_ELSEWHERE, {"shared_blobs": shared_blobs}):
        found = None
        if state not in ("ok", "empty"):
            found = Unjudged(name, f"the store is {state}")
        elif pending:
            found = Unjudged(name, "its manifests have not all been read", is_pending=True)
        elif doubt is not None:
            found = Unjudged(name, f"{shown(doubt)} {reason}")
        yield store_id, found
