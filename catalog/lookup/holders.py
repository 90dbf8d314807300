"""Finds the stores that have a blob, and how to open it, for `ocicat serve`."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from catalog.layout.beneath import opened_path
from catalog.names.paths import decode_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from catalog.engine.interface import Reader

IN_LIST = "index.json"
"""The first item of a chain of descriptors if the chain begins in the list of the layout."""
_MOST_CARRYING = 8
_MOST_PARENTS = 4
_DEEPEST = 4
"""How many stores, manifests of each, and levels of descriptors in descriptors are tried for an embedded blob."""
_PLACE = 10
"""The number of columns from which a StorePlace is made (catalog.db.serving)."""


class StorePlace(NamedTuple):
    """A store: its id, name and state, the path by which to open it (catalog.layout.beneath), and its shared blob directory or None."""

    store_id: int
    store: str
    state: str
    opened: str
    shared: str | None


class Holder(NamedTuple):
    """A store that has a blob.

    `size` is the size of its file in bytes when it was listed. `is_good` is whether `verify` found that its bytes match the digest,
    or None if they were never verified. `verified_as` is the identity of the file that was verified. `embedded` is true if there is no
    file, and a descriptor contains the bytes.
    """

    place: StorePlace
    size: int
    is_good: bool | None
    verified_as: str | None
    embedded: bool


class Carried(NamedTuple):
    """Where the bytes of an embedded blob are. `chain` begins with a digest that has a file, or with IN_LIST, and ends with the
    digest of the blob. Each digest is embedded in the one before it, in the field `data` of a descriptor.
    """

    place: StorePlace
    chain: tuple[str, ...]


def carriers(reader: Reader, digest: str, held: Iterable[Holder]) -> list[Carried]:
    """Return where to find the bytes of a blob in the holders that have it only in a descriptor; a few places per holder."""
    found: list[Carried] = []
    for place in list(islice((each.place for each in held if each.embedded), _MOST_CARRYING)):
        found += [Carried(place, chain) for chain in islice(_chains(reader, place.store_id, (digest,)), _MOST_PARENTS)]
    return found


def _chains(reader: Reader, store_id: int, chain: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    asked = {"store_id": store_id, "digest": chain[0]}
    if reader.row("CARRIED_IN_LIST", asked) is not None:
        yield (IN_LIST, *chain)
    for parent, is_embedded in list(reader.rows("CARRIED_BY", {**asked, "count": _MOST_PARENTS})):
        if not is_embedded:
            yield (parent, *chain)
        elif len(chain) < _DEEPEST:
            yield from _chains(reader, store_id, (parent, *chain))


def place_of_store(reader: Reader, store_id: int) -> StorePlace | None:
    """Return the place of a store of this host; None if the store is missing or belongs to another host."""
    row = None if reader.host_of(store_id) is not None else reader.row("PLACE_OF_STORE", {"store_id": store_id})
    return None if row is None else _place(row)


def holders(reader: Reader, digest: str, stores: frozenset[int] | None) -> list[Holder]:
    """Return the stores of this host, among `stores` (all if None), that have a blob, in the order in which they answer.

    Stores whose file is known to have the wrong size come last.
    """
    found: list[tuple[bool, Holder]] = []
    for row in reader.rows("HOLDING", {"digest": digest}):
        place = _place(row[:_PLACE])
        if (stores is not None and place.store_id not in stores) or reader.host_of(place.store_id) is not None:
            continue
        size, is_good, verified_as, embedded, hashed, claimed = row[_PLACE:]
        expected = claimed if hashed is None else hashed
        good = None if is_good is None else bool(is_good)
        is_odd = not embedded and expected is not None and size != expected
        found.append((is_odd, Holder(place, size, good, verified_as, bool(embedded))))
    return [holder for _, holder in sorted(found, key=lambda each: each[0])]


def _place(row: tuple[Any, ...]) -> StorePlace:
    store_id, store, state, path, path_bytes, root, root_bytes, by_name, shared, shared_bytes = row
    opened = opened_path(
        decode_path(path, path_bytes), None if root is None else decode_path(root, root_bytes), follow=bool(by_name)
    )
    return StorePlace(store_id, store, state, opened, None if shared is None else decode_path(shared, shared_bytes))
