"""Which stores have a blob, and how to open them: what `ocicat serve` needs to read what it was asked for."""

from __future__ import annotations

from typing import NamedTuple

from catalog.layout.beneath import opened_path
from catalog.names.paths import decode_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from catalog.engine.interface import Reader

_PLACE = 10
"""How many columns a StorePlace is made of (catalog.db.serving)."""


class StorePlace(NamedTuple):
    """A store: its id, name and state, the path by which it is opened (catalog.layout.beneath), its shared blob directory or None."""

    store_id: int
    store: str
    state: str
    opened: str
    shared: str | None


class Holder(NamedTuple):
    """A store that has a blob.

    `size` is that of its file when it was listed, in bytes. `is_good` is whether `verify` found that its bytes match the digest,
    None if nobody looked; that was the file with the identity `verified_as`. `embedded` is true if there is no file, and a
    descriptor has the bytes.
    """

    place: StorePlace
    size: int
    is_good: bool | None
    verified_as: str | None
    embedded: bool


def place_of_store(reader: Reader, store_id: int) -> StorePlace | None:
    """Return where a store of this host is; None if it is missing, or belongs to another host."""
    row = None if reader.host_of(store_id) is not None else reader.row("PLACE_OF_STORE", {"store_id": store_id})
    return None if row is None else _place(row)


def holders(reader: Reader, digest: str, stores: frozenset[int] | None) -> list[Holder]:
    """Return the stores of this host, among `stores` (None: all), that have a blob, in the order in which they answer.

    Those whose file has another size than the blob has, as far as that is known, come last.
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
