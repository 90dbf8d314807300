"""Walk down from entries, visiting each index of a store only once, even if many entries are above it.

Results are kept in `Reader.known` until the next question (`Asking`). The entries of one question often reach the same
indexes, and walking down from each entry again would cost the square of their number.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from catalog.engine.interface import Reader

    Row = tuple[Any, ...]

MOST_KNOWN = 100_000
"""The maximum number of results that are kept. They take about 30 MB."""
UNREAD, MANIFEST, INDEX = 0, 1, 2
"""Kinds of content, as in catalog.db.kinds."""
ATTESTATION = "unknown/unknown"
"""The platform of an attestation, which is not an image."""


def is_below(reader: Reader, store_id: int, top: int, what: object, test: Callable[[int], bool]) -> bool:
    """Return whether `test` is true for the content id `top` or for one below it in the store. `what` identifies the test."""
    known = known_results(reader)
    if (what, store_id, top) not in known:
        known[what, store_id, top] = False
        _go_down(reader, store_id, top, what, test)
    return bool(known[what, store_id, top])


def _go_down(reader: Reader, store_id: int, top: int, what: object, test: Callable[[int], bool]) -> None:
    """Record the result for `top` and for every content visited on the way."""
    known = reader.known
    if test(top):
        known[what, store_id, top] = True
        return
    path: list[tuple[int, Iterator[int]]] = [(top, _ids_below(reader, store_id, top))]
    entered = {top}
    while path:
        at, ahead = path[-1]
        child = next(ahead, None)
        if child is None:
            known[what, store_id, at] = False
            path.pop()
            continue
        if (what, store_id, child) not in known and child not in entered:
            entered.add(child)
            if not test(child):
                path.append((child, _ids_below(reader, store_id, child)))
                continue
            known[what, store_id, child] = True
        if known.get((what, store_id, child)):
            known.update(((what, store_id, above), True) for above, _ in path)
            return


def platforms_of(reader: Reader, store_id: int, content_id: int, kind: int) -> list[str]:
    """Return the platforms of an entry with content of this `kind`, in the order of its index, without attestations.

    The list is empty if they are not known yet.
    """
    if kind == MANIFEST:
        # Only blocks.py caches this: one query costs no more than caching its result here.
        kept: str | bool | None = reader.known.get(("platform", store_id, content_id), False)
        if isinstance(kept, bool):
            config = config_of(reader, content_id, store_id)
            kept = None if config is None else config[0]
        names: tuple[str, ...] = () if kept is None else (kept,)
    else:
        names = platforms_below(reader, store_id, content_id)
    return [name for name in names if name != ATTESTATION]


def config_of(reader: Reader, content_id: int, store_id: int) -> tuple[str, bool] | None:
    """Return the platform in the config of an image, and whether the store has the config; None if the platform is not known."""
    row = reader.row("CONFIG_OF", {"content_id": content_id, "store_id": store_id})
    return None if row is None else (row[0], bool(row[1]))


def platforms_below(reader: Reader, store_id: int, top: int) -> tuple[str, ...]:
    """Return the platforms below an index, each once, in the order of its list, including attestations.

    The platform in the descriptor of an index counts only if that index is not in the store.
    """
    known = known_results(reader)
    rows_of: dict[int, list[Row]] = {}
    ahead = [top]
    while ahead:
        at = ahead[-1]
        if ("platforms", store_id, at) in known:
            ahead.pop()
        elif at not in rows_of:
            rows_of[at] = list(reader.rows("CHILDREN", {"content_id": at, "store_id": store_id}))
            ahead += (row[0] for row in rows_of[at] if _is_entered(row) and row[0] not in rows_of)
        else:
            names: dict[str, None] = {}
            for row in rows_of[at]:
                if _is_entered(row):
                    names |= dict.fromkeys(known.get(("platforms", store_id, row[0]), ()))
                elif (name := row[3] or _platform_of(reader, store_id, row)) is not None:
                    names[name] = None
            known["platforms", store_id, at] = tuple(names)
            ahead.pop()
    found: tuple[str, ...] = known["platforms", store_id, top]
    return found


def _is_entered(row: Row) -> bool:
    """Return whether a child is an index whose platforms are determined by its children, not by its descriptor."""
    return row[2] == INDEX and (bool(row[6]) or row[3] is None)


def _platform_of(reader: Reader, store_id: int, row: Row) -> str | None:
    """Return the platform in the config of a child whose descriptor has no platform, or None."""
    if row[2] != MANIFEST:
        return None
    found = reader.row("CONFIG_OF", {"content_id": row[0], "store_id": store_id})
    return None if found is None else found[0]


def _ids_below(reader: Reader, store_id: int, content_id: int) -> Iterator[int]:
    return iter([row[0] for row in reader.rows("CHILDREN", {"content_id": content_id, "store_id": store_id})])


def known_results(reader: Reader) -> dict[object, Any]:
    """Return the results that are kept, after discarding all of them if there were too many."""
    if len(reader.known) > MOST_KNOWN:
        reader.known.clear()
    return reader.known
