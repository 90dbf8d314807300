"""The spans of names (`history`), and answers for times before the catalog kept everything that `--at` needs.

A span records which digest a name or tag of a store had, from when until when, while the store existed under one name. A match
that is made from a span has null for all values that a span does not have.
"""

from __future__ import annotations

import os
import time

from catalog.engine.moments import mended_labels
from catalog.errors import UnknownStore, UsageError
from catalog.lookup.match import COLUMNS, Match
from catalog.lookup.stores import image_behind, place_of, store_ids
from catalog.names import query as kinds
from catalog.names.digest import is_docker_digest
from catalog.names.escape import shown
from catalog.names.moment import rfc3339
from catalog.names.paths import encode_path
from catalog.names.pattern import Glob, has_wildcard, name_globs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from catalog.engine.interface import Reader
    from catalog.lookup.changes import Change
    from catalog.names.query import Query

_DEEPEST = 64
"""How many prefixes of a path are tried, the longest first, to find a store that is gone."""

_HELD = ("store", "path", "name", "names", "repository", "tag", "digest", "fallback")

SPAN_FIELDS = ("since", "until", "store", "path", "name", "repository", "tag", "digest", "origin")
"""The keys of a JSON object of `history`, in order."""


class Span:
    """A name of a store had `digest` from `since` until `until` (None if it still has it), in milliseconds since 1970, UTC.

    `store` is the name of the store at that time. `origin` is None if ocicat saw the span, and `olareg` if the layout itself
    records it. `began` and `ended` are moments: 0 for before the first moment, None if the span has not ended.
    """

    __slots__ = (
        "began", "digest", "ended", "host_id", "name", "origin", "path", "path_bytes", "priority", "repository", "since",
        "store", "store_id", "tag", "until",
    )  # fmt: skip

    def __init__(self, row: tuple[Any, ...]) -> None:
        (
            self.store_id, self.store, self.path, self.path_bytes, self.priority, self.repository, self.tag, self.name,
            self.digest, self.since, self.until, self.origin, self.began, self.ended, self.host_id,
        ) = row  # fmt: skip

    def __repr__(self) -> str:
        times = f"{rfc3339(self.since)!r}, {rfc3339(self.until)!r}"
        return f"Span({self.store!r}, {self.name or self.tag!r}, {self.digest!r}, {times})"

    def value(self, field: str) -> object:
        """Return the value of one of SPAN_FIELDS, as in JSON."""
        found = getattr(self, field)
        return rfc3339(found) if field in ("since", "until") else found

    def as_object(self) -> dict[str, object]:
        """Return all fields, as in JSON."""
        return {field: self.value(field) for field in SPAN_FIELDS}


class PastMatch(Match):
    """A match that is made from a span, for a time at which the name had the digest of the span."""

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
        super().__init__(reader, tuple(held.get(column) for column in COLUMNS))

    def lookup_keys(self) -> list[tuple[str | None, str | None, str | None]]:
        """Return the one key of the span, as (repository, tag, name)."""
        return [(self.row[COLUMNS.index("repository")], self.tag, self.name)]

    def value(self, field: str) -> object:
        """Return the value of a field, or None for a field that a span does not have."""
        return super().value(field) if field in _HELD else None


def spans(reader: Reader, query: Query | None) -> Iterator[Span]:
    """Yield the spans of the names or tags that `query` matches, the oldest first, or all spans if `query` is None.

    Raises UnknownStore, and UsageError for a form other than a name, a tag, a pattern or `oci-layout://` without a digest.
    """
    return _by_todays_clock(reader, _spans(reader, query))


def _spans(reader: Reader, query: Query | None) -> Iterator[Span]:
    if query is None:
        yield from map(Span, reader.rows("SPANS", {}))
    elif query.kind == kinds.OCI_LAYOUT and query.digest is None:
        image, is_it = _store_of(reader, query)
        tag = query.tag or "latest"
        if image is None:
            found = reader.rows("SPANS_BY_TAG", {"tag": tag})
        else:
            found = reader.rows("SPANS_BY_NAME", {"name": f"{image}:{tag}"})
        yield from (span for span in map(Span, found) if is_it(span))
    elif query.kind == kinds.NAME:
        yield from map(Span, reader.rows("SPANS_BY_NAME", {"name": query.name}))
    elif query.kind == kinds.TAG:
        yield from map(Span, reader.rows("SPANS_BY_TAG", {"tag": query.tag}))
    elif query.kind == kinds.TAG_PATTERN:
        glob = Glob(query.tag or "")
        bounds = glob.bounds()
        found = reader.rows("SPANS", {}) if bounds is None else reader.rows("SPANS_BY_TAG_RANGE", bounds)
        yield from (span for span in map(Span, found) if glob.matches(span.tag))
    elif query.kind == kinds.PATTERN:
        yield from _by_pattern(reader, query)
    else:
        raise UsageError(
            f"{shown(query.text)} cannot be looked up in history: give a name, ':TAG', a pattern, a digest without a name, or"
            " oci-layout://STORE[:TAG]"
        )


