"""Find the blobs of a store that are in use, and whether that is certain: the columns `store_blob.reach` and `store.doubt`.

People delete blobs that nothing reaches, so an unread manifest must never make a blob look unused. The walk starts at the entries of
the store and follows the manifests and indexes in it. Manifests that no entry lists but whose subject is in use count too
(cosign 3 saves signatures in this way), with everything that they point to. Every manifest on the way must be in the store, match
its digest as far as is known, and be understood. A manifest that fails one of these conditions puts the store in doubt, and no blob
of a store in doubt is reported as unused. Any blob that could not be read puts the store in doubt as well, because it may be a
manifest whose subject is in use. A blob with the media type of a layer, a config or the like is not a manifest, so the walk ends
there without a doubt.

In a sparse store, absent manifests are expected and do not put it in doubt.

The walk is linear in the number of edges below the store's entries. Rows are written only for blobs whose reach changes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import NamedTuple

from catalog.db.schema import (
    AMBIGUOUS,
    CHILD,
    CONFIG,
    INDEX,
    LAYER,
    LISTED,
    MANIFEST,
    OPAQUE,
    OTHER,
    PART,
    REFERRING,
    SUBJECT,
    UNREACHED,
    UNREAD,
    UNUSABLE,
)
from catalog.ingest.parameters import chunks, marks
from catalog.ingest.rows import Row, Rows
from catalog.names.sizes import in_bytes

AT_ONCE = 10_000
"""The most ids in one statement, so that a store of usual size needs as few statements as a small one."""
_LAYERS_AT_ONCE = 50_000
"""One statement reads the edges of manifests with about this many layers in all."""
_INDEX_LAYERS = 10
"""An index counts as a manifest with this many layers, because the number of its children is not stored."""

Ask = Callable[[str, Sequence[object]], list[Row]]
"""A function that returns the rows of a statement, given its parameters."""

_ENTRIES = (
    "SELECT DISTINCT entry.content_id, media_type.is_leaf FROM entry"
    " JOIN media_type ON media_type.id = entry.media_type_id WHERE entry.store_id = ?"
)
_BELOW = (
    "SELECT DISTINCT edge.child_id, edge.role, media_type.is_leaf FROM edge"
    " JOIN media_type ON media_type.id = edge.media_type_id"
    f" WHERE edge.parent_id IN (%s) AND edge.role IN ({CHILD}, {CONFIG}, {LAYER})"
)
_NODES = (
    "SELECT content.id, manifest.layers, content.digest, content.kind, content.size, manifest.flaws,"
    " store_blob.size, store_blob.is_good, store_blob.looked FROM content"
    " LEFT JOIN manifest ON manifest.content_id = content.id"
    " LEFT JOIN store_blob ON store_blob.content_id = content.id AND store_blob.store_id = ?"
    " WHERE content.id IN (%s)"
)
_SUBJECTS = (
    "SELECT store_blob.content_id, edge.child_id FROM store_blob"
    f" JOIN edge ON edge.parent_id = store_blob.content_id AND edge.role = {SUBJECT} WHERE store_blob.store_id = ?"
)
_INDEX_PROBLEM = (
    "SELECT kind, detail FROM problem WHERE store_id = ? AND stage = 0 AND entry_id IS NULL"
    " AND kind IN ('bad-descriptor', 'not-an-index') ORDER BY id LIMIT 1"
)
_HELD = (
    f"SELECT store_blob.content_id, store_blob.reach, content.kind IN ({MANIFEST}, {INDEX}) FROM store_blob"
    " JOIN content ON content.id = store_blob.content_id WHERE store_blob.store_id = ?"
)
_SET = "UPDATE store_blob SET reach = ? WHERE store_id = ? AND content_id = ?"
_SET_ANEW = "UPDATE store_blob SET reach = ?, born = ? WHERE store_id = ? AND content_id = ?"
_STANDING = (
    "SELECT max(store.generation), count(store_blob.content_id), sum(store_blob.content_id),"
    " sum((store_blob.content_id % 65521) * (store_blob.content_id % 251)), sum(store_blob.size % 1000003),"
    " sum(content.kind * (store_blob.content_id % 65521)),"
    " sum(CASE WHEN store_blob.is_good THEN 1 WHEN NOT store_blob.is_good THEN 100000 ELSE 0 END),"
    " sum(CASE WHEN store_blob.looked THEN 1 ELSE 0 END)"
    " FROM store LEFT JOIN store_blob ON store_blob.store_id = store.id"
    " LEFT JOIN content ON content.id = store_blob.content_id WHERE store.id = ?"
)


class Doubt(NamedTuple):
    """The reason why the unused blobs of a store are not known, and the digest, directory or file that it is about."""

    subject: str
    reason: str


class Reach(NamedTuple):
    """How the blobs of a store are reached.

    `changed` are rows to change: the new value, the store id and the content id. `before` has, by content id, the old value and whether
    the blob is a manifest or index. `doubt` is the store's doubt, if any. `is_unlisted` is True if there are directories whose blobs
    are unknown.
    """

    store_id: int
    changed: list[tuple[int, int, int]]
    before: dict[int, tuple[int | None, bool]]
    doubt: Doubt | None
    is_unlisted: bool


def find_reach(
    ask: Ask, store_id: int, problems: Mapping[str, str], unlisted: Mapping[str, str], *, sparse: bool
) -> Generator[None, None, Reach]:
    """Return how each blob of a store is reached, and the store's doubt. Yields between statements.

    `problems` maps digests of blobs that could not be read to the reasons, and `unlisted` does so for directories that could not be
    listed.
    """
    walk = _Walk(ask, store_id, problems, sparse=sparse)
    yield from walk.down([row[0] for row in walk.entries if not row[1]], LISTED)
    yield from walk.referrers()
    yield
    held = ask(_HELD, (store_id,))
    changed = [
        (reach, store_id, content_id)
        for content_id, before, _ in held
        if (reach := walk.reach.get(content_id, UNREACHED)) != before
    ]
    doubts = [Doubt(path, reason) for path, reason in sorted(unlisted.items())]
    index_problem = ask(_INDEX_PROBLEM, (store_id,))
    if index_problem:
        kind, detail = index_problem[0]
        doubts.append(Doubt("index.json", f"has an unusable entry: {detail}" if kind == "bad-descriptor" else detail))
    if walk.doubt is not None:
        doubts.append(walk.doubt)
    # A blob that could not be read may be a manifest whose subject is in use, or may be repaired.
    doubts += [Doubt(*each) for each in sorted(problems.items())]
    yield
    before = {content_id: (reach, bool(is_manifest)) for content_id, reach, is_manifest in held}
    return Reach(store_id, changed, before, doubts[0] if doubts else None, bool(unlisted))


def write_reach(rows: Rows, found: Reach) -> None:
    """Set `store_blob.reach` and `store.doubt` to the values in `found`."""
    write_changes(rows, found, found.changed)
    wanted = (*(found.doubt or (None, None)), rows.flags[found.is_unlisted])
    store_id = found.store_id
    before = rows.cursor.execute("SELECT doubt, doubt_reason, unlisted FROM store WHERE id = ?", (store_id,)).fetchone()
    if before is not None and tuple(before) != wanted:
        rows.cursor.execute(
            "UPDATE store SET doubt = ?, doubt_reason = ?, unlisted = ? WHERE id = ?", (*wanted, store_id)
        )


def write_changes(rows: Rows, found: Reach, changed: Sequence[tuple[int, int, int]]) -> None:
    """Write `changed`, which are some of the rows in `found.changed`."""
    same: list[tuple[int, int, int]] = []
    anew: list[tuple[int, int, int]] = []
    for each in changed:
        before, _ = found.before[each[2]]
        (same if _answers(each[0]) == _answers(before) else anew).append(each)
    rows.moment.keep_blobs([(store_id, one) for _, store_id, one in anew if found.before[one][1]])
    for some in chunks(same, AT_ONCE):
        rows.pause()
        rows.cursor.executemany(_SET, some)
    for some in chunks(anew, AT_ONCE):
        rows.pause()
        rows.cursor.executemany(_SET_ANEW, [(reach, rows.born, store_id, one) for reach, store_id, one in some])


def standing(ask: Ask, store_id: int) -> Row:
    """Return values that differ if the entries or blobs of a store have changed. Costs one search of its rows, without a walk."""
    return tuple(ask(_STANDING, (store_id,))[0])


def _answers(reach: int | None) -> bool:
    """Return whether a query finds a manifest with this reach by its digest although no entry leads to it."""
    return reach is not None and reach < LISTED


class _Walk:
    """The walk from the entries of one store. `reach` has the blobs found to be in use, by content id."""

    def __init__(self, ask: Ask, store_id: int, problems: Mapping[str, str], *, sparse: bool) -> None:
        self._ask = ask
        self._store_id = store_id
        self._problems = problems
        self._sparse = sparse
        self._seen: set[int] = set()  # manifests that were followed
        self.entries = ask(_ENTRIES, (store_id,))
        self.reach: dict[int, int] = {row[0]: LISTED for row in self.entries}
        self.doubt: Doubt | None = None

    def down(self, ids: Iterable[int], reach: int) -> Generator[None, None, list[int]]:
        """Record everything below these manifests. Return the ids that were not known to be in use before."""
        new: list[int] = []
        todo = list(ids)
        while todo:
            level = [one for one in dict.fromkeys(todo) if one not in self._seen]
            todo = []
            self._seen.update(level)
            for some in chunks(level, AT_ONCE):
                yield
                rows = self._ask(_NODES % marks(some), (self._store_id, *some))
                leading = [(row[0], row[1]) for row in rows if self._leads_on(*row[2:])]
                for parents in _of_few_layers(leading):
                    yield
                    for child, role, is_leaf in self._ask(_BELOW % marks(parents), parents):
                        if child not in self.reach:
                            new.append(child)
                        as_what = min(reach, LISTED if role == CHILD else PART)
                        self.reach[child] = max(as_what, self.reach.get(child, UNREACHED))
                        if role == CHILD and not is_leaf:
                            todo.append(child)
        return new

    def referrers(self) -> Generator[None, None, None]:
        """Record the manifests whose subject is in use, with everything that they point to, then those that refer to them, and so on."""
        by_subject: dict[int, list[int]] = {}
        yield
        for referrer, subject in self._ask(_SUBJECTS, (self._store_id,)):
            by_subject.setdefault(subject, []).append(referrer)
        in_use = [subject for subject in by_subject if subject in self.reach]
        while in_use:
            about = [each for subject in in_use for each in by_subject.pop(subject, ())]
            new = [each for each in about if each not in self.reach]
            self.reach.update(dict.fromkeys(new, REFERRING))
            new += yield from self.down(new, REFERRING)
            in_use = [each for each in new if each in by_subject]

    def _leads_on(
        self,
        digest: str,
        kind: int,
        size: int | None,
        flaws: str | None,
        held: int | None,
        is_good: bool | None,
        looked: bool | None,
    ) -> bool:
        """Return whether to follow a manifest. Record a doubt if it may have children that are not known."""
        reason = self._problems.get(digest)
        if held is None and reason is None:
            if self._sparse:
                return False
            reason = "is not in the store, so its children are not known"
        elif reason is None and is_good is not None and not is_good:
            reason = "its bytes do not match its digest"
        elif reason is None and size is not None and held != size:
            reason = f"has {in_bytes(held or 0)} instead of {size}"
        elif reason is None:
            reason = _unclear(kind, flaws=flaws, looked=bool(looked))
        if reason is not None and (self.doubt is None or digest < self.doubt.subject):
            self.doubt = Doubt(digest, reason)
        return kind in (MANIFEST, INDEX) and held is not None


def _unclear(kind: int, *, flaws: str | None, looked: bool) -> str | None:
    """Return why the children of a good blob are not known, or None if they are known."""
    if kind == UNREAD:
        return None if looked else "was not read"
    if kind == OPAQUE:
        return "is of an unknown kind, and mentions other digests"
    if kind == AMBIGUOUS:
        return "is a manifest that contradicts itself"
    if kind in (MANIFEST, INDEX) and flaws is not None:
        return "some of its descriptors cannot be used"
    assert kind in (MANIFEST, INDEX, OTHER, UNUSABLE)
    return None


def _of_few_layers(manifests: Iterable[tuple[int, int | None]]) -> Iterable[list[int]]:
    """Yield the ids of manifests in groups. One statement reads the edges of a group. `manifests` are ids with numbers of layers."""
    some: list[int] = []
    count = 0
    for content_id, layers in manifests:
        if some and (count >= _LAYERS_AT_ONCE or len(some) >= AT_ONCE):
            yield some
            some, count = [], 0
        some.append(content_id)
        count += max(layers or 0, _INDEX_LAYERS)
    if some:
        yield some
