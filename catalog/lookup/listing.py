"""List many matches: all entries, or those that pass filters, sorted and limited, with notes about their stores."""

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
    """Yield every entry that may pass `narrowing`, found by the index of its narrowest filter."""
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
    """Yield the matches, and note each store that cannot be read and answers with its last entries (docs/resolution.md)."""
    seen: set[int] = set()
    for match in matches:
        if match.state in ("invalid", "unreadable") and match.store_id not in seen:
            seen.add(match.store_id)
            note(_stale_note(match.store, match.state, match.state_since))
        yield match


def _stale_note(store: str, state: str, since: int) -> str:
    """Return the note for a store that cannot be read since `since`, milliseconds since 1970, UTC."""
    from catalog.names.moment import rfc3339

    return f"store {shown(store)} has been {state} since {rfc3339(since)}: using its last entries"


def narrowed(matches: Iterable[Match], narrowing: Narrowing) -> Iterator[Match]:
    """Yield the matches that pass, or the referrers that stand for them."""
    return (found for match in matches for found in narrowing(match))


def in_order(matches: Iterable[Match], key: str, fields: tuple[str, ...]) -> list[Match]:
    """Return the matches sorted by one of `fields`, in reverse if `key` begins with `-`. `size` is that of the whole image.

    Raises UsageError for any other key.
    """
    field = key.removeprefix("-")
    if field == "size":
        field = "total_size"  # people mean the image, not its manifest
    if field not in fields or field in ("names", "annotations", "platforms", "labels"):
        raise UsageError(
            f"cannot sort by {shown(key)}: use a key of the output such as name, tag or size, or '-size' for reverse order"
        )

    def value(match: Match) -> tuple[bool, object]:
        found = match.value(field)
        return found is not None, found if found is not None else 0

    return sorted(matches, key=value, reverse=key.startswith("-"))


def limited(matches: Iterable[Match], limit: int) -> Iterator[Match]:
    """Yield the first `limit` matches."""
    if limit <= 0:
        return
    for number, match in enumerate(matches, 1):
        yield match
        if number >= limit:
            return
