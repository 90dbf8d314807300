"""A Datasette plugin that links a cell with a digest, a name or a store to the page about it, and shows sizes in units.

Cells hold untrusted text. The text of a link is escaped twice: first its unprintable characters, as on a terminal, so that no
name can reverse a line or look like another name, and then for HTML.
"""

from __future__ import annotations

from urllib.parse import urlencode

from datasette import hookimpl
from markupsafe import Markup

from catalog.browse.description import DATABASE, IMAGE, STORE
from catalog.browse.questions import PAST
from catalog.names.digest import is_digest
from catalog.names.escape import escape
from catalog.names.sizes import counted, human

_NO_DIGESTS = frozenset({"chain", "value", "beginning", "detail"})
_CHARACTERS = 2048
"""How many characters of a value a page shows. JSON and CSV contain all of it."""
_BYTES = 32
_SHORT = 12
"""How many digits of a digest a page shows. The link and the copy button have all of them."""
_NAMES = frozenset({"name", "base_name", "image_name"})
_SIZES = frozenset(
    {"size", "total_size", "layers_size", "config_size", "apparent", "unique", "shared", "saves", "bytes"}
)


@hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
def render_cell(value: object, column: str, table: str | None, database: str) -> Markup | str | None:
    """Return the HTML of a cell, or None to let Datasette render it."""
    if isinstance(value, bytes):
        return f"{counted(len(value), 'byte')}: {value[:_BYTES].hex()}{'…' if len(value) > _BYTES else ''}"
    if database != DATABASE:
        return None
    if isinstance(value, int) and column in _SIZES:
        return size_of(value)
    if not isinstance(value, str) or not value:
        return None
    if column not in _NO_DIGESTS and is_digest(value) and value.startswith("sha"):
        return digest_of(value)
    path = _path(value, column, table)
    if path is not None:
        # urlencode cannot fail on a lone surrogate here, because the catalog is UTF-8 and contains none.
        return link(path[0], path[1], value)
    shown = safe(value)
    return shown if shown != value else None


def digest_of(digest: str) -> Markup:
    """Return the short form of a digest, linked to its page. A script adds a button that copies the whole digest."""
    algorithm, _, encoded = digest.partition(":")
    short = f"{algorithm}:{encoded[:_SHORT]}{'…' if len(encoded) > _SHORT else ''}"
    return Markup('<a class="digest" data-copy="{0}" title="{0}" href="{1}?{2}">{3}</a>').format(
        digest, IMAGE, urlencode({"ref": digest}), short
    )


def size_of(size: int) -> Markup:
    """Return a size in binary units, with the number of bytes as its title."""
    return Markup('<span data-sort="{0}" title="{1}">{2}</span>').format(size, counted(size, "byte"), human(size))


def link(address: str, parameters: dict[str, str], text: str) -> Markup:
    """Return a link with untrusted text."""
    return Markup('<a href="{}?{}">{}</a>').format(address, urlencode(parameters), safe(text))


def safe(value: str) -> str:
    """Return untrusted text with unprintable characters escaped, truncated if it is long."""
    shown = value if len(value) <= _CHARACTERS else value[:_CHARACTERS]
    return (shown if shown.isprintable() else escape(shown)) + ("" if shown is value else "…")


def _path(value: str, column: str, table: str | None) -> tuple[str, dict[str, str]] | None:
    if column == "store" or (table == "stores" and column == "name"):
        return STORE, {"name": value}
    if column in _NAMES and table != "images":
        # a name without a slash is a tag
        return (f"/{DATABASE}/images", {"name__exact": value}) if "/" in value else (_PAST, {"name": value})
    if column in ("name", "tag"):
        return _PAST, {"name": value}
    if column in ("repository", "familiar"):
        return f"/{DATABASE}/images", {f"{column}__exact": value}
    return None


_PAST = f"/{DATABASE}/{PAST}"
