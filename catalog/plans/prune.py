"""Which files could be removed from the stores, according to the catalog and to what is on the disk now.

The order of the checks matters. The catalog is read first, then each file is checked, and then whether the store is still as it
was indexed. So any change before the last check leaves the store unjudged. Rows of a store are yielded only after that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from catalog.db.kinds import AMBIGUOUS, OPAQUE, UNREAD
from catalog.engine.interface import Reader
from catalog.errors import UsageError
from catalog.layout.blobs import BlobDirectories, BlobProblem
from catalog.names.escape import shown
from catalog.names.paths import encode_path
from catalog.plans.files import BlobFiles, File, Inode
from catalog.plans.leftovers import Leftover, leftovers
from catalog.plans.needs import (
    LOST,
    UNREFERENCED,
    Blob,
    PoolNeeds,
    content_ids,
    digests_kept,
    needs_of_one,
    needs_of_pool,
    note_strangers,
    suspects,
    with_suspects,
)
from catalog.plans.pools import Outsiders, Pools
from catalog.plans.retention import Entry, Rules
from catalog.plans.stores import PlanStore, Unjudged, elsewhere, judge, judge_as_indexed, plan_stores
from catalog.plans.unlisted import Unclear, Unlisted, looks_like_json, newly_kept, read_unlisted

LEFTOVER = "leftover"
WRITER_MS = 600_000
"""A leftover that changed in the last ten minutes belongs to a writer that is still at work."""

_MANY = 500
"""For more stores than this, one statement over the whole catalog takes less time than one for each store."""
_HAS_UNREACHED = "SELECT DISTINCT store_id FROM store_blob WHERE reach < 1"


class Planned(NamedTuple):
    """A file that could be removed. `path` is the path to open, `age` is in seconds since it changed, `size` in bytes.

    `entry` is the digest of a given-up entry that still needs the file, and `name` is its name.
    `inode` identifies the file, and `links` is the number of its hard links.
    """

    store: str
    path: str
    digest: str | None
    size: int
    age: int
    why: str
    name: str | None
    entry: str | None
    inode: Inode
    links: int


class GivenUp(NamedTuple):
    """An entry that the rules give up."""

    store: str
    path: str
    name: str | None
    ref_name: str | None
    digest: str
    why: str


class _Candidate(NamedTuple):
    store: PlanStore
    digest: str
    blob: Blob | None
    file: File


class Prune:
    """A plan for the stores `selected` (None for all of this host) at the time `now` in milliseconds since 1970.

    `rows` yields the plan; `unjudged`, `given_up` and `keeping`, the globs of `--keep` that match something, are complete once it
    is exhausted.
    """

    def __init__(self, reader: Reader, selected: frozenset[int] | None, rules: Rules, now: int) -> None:
        """Raises UsageError for a store of another host."""
        self._reader = reader
        self._rules = rules
        self._now = now
        self._stores = plan_stores(reader)
        foreign = sorted((selected or frozenset()) - self._stores.keys())
        if foreign:
            host = reader.host_of(foreign[0])
            raise UsageError(
                f"a store of another host ({shown(host or '?')}) cannot be checked from here: run 'ocicat plan prune' there"
            )
        chosen = self._stores.keys() if selected is None else selected
        self._selected = sorted((self._stores[each] for each in chosen), key=lambda store: store.name)
        self.unjudged: list[Unjudged] = []
        self.given_up: list[GivenUp] = []
        self.keeping: set[str] = set()
        self._suspicious: set[int] | None = None

    def rows(self) -> Iterator[Planned]:
        """Yield the rows, store by store."""
        pools = Pools(self._stores)
        outsiders = Outsiders(self._reader)
        unreached = {row[0] for row in self._reader.select(_HAS_UNREACHED, {})}
        selected = {store.id for store in self._selected}
        if len(selected) > _MANY:
            self._suspicious = with_suspects(self._reader)
        done: set[int] = set()
        for store in self._selected:
            if store.id in done:
                continue
            pool = pools.of(store.id)
            done |= pool
            members = [self._stores[each] for each in sorted(pool)]
            asked = sorted((each for each in members if each.id in selected), key=lambda each: each.name)
            rows, given = self._plan(members, asked, has_unreached=not unreached.isdisjoint(pool))
            if rows:
                reason = outsiders.user_of(members, pools.directories(pool))
                if reason is not None:
                    self.unjudged += [Unjudged(each.name, reason) for each in asked]
                    continue
            self.given_up += given
            yield from rows

    def _plan(
        self, members: Sequence[PlanStore], asked: Sequence[PlanStore], *, has_unreached: bool
    ) -> tuple[list[Planned], list[GivenUp]]:
        """Return the rows of the `asked` stores of a pool, and the entries given up there. Both are empty if the pool cannot be judged."""
        if self._are_unjudged(members, asked, on_disk=False):
            return [], []
        shared = [store for store in members if store.standing.shared_blobs is not None]
        left = {store.id: list(leftovers(store.opened)) for store in members}
        busy = [store.name for store in members if any(self._is_new(each) for each in left[store.id])]
        if busy:
            if not self._are_unjudged(members, asked):
                self.unjudged += [
                    Unjudged(each.name, f"a program is still writing to {shown(busy[0])}: plan again when it has ended")
                    for each in asked
                ]
            return [], []
        rows: list[Planned] = []
        given: list[GivenUp] = []
        if has_unreached or shared or len(members) > 1 or self._rules.give_up:
            try:
                rows, given = self._blobs(members, asked, shared)
            except Unclear as error:
                if not self._are_unjudged(members, asked):
                    self.unjudged += [Unjudged(each.name, str(error)) for each in asked]
                return [], []
        for store in asked:
            rows += self._leftovers(store, left[store.id])
        if self._are_unjudged(members, asked):  # last, after everything was read
            return [], []
        return sorted(rows, key=lambda row: (row.store, row.path)), given

    def _are_unjudged(self, members: Sequence[PlanStore], asked: Sequence[PlanStore], *, on_disk: bool = True) -> bool:
        """Return whether a store of the pool cannot be judged, and record why. In that case, no store of the pool can be judged.

        Without `on_disk`, only the catalog is consulted.
        """
        found = {}
        for store in members:
            reason = judge(self._reader, store) if on_disk else judge_as_indexed(store)
            if reason is not None:
                found[store.id] = reason
        if not found:
            return False
        first = next(iter(found.values()))
        for store in asked:
            own = found.get(store.id)
            words = f"it shares a directory of blobs with {shown(first.store)}: {first.reason}"
            self.unjudged.append(own or Unjudged(store.name, words, first.is_pending))
        return True

    def _is_new(self, leftover: Leftover) -> bool:
        return self._now - leftover.changed_ms < min(WRITER_MS, self._rules.age)

    def _leftovers(self, store: PlanStore, found: Sequence[Leftover]) -> Iterator[Planned]:
        for each in found:
            if self._now - each.changed_ms >= self._rules.age:
                yield self._row(store, each.path, None, each.found, each.changed_ms, LEFTOVER, None)

    def _blobs(
        self, members: Sequence[PlanStore], asked: Sequence[PlanStore], shared: Sequence[PlanStore]
    ) -> tuple[list[Planned], list[GivenUp]]:
        """Return the rows of blobs. Raises Unclear."""
        others = self._others(members, shared)
        # An absent manifest of a sparse store may be known from another store, and then so is what it needs.
        if len(members) == 1 and not shared and not self._rules.give_up and not members[0].is_sparse:
            needs = needs_of_one(self._reader, members[0])
        else:
            ids = [store.id for store in asked]
            needs = needs_of_pool(self._reader, members, others, ids, self._rules, self._now)
            self.keeping |= needs.keeping
        # The other stores of the pool are checked too, because new files there may need old ones here.
        ordered = [*asked, *(store for store in members if store not in asked)]
        candidates = [each for store in ordered for each in self._candidates(store, needs)]
        unlisted: dict[str, Unlisted] = {}
        if shared:
            strangers = list(self._strangers(ordered, needs))
            note_strangers(self._reader, needs, [each.digest for each in strangers])
            for store in ordered:
                own = [each.digest for each in strangers if each.store is store]
                unlisted |= read_unlisted(store, own) if own else {}
            candidates += strangers
        self._keep_new(candidates, needs)
        if candidates:
            self._keep_for_suspects(members, needs)
        kept = digests_kept(needs)
        self._keep_for_unlisted(candidates, needs, unlisted, kept)
        names = {store.id: store for store in asked}
        rows: list[Planned] = []
        seen: set[tuple[Inode, str]] = set()
        for each in candidates:
            place = each.file.directory, each.digest  # Two stores may share one directory.
            if (
                each.store.id not in names
                or place in seen
                or each.digest in kept
                or self._now - each.file.changed_ms < self._rules.age
            ):
                continue
            if each.blob is None:
                why, owner = LOST if each.digest in unlisted else UNREFERENCED, None
            else:
                why, owner = needs.why(each.blob), needs.owners.get(each.blob.content_id)
                if each.blob.content_id in needs.kept or (owner is None and each.blob.reach != 0):
                    continue
            entry = None if owner is None else owner[0]
            file = each.file
            seen.add(place)
            rows.append(self._row(each.store, file.path, each.digest, file.found, file.changed_ms, why, entry))
        given = [
            GivenUp(
                names[entry.store_id].name,
                names[entry.store_id].standing.path,
                entry.name,
                entry.image_name or entry.ref_name,
                entry.digest,
                why,
            )
            for entry, why in needs.given_up
        ]
        return rows, given

    def _others(self, members: Sequence[PlanStore], shared: Sequence[PlanStore]) -> list[int]:
        """Return the stores of other hosts that use these shared directories. Raises Unclear if one cannot be judged."""
        own = {store.id for store in members}
        others: list[int] = []
        for path in {encode_path(str(store.standing.shared_blobs))[0] for store in shared}:
            for store_id, unjudged in elsewhere(self._reader, path):
                if store_id not in own and store_id not in self._stores:
                    if unjudged is not None:
                        raise Unclear(
                            f"{shown(unjudged.store)}, a store of another host, shares its blobs: {unjudged.reason}"
                        )
                    others.append(store_id)
        return others

    def _candidates(self, store: PlanStore, needs: PoolNeeds) -> Iterator[_Candidate]:
        """Yield the files of a store's blobs that may be removed according to the catalog, each once. Raises Unclear."""
        with BlobFiles(store.opened, store.standing.shared_blobs) as files:
            for blob in needs.blobs[store.id]:
                if blob.content_id in needs.kept:
                    continue
                for file in files.find(blob.digest):
                    if _is_as_known(file, blob):
                        yield _Candidate(store, blob.digest, blob, file)
                        continue
                    if blob.is_manifest:
                        needs.keep([blob.content_id])
                    elif blob.kind == UNREAD and _may_be_a_manifest(store, blob.digest):
                        raise Unclear(
                            f"{shown(blob.digest)} has changed since it was indexed: run 'ocicat index --full'"
                        )

    def _strangers(self, stores: Sequence[PlanStore], needs: PoolNeeds) -> Iterator[_Candidate]:
        """Yield the files in the shared directories that no store of the pool knows. Raises Unclear."""
        known = content_ids(needs)
        seen: set[Inode] = set()
        for store in stores:
            if store.standing.shared_blobs is None:
                continue
            new: set[Inode] = set()
            with BlobFiles(store.opened, store.standing.shared_blobs) as files:
                try:
                    for digest, file in files.shared():
                        new.add(file.directory)
                        if digest not in known and file.directory not in seen:
                            yield _Candidate(store, digest, None, file)
                except OSError as error:
                    where = shown(store.standing.shared_blobs)
                    raise Unclear(f"{where} cannot be listed: {error.strerror or error}") from None
            seen |= new

    def _keep_new(self, candidates: Sequence[_Candidate], needs: PoolNeeds) -> None:
        """Keep the manifests that are too new to remove, and what they need: a copy may be about to list them. Raises Unclear."""
        new = [
            each.blob
            for each in candidates
            if each.blob is not None and self._now - each.file.changed_ms < self._rules.age
        ]
        for blob in new:
            if blob.kind in (OPAQUE, AMBIGUOUS) or blob.flaws is not None:
                raise Unclear(f"{shown(blob.digest)} is new, and what it needs is unknown")
        manifests = [blob.content_id for blob in new if blob.is_manifest]
        if manifests:
            needs.keep(manifests)

    def _keep_for_suspects(self, members: Sequence[PlanStore], needs: PoolNeeds) -> None:
        """Keep what is needed by manifests to which a descriptor gives another type, such as a layer's. Raises Unclear."""
        known = content_ids(needs)
        for store in members:
            if self._suspicious is not None and store.id not in self._suspicious:
                continue
            for manifest in read_unlisted(store, suspects(self._reader, store), others_matter=False).values():
                needs.keep([known[digest] for digest in manifest.needs if digest in known])

    def _keep_for_unlisted(
        self, candidates: Sequence[_Candidate], needs: PoolNeeds, unlisted: dict[str, Unlisted], kept: set[str]
    ) -> None:
        """Keep what unknown manifests need, if their subject is kept or they are too new to remove."""
        if not unlisted:
            return
        files: dict[str, list[File]] = {}
        for each in candidates:
            files.setdefault(each.digest, []).append(each.file)
        known = content_ids(needs)
        newest = self._now - self._rules.age
        while added := newly_kept(unlisted, files, kept, newest):
            needs.keep([known[digest] for digest in added if digest in known])
            kept |= digests_kept(needs)

    def _row(
        self,
        store: PlanStore,
        path: str,
        digest: str | None,
        found: os.stat_result,
        changed_ms: int,
        why: str,
        entry: Entry | None,
    ) -> Planned:
        return Planned(
            store.name,
            path,
            digest,
            found.st_size,
            max(0, self._now - changed_ms) // 1000,
            why,
            None if entry is None else entry.name,
            None if entry is None else entry.digest,
            (found.st_dev, found.st_ino),
            found.st_nlink,
        )


def _is_as_known(file: File, blob: Blob) -> bool:
    found = file.found
    return found.st_size == blob.size and found.st_mtime_ns // 1_000_000 == blob.mtime


def _may_be_a_manifest(store: PlanStore, digest: str) -> bool:
    try:
        with BlobDirectories(store.opened, store.standing.shared_blobs) as blobs:
            return looks_like_json(blobs.beginning(digest, 64))
    except BlobProblem:
        return True
