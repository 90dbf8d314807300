"""The blobs that the stores of one pool (pools.py) need: with all entries, and without those that the rules of retention.py give up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from catalog.db.kinds import CHILD, INDEX, MANIFEST, SUBJECT, UNREACHED
from catalog.engine.interface import Reader
from catalog.names.media_types import MANIFESTS
from catalog.plans.retention import Entry, Rules, entries_of, judge_entries
from catalog.plans.stores import PlanStore
from catalog.plans.walk import AT_ONCE, Graph, Referrers, marks, referrers_of

UNREFERENCED, LOST = "unreferenced", "lost-manifest"
_DIGESTS_AT_ONCE = 500

_BLOBS = (
    "SELECT store_blob.content_id, content.digest, content.kind, store_blob.size, store_blob.mtime, store_blob.reach,"
    " manifest.flaws FROM store_blob JOIN content ON content.id = store_blob.content_id"
    " LEFT JOIN manifest ON manifest.content_id = store_blob.content_id"
    " WHERE store_blob.store_id = :store_id AND NOT store_blob.embedded"
)
_UNREACHED = f"{_BLOBS} AND store_blob.reach = {UNREACHED}"
_ROOTS = "SELECT DISTINCT content_id FROM entry WHERE store_id = :store_id"
_SUBJECTS_IN_USE = (
    "SELECT DISTINCT edge.child_id FROM edge JOIN store_blob ON store_blob.content_id = edge.parent_id"
    f" WHERE edge.child_id IN ({{0}}) AND edge.role = {SUBJECT} AND store_blob.store_id = :store_id AND store_blob.reach > {UNREACHED}"
)
_ABOUT = f"SELECT child_id, parent_id FROM edge WHERE parent_id IN ({{0}}) AND role = {SUBJECT}"


_MISCALLED = (
    f"edge.role <> {SUBJECT} AND (edge.role = {CHILD} AND media_type.is_leaf"
    f" OR edge.role <> {CHILD} AND media_type.name IN ({', '.join(repr(each) for each in sorted(MANIFESTS))}))"
)
"""The condition that an index gives a child the type of a layer or the like, or a manifest gives a layer or config that of a manifest."""
_SUSPECTS = (
    "SELECT content.digest FROM entry JOIN media_type ON media_type.id = entry.media_type_id"
    " JOIN content ON content.id = entry.content_id"
    " JOIN store_blob ON store_blob.store_id = entry.store_id AND store_blob.content_id = entry.content_id"
    " WHERE entry.store_id = :store_id AND media_type.is_leaf AND NOT store_blob.embedded"
    " UNION SELECT content.digest FROM store_blob JOIN edge ON edge.parent_id = store_blob.content_id"
    " JOIN media_type ON media_type.id = edge.media_type_id JOIN content ON content.id = edge.child_id"
    " JOIN store_blob AS held ON held.store_id = store_blob.store_id AND held.content_id = edge.child_id"
    f" WHERE store_blob.store_id = :store_id AND NOT held.embedded AND {_MISCALLED}"
)
_HAS_SUSPECTS = (
    "SELECT DISTINCT entry.store_id FROM entry WHERE entry.media_type_id IN (SELECT id FROM media_type WHERE is_leaf)",
    (
        "SELECT DISTINCT store_blob.store_id FROM edge JOIN media_type ON media_type.id = edge.media_type_id"
        f" JOIN store_blob ON store_blob.content_id = edge.parent_id WHERE {_MISCALLED}"
    ),
)


class Blob(NamedTuple):
    """A blob of a store according to the catalog: its size in bytes, and the mtime of its file in milliseconds since 1970."""

    content_id: int
    digest: str
    kind: int
    size: int
    mtime: int | None
    reach: int | None
    flaws: str | None

    @property
    def is_manifest(self) -> bool:
        """Whether the blob is a manifest or image index."""
        return self.kind in (MANIFEST, INDEX)


class PoolNeeds(NamedTuple):
    """What may be removed from each store of a pool.

    `blobs` are keyed by store. `owners` maps a content to the given-up entry that still needs it, and why that entry is given up.
    `kept` has the contents that are known to be needed so far; `referrers` and `graph` are used to find more of them.
    `strangers` maps the digests of files in a shared directory that no store of the pool has to their content ids. `given_up` has the
    entries that the rules give up, with the reason, and `keeping` the globs of `--keep` that match something.
    """

    blobs: dict[int, list[Blob]]
    owners: dict[int, tuple[Entry, str]]
    given_up: list[tuple[Entry, str]]
    kept: set[int]
    graph: Graph
    referrers: Referrers
    strangers: dict[str, int]
    keeping: frozenset[str] = frozenset()

    def why(self, blob: Blob) -> str:
        """Return why a blob may be removed."""
        owner = self.owners.get(blob.content_id)
        return owner[1] if owner is not None else LOST if blob.is_manifest else UNREFERENCED

    def keep(self, contents: Iterable[int]) -> None:
        """Keep these contents, all that they need, and their subjects."""
        self.kept.update(self.graph.reach(contents, self.referrers, subjects=True))


def needs_of_one(reader: Reader, store: PlanStore) -> PoolNeeds:
    """Return what may be removed from a store that shares nothing, according to the catalog."""
    blobs = [Blob(*row) for row in reader.select(_UNREACHED, {"store_id": store.id})]
    graph = Graph(reader)
    referrers: dict[int, set[int]] = {}
    in_use: set[int] = set()
    for some in _chunks([blob.content_id for blob in blobs if blob.is_manifest]):
        text, bound = marks(some)
        in_use.update(row[0] for row in reader.select(_SUBJECTS_IN_USE.format(text), {"store_id": store.id, **bound}))
        for subject, referrer in reader.select(_ABOUT.format(text), bound):
            referrers.setdefault(subject, set()).add(referrer)
    needs = PoolNeeds({store.id: blobs}, {}, [], set(), graph, referrers, {})
    if in_use:
        needs.keep(in_use)
    return needs


def needs_of_pool(
    reader: Reader, pool: Sequence[PlanStore], others: Iterable[int], asked: Iterable[int], rules: Rules, now: int
) -> PoolNeeds:
    """Return what may be removed from the stores `asked` of a pool. The rules apply only to entries of these stores.

    `others` are stores of other hosts, and everything that they need is kept.
    """
    asked = frozenset(asked)
    graph = Graph(reader)
    ids = [store.id for store in pool] + list(others)
    referrers = referrers_of(reader, ids)
    about = set[int]().union(*referrers.values())
    roots: set[int] = set()
    given: list[tuple[Entry, str]] = []
    followers: list[Entry] = []
    held: set[int] = set()
    keeping: set[str] = set()
    stores = {store.id: store for store in pool}
    for store_id in ids:
        if store_id not in asked or not rules.give_up:
            roots.update(row[0] for row in reader.select(_ROOTS, {"store_id": store_id}))
            continue
        entries = entries_of(reader, store_id)
        own = [entry for entry in entries if entry.content_id not in about]
        judged = judge_entries(reader, stores[store_id], own, rules, now)
        roots.update(entry.content_id for entry in own if entry.id not in judged.given_up)
        given += [(entry, judged.given_up[entry.id]) for entry in own if entry.id in judged.given_up]
        following = [entry for entry in entries if entry.content_id in about]
        followers += following
        judged_too = judge_entries(reader, stores[store_id], following, rules, now)
        held |= judged_too.held
        keeping |= judged.keeping | judged_too.keeping
    given = _without_held(graph, given, followers, held)
    going = graph.reach({entry.content_id for entry, _ in given}, referrers, subjects=False)
    roots |= {entry.content_id for entry in followers if entry.id in held or entry.content_id not in going}
    kept = graph.reach(roots, referrers, subjects=True)
    owners = _owners(graph, referrers, given)
    given += [
        (entry, owners[entry.content_id][1])
        for entry in followers
        if entry.content_id not in kept and entry.content_id in owners
    ]
    owners |= {entry.content_id: (entry, why) for entry, why in reversed(given)}
    blobs = {store_id: [Blob(*row) for row in reader.select(_BLOBS, {"store_id": store_id})] for store_id in ids}
    return PoolNeeds(blobs, owners, given, kept, graph, referrers, {}, frozenset(keeping))


def _without_held(
    graph: Graph, given: list[tuple[Entry, str]], followers: Iterable[Entry], held: set[int]
) -> list[tuple[Entry, str]]:
    """Return the given-up entries, without the subjects of referrers that `--keep` protects."""
    holding = [entry.content_id for entry in followers if entry.id in held]
    if not holding:
        return given
    stay = graph.reach(holding, {}, subjects=True)
    return [(entry, why) for entry, why in given if entry.content_id not in stay]


def _owners(graph: Graph, referrers: Referrers, given: Sequence[tuple[Entry, str]]) -> dict[int, tuple[Entry, str]]:
    """Return, for each content below the given-up entries, the first such entry by name that needs it."""
    ordered = sorted(given, key=lambda each: (each[0].name is None, each[0].name or each[0].digest))
    owners: dict[int, tuple[Entry, str]] = {}
    for each in ordered:
        owners.setdefault(each[0].content_id, each)
    for each in ordered:
        todo = [each[0].content_id]
        while todo:
            one = todo.pop()
            for below in (*graph.below(one), *referrers.get(one, ())):
                if below not in owners:
                    owners[below] = each
                    todo.append(below)
    return owners


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for at in range(0, len(ids), AT_ONCE):
        yield ids[at : at + AT_ONCE]


def suspects(reader: Reader, store: PlanStore) -> list[str]:
    """Return the digests of blobs in the store that may be manifests, although the catalog has not read them as manifests.

    An entry or an index gives them the media type of a layer or the like, or a manifest lists manifests as its layers.
    """
    return sorted(row[0] for row in reader.select(_SUSPECTS, {"store_id": store.id}))


def with_suspects(reader: Reader) -> set[int]:
    """Return the ids of the stores for which `suspects` may find something. This reads all entries and manifests."""
    return {row[0] for statement in _HAS_SUSPECTS for row in reader.select(statement, {})}


def digests_kept(needs: PoolNeeds) -> set[str]:
    """Return the digests of the blobs of the pool that are needed."""
    return {digest for digest, content_id in content_ids(needs).items() if content_id in needs.kept}


def content_ids(needs: PoolNeeds) -> dict[str, int]:
    """Return the content ids of the blobs of the pool by digest."""
    return needs.strangers | {blob.digest: blob.content_id for blobs in needs.blobs.values() for blob in blobs}


def note_strangers(reader: Reader, needs: PoolNeeds, digests: Sequence[str]) -> None:
    """Add to `needs.strangers` the digests that the catalog knows from any store."""
    for at in range(0, len(digests), _DIGESTS_AT_ONCE):
        some = {f"d{number}": digest for number, digest in enumerate(digests[at : at + _DIGESTS_AT_ONCE])}
        digest_marks = ", ".join(f":{mark}" for mark in some)
        needs.strangers.update(reader.select(f"SELECT digest, id FROM content WHERE digest IN ({digest_marks})", some))
