"""Reads facts about the images of many entries, one block of entries at a time: platforms, total size, age and labels.

The results are kept in `Reader.known`, where facts.py and below.py look before they query the catalog. So this module changes no
answer: facts.py and below.py query what it does not keep, entry by entry. This happens for indexes in indexes, for indexes with very
many images, and for entries that exceed the limits of a block.
"""

from __future__ import annotations

from catalog.lookup import facts
from catalog.lookup.below import INDEX, MANIFEST, MOST_KNOWN, UNREAD
from catalog.lookup.ids import ids_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, TypeVar

    from catalog.engine.interface import Reader
    from catalog.engine.names import Name

    Row = tuple[Any, ...]
    T = TypeVar("T")

MOST_ENTRIES = 1_000
_FEW = 8
"""Fewer entries than this are not read as a block."""
_FIRST = 32
"""How many entries the first block of a list has, so that the first lines appear soon. Each further block has twice as many."""
_MOST_PARTS = 20_000
"""As in catalog.db.recursive: if a statement returns more rows than this, they are incomplete."""
_MOST_BLOBS, _MOST_MANIFESTS = 9_000, 900
"""Lower than the limits of the views (catalog.db.recursive), so that those never apply here."""
_MOST_CHARACTERS = 2_000_000
"""How many characters of labels a block may have."""
_CHILD, _CONFIG = range(2)
_OPAQUE, _AMBIGUOUS = 5, 6
# The columns of PARTS_AMONG and TOPS_AMONG (catalog.db.facts).
_ROLE, _POSITION, _ID, _KIND, _IS_LEAF, _PLATFORM, _SIZE, _LOOKED, _CREATED, _OWN_PLATFORM = range(1, 11)


