"""Find the differences between two stores, two sets of stores, or the same stores at two times (`ocicat diff`).

Names are compared by the digests that they have. In a set of stores, a name has the digests of all these stores. Entries
that answer for no name, because they have no name or are shadowed, are compared by name and digest.
"""

from __future__ import annotations

from catalog.errors import UnknownStore
from catalog.lookup.parts import Images, only_in, total
from catalog.lookup.stores import store_ids
from catalog.names.escape import shown
from catalog.names.moment import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from catalog.engine.interface import Reader

    Key = tuple[str | None, str | None]
    """A repository and a tag; both None for an entry without a name."""
    Held = tuple[str, int]
    """A digest, and the id of a store that has it."""
    Answers = dict[Key, Held | list[Held]]
    Others = dict[tuple[Key, str], list[int]]

FIELDS = (
    "change", "name", "repository", "tag", "shadowed", "old", "new", "old_stores", "new_stores",
    "platforms_gained", "platforms_lost", "layers_gained", "layers_lost", "bytes_gained", "bytes_lost",
)  # fmt: skip
"""The keys of a JSON object of `diff`, in order."""

ADDED, REMOVED, MOVED = CHANGES = "added", "removed", "moved"
"""The kinds of difference: only the new side has the name, only the old side has it, or both have it with different digests."""


class Side:
    """One side of a comparison: the stores with these ids, as `reader` sees them, now or at an earlier time.

    `ids` is empty if no store had the requested name at that time. `note` is called with a message for each store that is missing or
    answers with its last entries.
    """

    def __init__(self, reader: Reader, ids: frozenset[int], note: Callable[[str], None]) -> None:
        self._reader = reader
        self.names: dict[int, str] = {}
        for store_id, name, _, state, since in list(reader.rows("STORE_STATES", {})):
            if store_id not in ids:
                continue
            self.names[store_id] = name
            if state == "missing":
                note(f"store {shown(name)} has been missing since {rfc3339(since)}: it has no entries to compare")
            elif state in ("invalid", "unreadable"):
                note(f"store {shown(name)} has been {state} since {rfc3339(since)}: using its last entries")
        self.answers: Answers = {}
        self.others: Others = {}
        self._read(ids)

    def stores(self, ids: Iterable[int]) -> list[str]:
        """Return the names of stores, in the order in which they answer."""
        wanted = set(ids)
        return [name for store_id, name in self.names.items() if store_id in wanted]

    def held(self, key: Key) -> dict[str, list[int]]:
        """Return the digests of a name, each with the ids of the stores that have it."""
        found: dict[str, list[int]] = {}
        held = self.answers.get(key, [])
        for digest, store_id in [held] if isinstance(held, tuple) else held:
            found.setdefault(digest, []).append(store_id)
        return found

    def has(self, key: Key, digest: str) -> bool:
        """Return whether an entry, shadowed or not, has this name and digest."""
        return (key, digest) in self.others or digest in self.held(key)

    def _read(self, ids: frozenset[int]) -> None:
        words: dict[str, str] = {}  # one string object per repository, because many names share few repositories
        past = self._reader.past
        if past is not None and past.numbers is None:  # for that time, only spans of names are known
            from catalog.lookup.past import at

            for match in at(self._reader, None, past.at, ids):
                self.names.setdefault(match.store_id, match.store)
                self._add((match.value("repository"), match.tag), match.digest, match.store_id)  # type: ignore[arg-type]
            return
        for store_id in self.names:
            for repository, tag, shadowed, digest in self._reader.rows("STORE_KEYS", {"store_id": store_id}):
                key = repository and words.setdefault(repository, repository), tag
                if tag is None or shadowed:
                    self.others.setdefault((key, digest), []).append(store_id)
                else:
                    self._add(key, digest, store_id)

    def _add(self, key: Key, digest: str, store_id: int) -> None:
        held = self.answers.setdefault(key, (digest, store_id))
        if isinstance(held, list):
            held.append((digest, store_id))
        elif held != (digest, store_id):
            self.answers[key] = [held, (digest, store_id)]


