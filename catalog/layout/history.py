"""Read the history that a layout records itself: olareg writes it at the top level of `index.json`.

`"org.olareg.history"` (olareg, types/layout.go) maps each tag to a list, the oldest entry first. Each entry has `time`
(RFC 3339), `descriptor`, and `deleted` if the tag was removed then. This data is not trusted: unusable parts are left out
and counted, and the order of the list counts more than the times, because clocks are sometimes set back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from catalog.layout.descriptor import bad_digest
from catalog.layout.stream import HISTORY, Problem
from catalog.layout.text import clean, loads
from catalog.names.moment import milliseconds
from catalog.names.reference import is_tag

MAX_SPANS = 10_000
"""The maximum number of spans that are kept per layout. The newest are kept."""


class Told(NamedTuple):
    """A recorded span: `tag` pointed to `digest` from `since` until `until`, in milliseconds since 1970, UTC.

    `until` is None if the tag still points to it.
    """

    tag: str
    digest: str
    since: int
    until: int | None


def told_spans(raw: bytes) -> tuple[list[Told], list[Problem]]:
    """Return the spans recorded in the JSON value `raw`, ordered by tag and time, and the problems found in it."""
    try:
        tags = loads(raw) if raw else {}
    except ValueError as error:
        return [], [Problem("bad-history", HISTORY, f"not JSON: {error}")]
    if not isinstance(tags, dict):
        return [], [] if tags is None else [Problem("bad-history", HISTORY, "is not an object")]
    spans: list[Told] = []
    unusable = 0
    for tag, entries in tags.items():
        if not is_tag(tag) or not isinstance(entries, list):
            unusable += 1
            continue
        usable = [entry for entry in map(_entry, entries) if entry is not None]
        unusable += len(entries) - len(usable)
        spans += _spans(tag, usable)
    problems = [Problem("bad-history", HISTORY, f"{unusable} of its parts are unusable")] if unusable else []
    if len(spans) > MAX_SPANS:
        problems.append(Problem("bad-history", HISTORY, f"{len(spans)} spans: only the newest {MAX_SPANS} are kept"))
        spans.sort(key=lambda span: (math.inf if span.until is None else span.until, span.since), reverse=True)
        del spans[MAX_SPANS:]
    return sorted(spans, key=lambda span: (span.tag, span.since)), problems


def _entry(found: Any) -> tuple[int, str | None] | None:
    """Return the time and the digest of a history entry, with the digest None if the tag was removed, or None if the entry is unusable."""
    if not isinstance(found, dict) or not isinstance(found.get("time"), str):
        return None
    at = milliseconds(clean(found["time"]))
    if at is None:
        return None
    if found.get("deleted") is True:
        return at, None
    descriptor = found.get("descriptor")
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    return (at, digest) if isinstance(digest, str) and not bad_digest(digest) else None


def _spans(tag: str, entries: list[tuple[int, str | None]]) -> Iterator[Told]:
    """Yield the spans between the entries of one tag. An entry that repeats the digest does not begin a new span."""
    digest: str | None = None
    since = now = -(1 << 63)
    for at, other in entries:
        now = max(now, at)
        if other == digest:
            continue
        if digest is not None and since < now:
            yield Told(tag, digest, since, now)
        digest, since = other, now
    if digest is not None:
        yield Told(tag, digest, since, None)
