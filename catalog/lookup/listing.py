"""List many matches: all entries, or those that pass filters, sorted and limited, with notes about their stores."""

from __future__ import annotations

from catalog.errors import UsageError
from catalog.lookup.match import COLUMNS, CONTENT_ID, CONTENT_KIND, ENTRY_ID, STORE_ID, Match, once
from catalog.names.escape import shown
from catalog.names.query import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from catalog.engine.interface import Reader
    from catalog.lookup.filters import Narrowing
    from catalog.lookup.resolve import Asking
    from catalog.lookup.starts import Start

_PRIORITY, _STORE = COLUMNS.index("priority"), COLUMNS.index("store")
_CHUNK = 1_000
"""How many entries are read at once."""
_STALE = ("invalid", "unreadable")
"""The states of a store that answers with its last entries."""


def without_ref(asking: Asking, narrowing: Narrowing | None) -> Iterator[Match]:
    """Yield every entry that may pass `narrowing`, found by the index of its narrowest filter. Each referrer comes once per store."""
    reader, scope = asking.reader, asking.stores
    if asking.by_spans:
        return once(asking.past(None))
    found = None if narrowing is None else narrowing.without_ref(_few(asking))
    if isinstance(found, Query):
        return asking.matches(found)
    if found is not None:
        from catalog.lookup.starts import Start

        if isinstance(found, Start):
            return noted((Match(reader, row) for row in _rows_of(asking, found)), asking.note)
        return noted(once(match for match in found if scope is None or match.store_id in scope), asking.note)
    rows = (row for id_ in _stores(asking) for row in reader.rows("STORE_ENTRIES", {"store_id": id_}))
    return noted((Match(reader, row) for row in rows), asking.note)


def counted(asking: Asking, narrowing: Narrowing | None) -> int | None:
    """Return the number of entries that pass `narrowing` if a database index alone shows it; else None, and the caller has to list them.

    The notes are the same as for the list.
    """
    if asking.reader.past is not None:
        return None
    if narrowing is None or narrowing.is_empty:
        numbers: dict[int, int] = dict(asking.reader.rows("COUNT_OF_STORES", {}))
    elif (start := narrowing.alone()) is not None:
        numbers = {}
        for _, store_id in start.entries():
            numbers[store_id] = numbers.get(store_id, 0) + 1
    else:
        return None
    total = 0
    for row in list(asking.reader.rows("STORES", {})):
        store_id, state = row[0], row[3]
        if store_id in numbers and state != "missing" and (asking.stores is None or store_id in asking.stores):
            total += numbers[store_id]
            note_stale(asking, row[1], state, row[4])
    return total


def note_stale(asking: Asking, store: str, state: str, since: int) -> None:
    """Report a note if the state of a store means that it cannot be read; `since` is in milliseconds since 1970, UTC."""
    if state in _STALE:
        asking.note(_stale_note(store, state, since))


def _few(asking: Asking) -> int | None:
    """Return the number of entries in the selected stores; None if all stores are selected or the question is about the past."""
    scope = asking.stores
    if scope is None or asking.reader.past is not None:
        return None
    return sum(int(row[6]) for row in list(asking.reader.rows("STORES", {})) if row[0] in scope)


def _stores(asking: Asking) -> list[int]:
    """Return the ids of the selected stores, in the order in which they answer."""
    scope = asking.stores
    return [row[0] for row in list(asking.reader.rows("STORE_NAMES", {})) if scope is None or row[0] in scope]