class Difference:
    """One difference. `old` and `new` are digests, or None if that side has no digest."""

    __slots__ = ("_images", "key", "new", "new_stores", "old", "old_stores", "shadowed")

    def __init__(
        self,
        images: Images,
        key: Key,
        old: tuple[str, list[str]] | None,
        new: tuple[str, list[str]] | None,
        *,
        shadowed: bool = False,
    ) -> None:
        self._images = images
        self.key = key
        self.old = None if old is None else old[0]
        self.new = None if new is None else new[0]
        self.old_stores = [] if old is None else old[1]
        self.new_stores = [] if new is None else new[1]
        self.shadowed = shadowed

    @property
    def change(self) -> str:
        """One of CHANGES."""
        return ADDED if self.old is None else REMOVED if self.new is None else MOVED

    @property
    def order(self) -> tuple[str, str, bool, str, str]:
        """The sort key: by name, then by digest."""
        return self.key[0] or "", self.key[1] or "", self.shadowed, self.old or "", self.new or ""

    def value(self, field: str) -> object:
        """Return the value of one of FIELDS, as in JSON. The parts of images are read from the catalog on access."""
        repository, tag = self.key
        if field == "name":
            return None if repository is None or tag is None else f"{repository}:{tag}"
        if field in ("repository", "tag"):
            return repository if field == "repository" else tag
        if not field.endswith(("_gained", "_lost")):
            return getattr(self, field)
        one, other = self._images.of(self.new), self._images.of(self.old)
        if field.endswith("_lost"):
            one, other = other, one
        if field.startswith("platforms"):
            if one.platforms is None or other.platforms is None:
                return None
            return sorted(one.platforms - other.platforms)
        if field.startswith("layers"):
            layers = only_in(one.layers, other.layers)
            return None if layers is None else len(layers)
        return total(only_in(one.blobs, other.blobs))


def side(reader: Reader, text: str, note: Callable[[str], None]) -> Side | None:
    """Return the side with the stores that match `text` (a name, path or glob), or None if no store does.

    Raises CatalogUnavailable.
    """
    try:
        ids = store_ids(reader, (text,))
    except UnknownStore:
        return None
    return Side(reader, ids, note)


def differences(images: Images, old: Side, new: Side) -> list[Difference]:
    """Return the differences between two sides, sorted by name."""
    found = [*_answers(images, old, new), *_others(images, old, new)]
    return sorted(found, key=lambda one: one.order)


def _answers(images: Images, old: Side, new: Side) -> Iterator[Difference]:
    """Yield the differences of names that have different digests, or that only one side has."""
    for key, held in old.answers.items():
        other = new.answers.get(key)
        if isinstance(held, tuple) and isinstance(other, tuple) and held[0] == other[0]:
            continue
        yield from _of_key(images, key, old, new)
    for key in new.answers:
        if key not in old.answers:
            yield from _of_key(images, key, old, new)


def _of_key(images: Images, key: Key, old: Side, new: Side) -> Iterator[Difference]:
    """Yield the differences of one name. Old and new digests are paired as moved; digests without a partner are added or removed."""
    was, now = old.held(key), new.held(key)
    gone = [(digest, old.stores(was[digest])) for digest in sorted(was.keys() - now.keys())]
    come = [(digest, new.stores(now[digest])) for digest in sorted(now.keys() - was.keys())]
    for place in range(max(len(gone), len(come))):
        yield Difference(
            images,
            key,
            gone[place] if place < len(gone) else None,
            come[place] if place < len(come) else None,
        )


def _others(images: Images, old: Side, new: Side) -> Iterator[Difference]:
    """Yield the entries that answer for no name, if the other side has no entry with the same name and digest."""
    for (key, digest), ids in old.others.items():
        if not new.has(key, digest):
            yield Difference(images, key, (digest, old.stores(ids)), None, shadowed=key[1] is not None)
    for (key, digest), ids in new.others.items():
        if not old.has(key, digest):
            yield Difference(images, key, None, (digest, new.stores(ids)), shadowed=key[1] is not None)
