"""Many answers: all entries or those of a filter, in an order, and what is noted beside them."""

from __future__ import annotations

from catalog.errors import UsageError
from catalog.lookup.match import Match
from catalog.names.escape import shown
from catalog.names.query import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from catalog.lookup.filters import Narrowing
    from catalog.lookup.resolve import Asking


def without_ref(asking: Asking, narrowing: Narrowing | None) -> Iterator[Match]:
    """Every entry, by the index of the narrowest filter."""
    reader, scope = asking.reader, asking.stores
    if asking.by_spans:
        return asking.past(None)
    found = None if narrowing is None else narrowing.without_ref()
    if isinstance(found, Query):
        return asking.matches(found)
    if found is not None:
        return noted((match for match in found if scope is None or match.store_id in scope), asking.note)
    stores = (row[0] for row in list(reader.rows("STORE_NAMES", {})) if scope is None or row[0] in scope)
    rows = (row for id_ in stores for row in reader.rows("STORE_ENTRIES", {"store_id": id_}))
    return noted((Match(reader, row) for row in rows), asking.note)


def noted(matches: Iterable[Match], note: Callable[[str], None]) -> Iterator[Match]:
    """The matches, and a line for each store that only says what it said last (docs/resolution.md)."""
    told: set[int] = set()
    for match in matches:
        if match.state in ("invalid", "unreadable") and match.store_id not in told:
            told.add(match.store_id)
            from catalog.names.moment import rfc3339

            since = rfc3339(match.state_since)
            note(f"store {shown(match.store)} is {match.state} since {since}: answers with what it last said")
        yield match


def narrowed(matches: Iterable[Match], narrowing: Narrowing) -> Iterator[Match]:
    """What passes of the matches."""
    return (found for match in matches for found in narrowing(match))


def in_order(matches: Iterable[Match], key: str, fields: tuple[str, ...]) -> list[Match]:
    """The matches sorted by one of `fields`, with a `-` before it in reverse; raises UsageError for any other key."""
    field = key.removeprefix("-")
    if field not in fields or field in ("names", "annotations", "platforms"):
        raise UsageError(
            f"no key to sort by: {shown(key)}: a key of an object, such as name, tag, size; '-size' turns it round"
        )

    def value(match: Match) -> tuple[bool, object]:
        found = match.value(field)
        return found is not None, found if found is not None else 0

    return sorted(matches, key=value, reverse=key.startswith("-"))


def limited(matches: Iterable[Match], limit: int) -> Iterator[Match]:
    """The first `limit` matches."""
    if limit <= 0:
        return
    for number, match in enumerate(matches, 1):
        yield match
        if number >= limit:
            return
