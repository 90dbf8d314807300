"""A Datasette plugin that links a cell with a digest, a name or a store to the page about it.

Cells hold untrusted text. The text of a link is escaped twice: first its unprintable characters, as on a terminal, so that no
name can reverse a line or look like another name, and then for HTML.
"""

from __future__ import annotations

from urllib.parse import urlencode

from datasette import hookimpl
from markupsafe import Markup

from catalog.browse.description import DATABASE
from catalog.browse.questions import PAST, WHERE
from catalog.names.digest import is_digest
from catalog.names.escape import escape

_NO_DIGESTS = frozenset({"chain", "value", "beginning", "detail"})
_CHARACTERS = 2048
"""How much of a value a page shows. JSON and CSV contain all of it."""
_BYTES = 32
_NAMES = frozenset({"name", "base_name", "image_name"})


@hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
def render_cell(value: object, column: str, table: str | None, database: str) -> Markup | str | None:
    """Return the HTML of a cell, or None to let Datasette render it."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes: {value[:_BYTES].hex()}{'…' if len(value) > _BYTES else ''}"
    if not isinstance(value, str) or not value or database != DATABASE:
        return None
    path = _path(value, column, table)
    if path is not None:
        # urlencode cannot fail on a lone surrogate here, because the catalog is UTF-8 and contains none.
        return Markup('<a href="{}">{}</a>').format(f"/{DATABASE}/{path[0]}?{urlencode(path[1])}", _safe(value))
    safe = _safe(value)
    return safe if safe != value else None


def _path(value: str, column: str, table: str | None) -> tuple[str, dict[str, str]] | None:
    if column not in _NO_DIGESTS and is_digest(value) and value.startswith("sha"):
        return WHERE, {"digest": value}
    if column == "store":
        return "stores", {"name__exact": value}
    if table == "stores" and column == "name":
        return "images", {"store__exact": value}
    if column in _NAMES and table != "images":
        return (
            ("images", {"name__exact": value}) if "/" in value else (PAST, {"name": value})
        )  # without a slash it is a tag
    if column in ("name", "tag"):
        return PAST, {"name": value}
    if column in ("repository", "familiar"):
        return "images", {f"{column}__exact": value}
    return None


def _safe(value: str) -> str:
    shown = value if len(value) <= _CHARACTERS else value[:_CHARACTERS]
    return (shown if shown.isprintable() else escape(shown)) + ("" if shown is value else "…")
