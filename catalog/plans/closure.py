"""All blobs that images consist of, according to the catalog. Children come before the manifests that refer to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from catalog.db.kinds import AMBIGUOUS, CHILD, INDEX, MANIFEST, OPAQUE, SUBJECT, UNREAD
from catalog.engine.interface import Reader
from catalog.errors import Incomplete
from catalog.lookup.content import check_pending
from catalog.names.escape import shown
from catalog.plans.walk import AT_ONCE, in_stores

_EDGES = (
    "SELECT edge.parent_id, edge.child_id, content.digest, edge.role, content.kind, edge.size, content.size, edge.embedded,"
    " media_type.is_leaf, manifest.flaws FROM edge JOIN content ON content.id = edge.child_id"
    " JOIN media_type ON media_type.id = edge.media_type_id LEFT JOIN manifest ON manifest.content_id = edge.child_id"
    f" WHERE edge.parent_id IN ({{0}}) AND edge.role <> {SUBJECT} AND NOT edge.is_foreign"
    " ORDER BY edge.parent_id, edge.role, edge.position"
)
_CONTENTS = (
    "SELECT content.id, content.digest, content.kind, content.size, manifest.flaws FROM content"
    " LEFT JOIN manifest ON manifest.content_id = content.id WHERE content.id IN ({0})"
)
_BY_SUBJECT = (
    f"SELECT edge.child_id, edge.parent_id FROM edge WHERE edge.child_id IN ({{0}}) AND edge.role = {SUBJECT}"
    " AND EXISTS (SELECT 1 FROM store_blob WHERE store_blob.content_id = edge.parent_id AND {1})"
)
_BY_ENTRY = (
    "SELECT referrer.subject_id, referrer.referrer_id, entry.content_id, entry.id FROM referrer"
    " JOIN entry ON entry.id = referrer.entry_id WHERE referrer.subject_id IN ({0}) AND {1}"
)
_BY_CONTENT = (
    "SELECT referrer.subject_id, referrer.referrer_id FROM referrer WHERE referrer.subject_id IN ({0})"
    " AND EXISTS (SELECT 1 FROM store_blob WHERE store_blob.content_id = referrer.content_id AND {1})"
)
_LISTED = "SELECT id FROM entry WHERE content_id IN ({0}) AND {1} ORDER BY id"
_ROLES = ("manifest", "config", "layer")


class NeededBlob(NamedTuple):
    """A blob that is needed. `size` is in bytes, or None if unknown. `is_carried` is true if every descriptor of it embeds its data."""

    content_id: int
    digest: str
    role: int
    size: int | None
    is_carried: bool

    @property
    def what(self) -> str:
        """The blob for a message: `the layer sha256:…`."""
        return f"the {_ROLES[self.role]} {self.digest}"


class Closure:
    """What the added contents need. `blobs` has each blob once, children first; `entries` has the entries of referrers that were found."""

    def __init__(self, reader: Reader, stores: Collection[int], *, referrers: bool) -> None:
        """`stores` are the stores that the images are copied from. With `referrers`, their referrers are included."""
        self.blobs: dict[int, NeededBlob] = {}
        self.entries: dict[int, None] = {}
        self._reader = reader
        self._holding = in_stores("store_blob.store_id", stores)
        self._listing = in_stores("entry.store_id", stores)
        self._referrers = referrers
        self._below: dict[int, list[int]] = {}
        self._known: dict[int, NeededBlob] = {}

    def add(self, roots: Iterable[int]) -> None:
        """Add the contents with these ids and all that they need. Raises Incomplete or NotInTime if it is unknown what they need."""
        wave = deque(dict.fromkeys(roots))
        while wave:
            self._load(list(wave))
            new: list[int] = []
            for root in wave:
                new += self._append(root)
            wave.clear()
            if self._referrers and new:
                wave.extend(one for one in dict.fromkeys(self._about(new)) if one not in self.blobs)

    def reached(self, roots: Iterable[int]) -> set[int]:
        """Return the contents `roots`, which must have been added, and everything that they need."""
        found: set[int] = set()
        stack = list(roots)
        while stack:
            one = stack.pop()
            if one not in found:
                found.add(one)
                stack += self._below.get(one, ())
        return found

    def _append(self, root: int) -> list[int]:
        """Append everything below a root, then the root; return the new contents. Not recursive, because indexes may be nested deeply."""
        new: list[int] = []
        begun: set[int] = set()  # contents whose children are being appended; to meet one again means a cycle
        stack: list[tuple[int, bool]] = [(root, False)]
        while stack:
            one, is_done = stack.pop()
            if one in self.blobs:
                continue
            if is_done:
                self.blobs[one] = self._known[one]
                new.append(one)
                continue
            if one in begun:
                continue
            begun.add(one)
            stack.append((one, True))
            stack.extend((child, False) for child in reversed(self._below.get(one, ())) if child not in self.blobs)
        return new

    def _load(self, roots: Sequence[int]) -> None:
        level: list[int] = []
        for one, digest, kind, size, flaws in self._in(_CONTENTS, roots):
            self._known.setdefault(one, NeededBlob(one, digest, CHILD, size, is_carried=False))
            if self._leads_on(digest, kind, flaws, is_leaf=False) and one not in self._below:
                level.append(one)
        while level:
            self._below.update((one, []) for one in level)
            following: dict[int, None] = {}
            for parent, child, digest, role, kind, said, size, is_carried, is_leaf, flaws in self._in(_EDGES, level):
                self._below[parent].append(child)
                known = self._known.get(child)
                carried = bool(is_carried) and (known is None or known.is_carried)
                self._known[child] = NeededBlob(child, digest, role, said if size is None else size, carried)
                if role == CHILD and child not in self._below and self._leads_on(digest, kind, flaws, is_leaf=is_leaf):
                    following[child] = None
            level = list(following)

    def _leads_on(self, digest: str, kind: int, flaws: str | None, *, is_leaf: bool) -> bool:
        """Return whether a content is a manifest, which refers to others. Raises Incomplete or NotInTime if it is unknown what it needs."""
        if kind in (MANIFEST, INDEX) and flaws is None:
            return True
        if flaws is not None:
            raise Incomplete(
                f"what {digest} needs is unknown: {shown(flaws, 200)}; copy the image again from elsewhere"
            )
        if kind in (OPAQUE, AMBIGUOUS):
            raise Incomplete(
                f"what {digest} needs is unknown: ocicat does not understand this kind of manifest; use another tool to copy it"
            )
        if kind == UNREAD and not is_leaf:
            check_pending(self._reader, None, f"what {digest} needs")
            raise Incomplete(f"the manifest {digest} is missing or damaged; copy the image again, with all its blobs")
        return False

    def _about(self, new: Sequence[int]) -> Iterator[int]:
        """Yield the referrers of these contents, and the contents of the entries that make them referrers."""
        found = [
            referrer
            for statement in (_BY_SUBJECT, _BY_CONTENT)
            for subject, referrer in self._in(statement, new, self._holding)
            if subject != referrer
        ]
        yield from found
        self.entries.update((row[0], None) for row in self._in(_LISTED, found, self._listing))
        for subject, referrer, listed, entry in self._in(_BY_ENTRY, new, self._listing):
            if subject not in (referrer, listed):
                self.entries[entry] = None
                yield referrer
                yield listed

    def _in(self, statement: str, ids: Sequence[int], stores: str = "") -> Iterator[tuple]:  # type: ignore[type-arg]
        for at in range(0, len(ids), AT_ONCE):
            marks = ",".join(map(str, ids[at : at + AT_ONCE]))
            yield from self._reader.select(statement.format(marks, stores), {})