def spans_of_digest(reader: Reader, digest: str) -> Iterator[Span]:
    """Yield the spans of the names that pointed to `digest`, or to a digest that begins with it, the oldest first."""
    asked = [digest]
    if not is_docker_digest(digest):
        from catalog.lookup.content import in_prefix

        asked = [found for found, _ in in_prefix(reader, digest)]
    found = [[Span(row) for row in reader.rows("SPANS_BY_DIGEST", {"digest": digest})] for digest in asked]
    several = found[0] if len(found) == 1 else sorted((span for some in found for span in some), key=lambda s: s.since)
    return _by_todays_clock(reader, iter(several))


def in_stores(reader: Reader, texts: tuple[str, ...]) -> Callable[[Span | Change], bool]:
    """Return a function that tests whether a span or change belongs to a store that `--store` selects.

    `texts` are names that the store had at the time of the span or change, paths, or globs. Raises UnknownStore for a text that
    matches no store, present or past.
    """
    tests = [_is_of(reader, text) for text in texts]
    return lambda span: any(test(span) for test in tests)


def at(reader: Reader, query: Query | None, moment: int, stores: frozenset[int] | None) -> Iterator[Match]:
    """Yield the matches of `query` at the time `moment` (milliseconds since 1970, UTC), before the catalog's first moment, from spans.

    `stores` are the ids of the stores that may answer, or None for all stores.
    """
    for span in _spans(reader, query):
        held = not span.began and span.since <= moment and (span.until is None or moment < span.until)
        if held and (stores is None or span.store_id in stores):
            yield PastMatch(reader, span)


def _by_todays_clock(reader: Reader, found: Iterable[Span]) -> Iterator[Span]:
    """Yield the spans, with corrected times if the clock was wrong when the last changes were recorded."""
    now = time.time_ns() // 1_000_000
    mended: dict[int, dict[int, int]] = {
        host: labels
        for (host,) in list(reader.select("SELECT id FROM host", {}))
        if (labels := mended_labels(reader, host, now)) is not None
    }
    for span in found:
        labels = mended.get(span.host_id)
        if labels is not None:
            span.since = labels.get(span.began, span.since)
            span.until = span.until if span.ended is None else labels.get(span.ended, span.until)
        yield span


def _store_of(reader: Reader, query: Query) -> tuple[str | None, Callable[[Span], bool]]:
    """Return the image that follows the store in a query, or None, and a function that tests whether a span belongs to that store.

    A store that no longer exists is found by a name or path that it had.
    """
    text = query.place or ""
    try:
        place = place_of(reader, query)
    except UnknownStore:
        if text[:1] in ("/", "."):
            text = os.path.abspath(text)
        ends = [len(text), *(at for at in range(len(text) - 1, 0, -1) if text[at] == "/")][:_DEEPEST]
        for end in ends:
            was_there = _had_store(reader, text[:end])
            if was_there is not None:
                return image_behind(query, text[end + 1 :]), was_there
        raise
    if text[:1] in ("/", "."):
        return place.image, lambda span: span.path == place.path
    return place.image, lambda span: span.store == place.name


def _had_store(reader: Reader, text: str) -> Callable[[Span], bool] | None:
    """Return a function that tests whether a span belongs to the store that had the name or absolute path `text`.

    Return None if no store had it.
    """
    if text[0] == "/":
        path = encode_path(text)[0]
        return (lambda span: span.path == path) if _had_path(reader, path) else None
    return (lambda span: span.store == text) if _had_name(reader, text) else None


def _had_name(reader: Reader, text: str) -> bool:
    return next(reader.select("SELECT 1 FROM store_span WHERE name = :text LIMIT 1", {"text": text}), None) is not None


def _is_of(reader: Reader, text: str) -> Callable[[Span | Change], bool]:
    if text[:1] in ("/", "."):
        path = encode_path(os.path.abspath(text))[0]
        ids = store_ids(reader, (text,)) if not _had_path(reader, path) else frozenset[int]()
        return lambda span: span.path == path or span.store_id in ids
    if _had_name(reader, text):
        return lambda span: span.store == text
    if has_wildcard(text):
        glob = Glob(text)
        known = list(reader.select("SELECT DISTINCT name FROM store_span", {}))
        if any(glob.matches(row[0]) for row in known):
            return lambda span: glob.matches(span.store)
    ids = store_ids(reader, (text,))
    return lambda span: span.store_id in ids


def _had_path(reader: Reader, path: str) -> bool:
    return next(reader.select("SELECT 1 FROM store_span WHERE path = :path LIMIT 1", {"path": path}), None) is not None


def _by_pattern(reader: Reader, query: Query) -> Iterator[Span]:
    found: dict[tuple[object, ...], Span] = {}
    for glob in name_globs(query.text):
        bounds = glob.bounds()
        rows = reader.rows("SPANS", {}) if bounds is None else reader.rows("SPANS_BY_NAME_RANGE", bounds)
        for span in map(Span, rows):
            if span.name is not None and glob.matches(span.name):
                found.setdefault((span.store_id, span.repository, span.tag, span.since, span.began, span.origin), span)
    yield from sorted(found.values(), key=lambda span: (span.since, span.priority, span.store, span.name, span.tag))


_numbers: dict[tuple[object, ...], int] = {}


def _number(span: Span) -> int:
    """Return a negative number that identifies the span. It differs from the id of every entry, and equal spans have equal numbers."""
    return -_numbers.setdefault((span.store_id, span.repository, span.tag, span.since), len(_numbers) + 1)