class Blocks:
    """Reads the facts about items for many items at once.

    `content_of` returns the id of an item's store, and the id and kind of its content. The first block has `first` items. Labels,
    which may be long, are read only if `labels` is true.
    """

    def __init__(
        self,
        reader: Reader,
        content_of: Callable[[Any], tuple[int, int | None, int]],
        first: int = _FIRST,
        *,
        labels: bool = True,
    ) -> None:
        self._reader = reader
        self._content_of = content_of
        self._first = first
        self._labels = labels
        self._at_once = MOST_ENTRIES

    def learned(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, each after its facts were read. If `items` raises, the items before that come first.

        Nothing is read for a reader of the past.
        """
        if self._reader.past is not None:
            yield from items
            return
        for block in self._blocks(items):
            at = 0
            while at < len(block):
                some = block[at : at + self._at_once]
                if len(some) >= _FEW and not _learn(self._reader, map(self._content_of, some), labels=self._labels):
                    self._at_once = len(some) // 2
                    continue
                yield from some
                at += len(some)

    def _blocks(self, items: Iterable[T]) -> Iterator[list[T]]:
        block: list[T] = []
        size = self._first
        try:
            for item in items:
                block.append(item)
                if len(block) == size:
                    yield block
                    block, size = [], min(2 * size, MOST_ENTRIES)
        except Exception:
            yield block
            raise
        yield block


def _learn(reader: Reader, contents: Iterator[tuple[int, int | None, int]], *, labels: bool) -> bool:
    """Keep the facts about these contents; return False if they are too much for one block."""
    by_store: dict[int, dict[int, int]] = {}
    for store_id, content_id, kind in contents:
        if content_id is not None:
            by_store.setdefault(store_id, {})[content_id] = kind
    if len(reader.known) + 4 * MOST_ENTRIES > MOST_KNOWN:
        reader.known.clear()
    return all(_Block(reader, store_id, kinds, labels=labels).learn() for store_id, kinds in by_store.items())


class _TooMuch(Exception):
    """A block has too many parts, or labels that are too long."""


class _Block:
    """Some contents of a store, given by id with their kinds."""

    def __init__(self, reader: Reader, store_id: int, kinds: Mapping[int, int], *, labels: bool) -> None:
        self._reader = reader
        self._known = reader.known
        self._store_id = store_id
        kept = self._known.get("labels", {}) if labels else kinds
        self._kinds = {
            id_: kind
            for id_, kind in kinds.items()
            if ("total_size", store_id, id_) not in self._known or (labels and (store_id, id_) not in kept)
        }
        self._parts: dict[int, list[Row]] = {}
        self._layers: dict[int, dict[int, int | None]] = {}
        self._has_labels = labels
        self._labels: dict[int, dict[str, str]] = {}

    def learn(self) -> bool:
        """Keep the facts about the contents; return False if they are too much for one block."""
        if not self._kinds:
            return True
        try:
            tops = {row[0]: row for row in self._read("TOPS_AMONG", self._kinds)}
            self._read_parts(self._kinds)
            children = {row[_ID] for parts in self._parts.values() for row in parts if row[_ROLE] == _CHILD}
            self._read_parts(children - self._parts.keys())
            self._read_layers(self._kinds.keys() | children)
            if self._has_labels:
                self._read_labels()
        except _TooMuch:
            return False
        for content_id, kind in self._kinds.items():
            if content_id in tops:
                self._keep(tops[content_id], kind)
        return True

    def _read(self, statement: Name, ids: Iterable[int]) -> list[Row]:
        rows = list(self._reader.rows(statement, {"ids": ids_text(ids), "store_id": self._store_id}))
        if len(rows) > _MOST_PARTS:
            raise _TooMuch
        return rows

    def _read_parts(self, ids: Iterable[int]) -> None:
        if not ids:
            return
        for row in self._read("PARTS_AMONG", ids):
            parts = self._parts.get(row[0])
            if parts is None:
                self._parts[row[0]] = [row]
            else:
                parts.append(row)

    def _read_layers(self, ids: Iterable[int]) -> None:
        for parent_id, child_id, size in self._read("LAYERS_AMONG", ids):
            layers = self._layers.get(parent_id)
            if layers is None:
                self._layers[parent_id] = {child_id: size}
            else:
                layers[child_id] = size

    def _read_labels(self) -> None:
        configs = {row[_ID] for parts in self._parts.values() for row in parts if row[_ROLE] == _CONFIG}
        if not configs:
            return
        characters = 0
        for content_id, key, value in self._reader.rows("LABELS_AMONG", {"ids": ids_text(configs)}):
            self._labels.setdefault(content_id, {})[key] = value
            characters += len(key) + len(value) + 100
            if characters > _MOST_CHARACTERS:
                raise _TooMuch

    def _keep(self, top: Row, kind: int) -> None:
        """Keep the facts about one content, unless it is an index that lists anything other than images or exceeds a limit."""
        content_id, store_id, known = top[0], self._store_id, self._known
        parts = self._parts.get(content_id, [])
        children = [row for row in parts if row[_ROLE] == _CHILD]
        if children:
            children.sort(key=_position)
            if kind != INDEX or len(children) > _MOST_MANIFESTS:
                return
            for row in children:
                if row[_KIND] == INDEX or any(part[_ROLE] == _CHILD for part in self._parts.get(row[_ID], ())):
                    return
        images = [content_id, *dict.fromkeys([row[_ID] for row in children])]
        configs = [row for each in images for row in self._parts.get(each, ()) if row[_ROLE] == _CONFIG]
        total = self._total(top, kind, parts)
        if total is False:
            return
        known["total_size", store_id, content_id] = total
        if kind != UNREAD:
            dates = [row[_CREATED] for row in configs if row[_CREATED] is not None]
            known["created", store_id, content_id] = max(dates, default=None)
        if self._has_labels:
            labels: dict[str, str] = {}
            for row in configs:
                for key, value in self._labels.get(row[_ID], {}).items():
                    labels.setdefault(key, value)
            facts.keep_labels(known, [(store_id, content_id)], dict(sorted(labels.items())))
        if kind == MANIFEST:
            known["platform", store_id, content_id] = self._own_platform(content_id)
        else:
            names: dict[str, None] = {}
            for row in children:
                name = row[_PLATFORM] or (self._own_platform(row[_ID]) if row[_KIND] == MANIFEST else None)
                if name is not None:
                    names[name] = None
            known["platforms", store_id, content_id] = tuple(names)

    def _own_platform(self, content_id: int) -> str | None:
        """Return the platform in the config of an image, or None."""
        names = [row[_OWN_PLATFORM] for row in self._parts.get(content_id, ()) if row[_ROLE] == _CONFIG]
        return next((name for name in names if name is not None), None)

    def _total(self, top: Row, kind: int, parts: list[Row]) -> int | bool | None:
        """Return the total size in bytes of all blobs that a content reaches, None if it is unknown, or False to leave it to a query.

        The value is the same as that of TOTAL_SIZE in catalog.db.recursive for an image, or for an index of images.
        """
        _, is_leaf, size, is_whole, looked = top
        if size is None or not is_whole:
            return None
        sizes: dict[int, int | None] = {top[0]: size}
        if is_leaf is not None and not is_leaf:
            if kind in (_OPAQUE, _AMBIGUOUS) or (kind == UNREAD and not looked):
                return None
            sizes.update(self._layers.get(top[0], ()))
            for row in parts:
                sizes[row[_ID]] = row[_SIZE]
                if row[_ROLE] != _CHILD or row[_IS_LEAF]:
                    continue
                if row[_KIND] in (_OPAQUE, _AMBIGUOUS):
                    return None
                if row[_SIZE] is not None:  # otherwise the manifest is not in the store
                    if row[_KIND] == UNREAD and not row[_LOOKED]:
                        return None
                    sizes.update(self._layers.get(row[_ID], ()))
                    for part in self._parts.get(row[_ID], ()):
                        sizes[part[_ID]] = part[_SIZE]
        if len(sizes) > _MOST_BLOBS // 2:  # An id may be reached in two ways, which TOTAL_SIZE counts twice.
            return False
        return sum([each for each in sizes.values() if each is not None])


def _position(row: Row) -> int:
    found: int = row[_POSITION]
    return found
