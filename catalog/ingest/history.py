"""The past that a layout tells of itself, beside what ocicat saw (catalog.layout.history).

Spans of both kinds stand in `name_span`; `origin` tells them apart. They never overlap: from the time on at which a store
was first taken, what ocicat saw is what counts, and what the layout tells of that time is left out. What it tells of the time
before is replaced when its `index.json` changes, row by row where it differs.
"""

from __future__ import annotations

from catalog.ingest.rows import Rows
from catalog.layout.history import Told
from catalog.names.keys import derive_keys

ORIGIN = "olareg"

_HAD = (
    "SELECT name_span.id, name_span.tag, content.digest, since, until, name_span.name FROM name_span"
    " JOIN content ON content.id = name_span.content_id WHERE store_id = ? AND origin IS NOT NULL"
)


def tell(rows: Rows, store_id: int, repository: str | None, spans: list[Told], first_at: int) -> None:
    """Let the told spans of a store be `spans`, as far as they lie before `first_at` (milliseconds).

    `repository` is what the store's naming policy gives a bare tag, since that is what a tag of a history is.
    """
    wanted: dict[tuple[object, ...], Told] = {}
    for span in spans:
        until = first_at if span.until is None else min(span.until, first_at)
        keys, _ = derive_keys(span.tag, None, span.digest, repository)
        if keys and span.since < until:
            wanted[span.tag, span.digest, span.since, until, keys[0].name] = span._replace(until=until)
    for span_id, *said in rows.cursor.execute(_HAD, (store_id,)).fetchall():
        if wanted.pop(tuple(said), None) is None:
            rows.cursor.execute("DELETE FROM name_span WHERE id = ?", (span_id,))
    for (*_, name), span in wanted.items():
        repository_id = None if repository is None else rows.repository(repository)
        content_id = rows.content(span.digest)
        rows.span((store_id, repository_id, span.tag, name, content_id, span.since, span.until), ORIGIN)


def retell(rows: Rows, store_id: int, repository: str | None) -> None:
    """Name the told spans of a store anew, after its naming policy or the rules changed."""
    had = rows.cursor.execute(_HAD, (store_id,)).fetchall()
    tell(rows, store_id, repository, [Told(*row[1:5]) for row in had], max((row[4] for row in had), default=0))
