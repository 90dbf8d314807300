"""A walk from manifests to all that they need, according to the catalog.

The walk finds at least what catalog.ingest.reach calls in use. From a manifest it goes to its children, config, layers and
subject, and from everything it finds to the referrers in the same stores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from catalog.db.kinds import CHILD, SUBJECT
from catalog.engine.interface import Reader

AT_ONCE = 5_000
"""The maximum number of ids in one statement."""
_BOUND = 16
"""Up to this many ids are passed as parameters, because the engine has to parse each new text of a statement."""

_EDGES = "SELECT parent_id, child_id, role FROM edge WHERE parent_id IN ({0})"
_SUBJECTS = (
    "SELECT edge.parent_id, edge.child_id FROM store_blob JOIN edge ON edge.parent_id = store_blob.content_id"
    f" AND edge.role = {SUBJECT} WHERE store_blob.store_id = :store_id"
)
_BY_ENTRY = (
    "SELECT referrer.referrer_id, referrer.subject_id FROM entry JOIN referrer ON referrer.entry_id = entry.id"
    " WHERE entry.store_id = :store_id"
)
_BY_CONTENT = (
    "SELECT referrer.referrer_id, referrer.subject_id FROM store_blob"
    " JOIN referrer ON referrer.content_id = store_blob.content_id WHERE store_blob.store_id = :store_id"
)

Referrers = Mapping[int, Collection[int]]
"""The referrers of each content, by ids."""


def marks(ids: Collection[int]) -> tuple[str, dict[str, int]]:
    """Return the text of a SQL list of these ids, and the parameters that it needs."""
    if len(ids) > _BOUND:
        return ",".join(map(str, ids)), {}
    bound = {f"id_{number}": one for number, one in enumerate(ids)}
    return ",".join(f":{name}" for name in bound), bound


def in_stores(column: str, stores: Collection[int]) -> str:
    """Return the SQL condition that a column is the id of one of these stores.

    For many stores, the `+` keeps SQLite from searching for each content in each store. It reads all holders of the content instead.
    """
    return f"{'+' if len(stores) > _BOUND else ''}{column} IN ({','.join(map(str, sorted(stores)))})"


class Graph:
    """The contents to which each content points. Each content is looked up once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._children: dict[int, list[int]] = {}  # manifests, which point to others
        self._parts: dict[int, list[int]] = {}  # configs and layers, which do not
        self._subjects: dict[int, list[int]] = {}
        self._loaded: set[int] = set()

    def reach(self, seeds: Iterable[int], referrers: Referrers, *, subjects: bool) -> set[int]:
        """Return the seeds and everything that they lead to. With `subjects`, subjects are followed, too."""
        found = set(seeds)
        walked = set(found)
        level = list(found)
        new = set(found)  # the contents whose referrers have not been searched for
        while level:
            self.load(level)
            following: list[int] = []
            for one in level:
                new.update(part for part in self._parts.get(one, ()) if part not in found)
                about = self._subjects.get(one, ()) if subjects else ()
                for child in (*self._children.get(one, ()), *about):
                    if child not in walked:
                        walked.add(child)
                        following.append(child)
            new.update(following)
            found |= new
            # Configs and layers may have referrers too, such as the signature of a layer.
            new = {each for subject in new for each in referrers.get(subject, ()) if each not in walked}
            walked |= new
            found |= new
            level = [*following, *new]
        return found

    def below(self, one: int) -> tuple[int, ...]:
        """Return the children, config and layers of a content that was loaded, the children first."""
        return *self._children.get(one, ()), *self._parts.get(one, ())

    def leads_on(self, one: int) -> list[int]:
        """Return the children of a content that was loaded."""
        return self._children.get(one, [])

    def load(self, ids: Iterable[int]) -> None:
        """Look up what these contents point to, unless that is known already."""
        new = [one for one in dict.fromkeys(ids) if one not in self._loaded]
        self._loaded.update(new)
        for at in range(0, len(new), AT_ONCE):
            text, bound = marks(new[at : at + AT_ONCE])
            for parent, child, role in self._reader.select(_EDGES.format(text), bound):
                where = self._children if role == CHILD else self._subjects if role == SUBJECT else self._parts
                where.setdefault(parent, []).append(child)


def referrers_of(reader: Reader, store_ids: Iterable[int]) -> dict[int, set[int]]:
    """Return the content ids of the referrers that manifests and entries of these stores declare, by the id of the subject."""
    found: dict[int, set[int]] = {}
    for store_id in store_ids:
        for question in (_SUBJECTS, _BY_ENTRY, _BY_CONTENT):
            for referrer, subject in reader.select(question, {"store_id": store_id}):
                if referrer != subject:
                    found.setdefault(subject, set()).add(referrer)
    return found
