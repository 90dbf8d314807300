"""Which blobs of a store are in use, and whether that can be told: the columns `store_blob.reach` and `store.doubt`.

People delete blobs that nothing reaches, so an unread manifest must never make a blob look unused. The walk starts at the entries of
the store and follows the manifests and indexes in it. Manifests that no entry lists but whose subject is in use count too
(cosign 3 saves signatures like that), with everything that they point to. Every manifest on the way must be in the store, match
its digest as far as is known, and be understood. The first one that does not is the doubt of the store, and no blob
of a store in doubt is called unused. Any blob that could not be read is a doubt as well, because it may be a manifest whose
subject is in use. A blob that its media type calls a layer, a config or the like is not a manifest, so the walk ends there
without a doubt.

In a sparse store, absent manifests are expected, and no doubt.

The walk is linear in the number of edges below the store's entries. Rows are written only for blobs whose reach changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from catalog.ingest.rows import Rows, chunks, marks

AT_ONCE = 10_000
"""How many ids one statement takes, so that a store of usual size needs as few statements as a small one."""

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
    "SELECT content.id, content.digest, content.kind, content.size, manifest.flaws,"
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
_HELD = "SELECT content_id, reach FROM store_blob WHERE store_id = ?"
_SET = "UPDATE store_blob SET reach = ? WHERE store_id = ? AND content_id = ?"


class Doubt(NamedTuple):
    """Why it cannot be told what is unused in a store: a digest, directory or file, and the reason."""

    subject: str
    reason: str


def write_reach(
    rows: Rows, store_id: int, problems: Mapping[str, str], unlisted: Mapping[str, str], *, sparse: bool
) -> None:
    """Set what reaches each blob of a store, and the store's doubt.

    `problems` maps digests of blobs that could not be read to the reasons, and `unlisted` directories that could not be listed.
    """
    walk = _Walk(rows, store_id, problems, sparse=sparse)
    walk.down([row[0] for row in walk.entries if not row[1]], LISTED)
    walk.referrers()
    held = rows.cursor.execute(_HELD, (store_id,)).fetchall()
    changed = [
        (reach, store_id, content_id)
        for content_id, before in held
        if (reach := walk.reach.get(content_id, UNREACHED)) != before
    ]
    reach_before = dict(held)
    rows.moment.keep_blobs(
        [(store_id, one) for reach, _, one in changed if _answers(reach) != _answers(reach_before[one])], stay=True
    )
    for some in chunks(changed, AT_ONCE):
        rows.pause()
        rows.cursor.executemany(_SET, some)
    doubts = [Doubt(path, reason) for path, reason in sorted(unlisted.items())]
    index_problem = rows.cursor.execute(_INDEX_PROBLEM, (store_id,)).fetchone()
    if index_problem is not None:
        doubts.append(Doubt("index.json", index_problem[1]))
    if walk.doubt is not None:
        doubts.append(walk.doubt)
    # A blob that could not be read may be a manifest whose subject is in use, or may be repaired.
    doubts += [Doubt(*each) for each in sorted(problems.items())]
    doubt = doubts[0] if doubts else None
    found = (*(doubt or (None, None)), rows.flags[bool(unlisted)])
    before = rows.cursor.execute("SELECT doubt, doubt_reason, unlisted FROM store WHERE id = ?", (store_id,)).fetchone()
    if before is not None and tuple(before) != found:
        rows.cursor.execute(
            "UPDATE store SET doubt = ?, doubt_reason = ?, unlisted = ? WHERE id = ?", (*found, store_id)
        )


def _answers(reach: int | None) -> bool:
    """Return whether a manifest with this reach is found by its digest although no entry leads to it."""
    return reach is not None and reach < LISTED


class _Walk:
    """The walk from the entries of one store. `reach` is what was found to be in use, by content id."""

    def __init__(self, rows: Rows, store_id: int, problems: Mapping[str, str], *, sparse: bool) -> None:
        self._cursor = rows.cursor
        self._pause = rows.pause
        self._pause()
        self._store_id = store_id
        self._problems = problems
        self._sparse = sparse
        self._seen: set[int] = set()  # manifests that were followed
        self.entries = self._cursor.execute(_ENTRIES, (store_id,)).fetchall()
        self.reach: dict[int, int] = {row[0]: LISTED for row in self.entries}
        self.doubt: Doubt | None = None

    def down(self, ids: Iterable[int], reach: int) -> list[int]:
        """Record everything below these manifests; return the ids that were not known to be in use before."""
        new: list[int] = []
        todo = list(ids)
        while todo:
            level = [one for one in dict.fromkeys(todo) if one not in self._seen]
            todo = []
            self._seen.update(level)
            for some in chunks(level, AT_ONCE):
                self._pause()
                rows = self._cursor.execute(_NODES % marks(some), (self._store_id, *some)).fetchall()
                leading = [row[0] for row in rows if self._leads_on(*row[1:])]
                for parents in chunks(leading, AT_ONCE):
                    self._pause()
                    for child, role, is_leaf in self._cursor.execute(
                        _BELOW % marks(parents), tuple(parents)
                    ).fetchall():
                        if child not in self.reach:
                            new.append(child)
                        as_what = min(reach, LISTED if role == CHILD else PART)
                        self.reach[child] = max(as_what, self.reach.get(child, UNREACHED))
                        if role == CHILD and not is_leaf:
                            todo.append(child)
        return new

    def referrers(self) -> None:
        """Record the manifests of the store whose subject is in use, then those that refer to them, and so on, and what they point to."""
        by_subject: dict[int, list[int]] = {}
        for referrer, subject in self._cursor.execute(_SUBJECTS, (self._store_id,)):
            by_subject.setdefault(subject, []).append(referrer)
        in_use = [subject for subject in by_subject if subject in self.reach]
        while in_use:
            about = [each for subject in in_use for each in by_subject.pop(subject, ())]
            new = [each for each in about if each not in self.reach]
            self.reach.update(dict.fromkeys(new, REFERRING))
            new += self.down(new, REFERRING)
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
        """Return whether to follow a manifest on the way; record a doubt if it may have children that are not known."""
        reason = self._problems.get(digest)
        if held is None and reason is None:
            if self._sparse:
                return False
            reason = "is not in the store, so its children are not known"
        elif reason is None and is_good is not None and not is_good:
            reason = "its bytes do not match its digest"
        elif reason is None and size is not None and held != size:
            reason = f"has {held} bytes instead of {size}"
        elif reason is None:
            reason = _unclear(kind, flaws=flaws, looked=bool(looked))
        if reason is not None and (self.doubt is None or digest < self.doubt.subject):
            self.doubt = Doubt(digest, reason)
        return kind in (MANIFEST, INDEX) and held is not None


def _unclear(kind: int, *, flaws: str | None, looked: bool) -> str | None:
    """Return why the children of a good blob are not known; None if they are."""
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
