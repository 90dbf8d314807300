"""The history that a layout records about itself (catalog.layout.history), as opposed to the history that ocicat saw.

Spans of both kinds are in `name_span`, and `origin` distinguishes them. They never overlap: from the time at which a store was
first read, only the spans that ocicat saw count, and the layout's spans are cut off there. The layout's spans before that time are
updated row by row when its `index.json` changes.
"""

from __future__ import annotations

from typing import NamedTuple

from catalog.ingest.records import NameSpanRow
from catalog.ingest.rows import Rows
from catalog.layout.history import Told
from catalog.names.keys import derive_keys

ORIGIN = "olareg"

_STORED = (
    "SELECT name_span.id, name_span.tag, content.digest, since, until, name_span.name FROM name_span"
    " JOIN content ON content.id = name_span.content_id WHERE store_id = ? AND origin IS NOT NULL"
)


class _Span(NamedTuple):
    tag: str
    digest: str
    since: int
    until: int
    name: str | None


def tell(rows: Rows, store_id: int, repository: str | None, spans: list[Told], first_at: int) -> None:
    """Replace the spans recorded by a store's layout by `spans`, cut off at `first_at` (milliseconds since 1970).

    `repository` is the one that the store's naming policy gives to a bare tag, because a layout's history contains bare tags.
    """
    wanted: dict[_Span, None] = {}
    for told in spans:
        until = first_at if told.until is None else min(told.until, first_at)
        keys, _ = derive_keys(told.tag, None, told.digest, repository)
        if keys and told.since < until:
            wanted[_Span(told.tag, told.digest, told.since, until, keys[0].name)] = None
    for span_id, *columns in rows.cursor.execute(_STORED, (store_id,)).fetchall():
        stored = _Span(*columns)
        if stored in wanted:
            del wanted[stored]
        else:
            rows.cursor.execute("DELETE FROM name_span WHERE id = ?", (span_id,))
    for span in wanted:
        repository_id = None if repository is None else rows.repository(repository)
        content_id = rows.content(span.digest)
        rows.span(NameSpanRow(store_id, repository_id, span.tag, span.name, content_id, span.since, span.until, ORIGIN))


def retell(rows: Rows, store_id: int, repository: str | None) -> None:
    """Derive the names of the layout's spans again, after the naming policy or the rules changed."""
    stored = [_Span(*columns) for _, *columns in rows.cursor.execute(_STORED, (store_id,)).fetchall()]
    spans = [Told(span.tag, span.digest, span.since, span.until) for span in stored]
    tell(rows, store_id, repository, spans, max((span.until for span in stored), default=0))