def _rows_of(asking: Asking, start: Start) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the entries that a filter finds, in the order of their stores and lists."""
    from array import array
    from itertools import chain, islice

    from catalog.lookup.ids import ids_text

    found = start.entries()
    first = list(islice(found, _CHUNK))
    if len(first) < _CHUNK:  # so few that they are sorted here, without reading the list of stores
        place = {entry_id: number for number, (entry_id, _) in enumerate(first)}
        rows = list(asking.reader.rows("BY_ENTRIES", {"ids": ids_text(place)}))
        scope = asking.stores
        in_scope = (row for row in rows if scope is None or row[STORE_ID] in scope)
        yield from sorted(in_scope, key=lambda row: (row[_PRIORITY], row[_STORE], place[row[ENTRY_ID]]))
        return
    of_store: dict[int, array[int]] = {}
    for entry_id, store_id in chain(first, found):
        ids = of_store.get(store_id)
        if ids is None:
            ids = of_store[store_id] = array("q")
        ids.append(entry_id)
    ordered = (id_ for store_id in _stores(asking) for id_ in of_store.get(store_id, ()))
    while chunk := list(islice(ordered, _CHUNK)):
        read = {row[ENTRY_ID]: row for row in asking.reader.rows("BY_ENTRIES", {"ids": ids_text(chunk)})}
        yield from (read[id_] for id_ in chunk if id_ in read)


def noted(matches: Iterable[Match], note: Callable[[str], None]) -> Iterator[Match]:
    """Yield the matches, and report each store that cannot be read and answers with its last entries (docs/resolution.md)."""
    seen: set[int] = set()
    for match in matches:
        if match.state in _STALE and match.store_id not in seen:
            seen.add(match.store_id)
            note(_stale_note(match.store, match.state, match.state_since))
        yield match


def _stale_note(store: str, state: str, since: int) -> str:
    """Return the note for a store that has not been readable since `since`, in milliseconds since 1970, UTC."""
    from catalog.names.moment import rfc3339

    return f"store {shown(store)} has been {state} since {rfc3339(since)}: using its last entries"


def narrowed(matches: Iterable[Match], narrowing: Narrowing) -> Iterator[Match]:
    """Yield the matches that pass, or the referrers that replace them."""
    return (found for match in matches for found in narrowing(match))


def in_order(matches: Iterable[Match], key: str, fields: tuple[str, ...], limit: int | None = None) -> list[Match]:
    """Return the matches sorted by one of `fields`, in reverse if `key` begins with `-`. `size` means the size of the whole image.

    With `limit`, only the first `limit` matches are returned and kept in memory. Raises UsageError for any other key.
    """
    field = sort_field(key, fields)

    def value(match: Match) -> tuple[bool, object]:
        found = match.value(field)
        return found is not None, found if found is not None else 0

    is_reverse = key.startswith("-")
    if limit is None:
        # With `key=value`, `sorted` would request all values after the last match was read, too late for blocks.py.
        valued = sorted([(value(match), match) for match in matches], key=_first, reverse=is_reverse)
        return [match for _, match in valued]
    import heapq

    return (heapq.nlargest if is_reverse else heapq.nsmallest)(limit, matches, key=value)


def _first(valued: tuple[tuple[bool, Any], Match]) -> tuple[bool, Any]:
    return valued[0]


def sort_field(key: str, fields: tuple[str, ...]) -> str:
    """Return the field that `--sort KEY` means. Raises UsageError if lists cannot be sorted by it."""
    field = key.removeprefix("-")
    if field == "size":
        field = "total_size"  # users mean the image, not its manifest
    if field not in fields or field in ("names", "annotations", "platforms", "labels"):
        from catalog.names.nearest import did_you_mean

        raise UsageError(
            f"cannot sort by {shown(key)}: {did_you_mean(field, fields)}use a key of the output such as name, tag or size, or '-size' for reverse order"
        )
    return field


def of_content(reader: Reader, matches: Iterable[Match], *, labels: bool = True) -> Iterator[Match]:
    """Yield the matches, after reading the facts about their images (with `labels`, also their labels) for many matches at once."""
    from catalog.lookup.blocks import Blocks

    return Blocks(reader, _content_of, labels=labels).learned(matches)


def _content_of(match: Match) -> tuple[int, int | None, int]:
    row = match.row
    return row[STORE_ID], row[CONTENT_ID], row[CONTENT_KIND]


def limited(matches: Iterable[Match], limit: int) -> Iterator[Match]:
    """Yield the first `limit` matches."""
    if limit <= 0:
        return
    for number, match in enumerate(matches, 1):
        yield match
        if number >= limit:
            return
