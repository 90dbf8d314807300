"""What is below an entry, asked once for each index of a store however many entries are above it.

What was found out is kept in `Reader.known` until the next question (`Asking`): the entries of one question often reach the
same indexes, and to go down from each of them again costs the square of what there is.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from catalog.engine.interface import Reader

    Row = tuple[Any, ...]

MOST_KNOWN = 100_000
"""Answers that are kept at most, some 30 MB."""
UNREAD, MANIFEST, INDEX = 0, 1, 2
"""Kinds of content, as in catalog.db.kinds."""
ATTESTATION = "unknown/unknown"
"""The platform of an attestation, which is no image's."""


def is_below(reader: Reader, store_id: int, top: int, what: object, test: Callable[[int], bool]) -> bool:
    """Whether `test` holds for the content id `top`, or for one below it in the store; `what` tells the test from others."""
    known = _known(reader)
    if (what, store_id, top) not in known:
        known[what, store_id, top] = False
        _go_down(reader, store_id, top, what, test)
    return bool(known[what, store_id, top])


def _go_down(reader: Reader, store_id: int, top: int, what: object, test: Callable[[int], bool]) -> None:
    """Find out for `top`, and for all that is met on the way."""
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
    """The platforms of an entry whose content is of that `kind`, in the order of its index; empty while they are unknown.

    Attestations are left out.
    """
    if kind == MANIFEST:
        config = config_of(reader, content_id, store_id)
        names: tuple[str, ...] = () if config is None else (config[0],)
    else:
        names = platforms_below(reader, store_id, content_id)
    return [name for name in names if name != ATTESTATION]


def config_of(reader: Reader, content_id: int, store_id: int) -> tuple[str, bool] | None:
    """The platform that an image's config gives, and whether the config is in the store; None if it is not known."""
    row = reader.row("CONFIG_OF", {"content_id": content_id, "store_id": store_id})
    return None if row is None else (row[0], bool(row[1]))


def platforms_below(reader: Reader, store_id: int, top: int) -> tuple[str, ...]:
    """The platforms of what is below an index, each once, in the order of its list; attestations count too.

    What an index says of another index counts where that is not there to say it itself.
    """
    known = _known(reader)
    rows_of: dict[int, list[Row]] = {}
    ahead = [top]
    while ahead:
        at = ahead[-1]
        if ("platforms", store_id, at) in known:
            ahead.pop()
        elif at not in rows_of:
            rows_of[at] = list(reader.rows("CHILDREN", {"content_id": at, "store_id": store_id}))
            ahead += (row[0] for row in rows_of[at] if _is_gone_through(row) and row[0] not in rows_of)
        else:
            names: dict[str, None] = {}
            for row in rows_of[at]:
                if _is_gone_through(row):
                    names |= dict.fromkeys(known.get(("platforms", store_id, row[0]), ()))
                elif (name := row[3] or _platform_of(reader, store_id, row)) is not None:
                    names[name] = None
            known["platforms", store_id, at] = tuple(names)
            ahead.pop()
    found: tuple[str, ...] = known["platforms", store_id, top]
    return found


def _is_gone_through(row: Row) -> bool:
    """Whether a child is an index that is asked itself, whatever its descriptor claims."""
    return row[2] == INDEX and (bool(row[6]) or row[3] is None)


def _platform_of(reader: Reader, store_id: int, row: Row) -> str | None:
    """What the config of a child says, of which its index says nothing."""
    if row[2] != MANIFEST:
        return None
    found = reader.row("CONFIG_OF", {"content_id": row[0], "store_id": store_id})
    return None if found is None else found[0]


def _ids_below(reader: Reader, store_id: int, content_id: int) -> Iterator[int]:
    return iter([row[0] for row in reader.rows("CHILDREN", {"content_id": content_id, "store_id": store_id})])


def _known(reader: Reader) -> dict[object, Any]:
    if len(reader.known) > MOST_KNOWN:
        reader.known.clear()
    return reader.known
