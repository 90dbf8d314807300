"""The past of names: what they answered at a time (`--at`), and their spans (`history`).

History is by name and tag alone: a span says which digest a name of a store answered, from when until
when. What it does not hold is null.
"""

from __future__ import annotations

from catalog.errors import UsageError
from catalog.lookup import frozen
from catalog.lookup.match import Match, rfc3339
from catalog.lookup.stores import place_of
from catalog.names import query as kinds
from catalog.names.escape import shown
from catalog.names.pattern import Glob, name_globs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from catalog.lookup.reader import Reader
    from catalog.names.query import Query

_HELD = ("store", "path", "name", "names", "repository", "tag", "digest", "fallback")

SPAN_FIELDS = ("since", "until", "store", "path", "name", "repository", "tag", "digest", "origin")
"""The keys of an object of `history`, in order."""


class Span:
    """A name of a store answered `digest` from `since` until `until` (None: it still does); milliseconds, UTC.

    `origin` is None for what ocicat saw, and `olareg` for what the layout itself tells of its past.
    """

    __slots__ = (
        "digest", "name", "origin", "path", "path_bytes", "priority", "repository", "since", "store", "store_id", "tag",
        "until",
    )  # fmt: skip

    def __init__(self, row: tuple[Any, ...]) -> None:
        (
            self.store_id, self.store, self.path, self.path_bytes, self.priority, self.repository,
            self.tag, self.name, self.digest, self.since, self.until, self.origin,
        ) = row  # fmt: skip

    def value(self, field: str) -> object:
        """The value of one of SPAN_FIELDS, as JSON has it."""
        found = getattr(self, field)
        return rfc3339(found) if field in ("since", "until") else found


class PastMatch(Match):
    """What answered at a time, in the shape of a match."""

    __slots__ = ()

    def __init__(self, reader: Reader, span: Span) -> None:
        held: dict[str, object] = {
            "entry_id": _number(span),
            "store_id": span.store_id,
            "priority": span.priority,
            "store": span.store,
            "path": span.path,
            "path_bytes": span.path_bytes,
            "name": span.name,
            "repository": span.repository,
            "tag": span.tag,
            "digest": span.digest,
        }
        super().__init__(reader, tuple(held.get(column) for column in frozen.COLUMNS))

    def lookup_keys(self) -> list[tuple[str | None, str | None, str | None]]:
        """The one key by which it answered."""
        return [(self.row[frozen.COLUMNS.index("repository")], self.tag, self.name)]

    def value(self, field: str) -> object:
        """The value of a field, null where history does not hold it."""
        return super().value(field) if field in _HELD else None


def spans(reader: Reader, query: Query | None) -> Iterator[Span]:
    """The spans of what `query` names, the oldest first; of everything where it is None.

    Raises UsageError for a form that says more than a name or a tag, UnknownStore.
    """
    if query is None:
        yield from map(Span, reader.rows(frozen.SPANS, {}))
    elif query.kind == kinds.OCI_LAYOUT and query.digest is None:
        place = place_of(reader, query)
        tag = query.tag or "latest"
        if place.image is None:
            found = reader.rows(frozen.SPANS_BY_TAG, {"tag": tag})
        else:
            found = reader.rows(frozen.SPANS_BY_NAME, {"name": f"{place.image}:{tag}"})
        yield from (span for span in map(Span, found) if span.store_id == place.store_id)
    elif query.kind == kinds.NAME:
        yield from map(Span, reader.rows(frozen.SPANS_BY_NAME, {"name": query.name}))
    elif query.kind == kinds.TAG:
        yield from map(Span, reader.rows(frozen.SPANS_BY_TAG, {"tag": query.tag}))
    elif query.kind == kinds.TAG_PATTERN:
        glob = Glob(query.tag or "")
        bounds = glob.bounds()
        found = reader.rows(frozen.SPANS, {}) if bounds is None else reader.rows(frozen.SPANS_BY_TAG_RANGE, bounds)
        yield from (span for span in map(Span, found) if glob.matches(span.tag))
    elif query.kind == kinds.PATTERN:
        yield from _by_pattern(reader, query)
    else:
        raise UsageError(
            f"{shown(query.text)}: history is kept by name and tag: ask for a name, ':TAG' or a pattern of them"
        )


def spans_of_digest(reader: Reader, digest: str) -> Iterator[Span]:
    """The names that pointed to a digest, and when, the oldest first."""
    return map(Span, reader.rows(frozen.SPANS_BY_DIGEST, {"digest": digest}))


def at(reader: Reader, query: Query | None, moment: int, stores: frozenset[int] | None) -> Iterator[Match]:
    """What `query` matched at `moment` (milliseconds, UTC), in those stores alone where there are some."""
    for span in spans(reader, query):
        held = span.since <= moment and (span.until is None or moment < span.until)
        if held and (stores is None or span.store_id in stores):
            yield PastMatch(reader, span)


def _by_pattern(reader: Reader, query: Query) -> Iterator[Span]:
    found: dict[int, Span] = {}
    for glob in name_globs(query.text):
        bounds = glob.bounds()
        rows = reader.rows(frozen.SPANS, {}) if bounds is None else reader.rows(frozen.SPANS_BY_NAME_RANGE, bounds)
        for span in map(Span, rows):
            if span.name is not None and glob.matches(span.name):
                found.setdefault(_number(span), span)
    yield from sorted(found.values(), key=lambda span: (span.since, span.priority, span.store, span.name, span.tag))


_numbers: dict[tuple[object, ...], int] = {}


def _number(span: Span) -> int:
    """A number of the span's own, below zero: no entry has it, and the same span has the same one whatever found it."""
    return -_numbers.setdefault((span.store_id, span.repository, span.tag, span.since), len(_numbers) + 1)
