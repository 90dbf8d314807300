"""A Datasette plugin for the page of one store: its state, names, latest changes and problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from datasette import Request, Response, hookimpl
from datasette.app import Datasette
from markupsafe import Markup

from catalog.browse.cells import render_cell, safe, size_of
from catalog.browse.description import DATABASE, STORE

ROWS = 100
"""How many rows of each kind the page shows."""

_HEAD = """SELECT name, state, error, path, entries, naming, prefix, priority, root, changed_at, indexed_at, host
FROM stores WHERE name = :name"""
_SIZE = """SELECT count(*) AS blobs, sum(size) AS size, sum(CASE WHEN NOT reachable THEN size END) AS unreferenced
FROM blobs WHERE store = :name"""
_UNJUDGED = "SELECT subject, reason FROM unjudged WHERE store = :name"


class _Section(NamedTuple):
    """Rows of a view: `name` is the view, `sql` selects its rows for the store `:name`."""

    name: str
    title: str
    sql: str


_SECTIONS = (
    _Section(
        "problems", "Problems", "SELECT kind, subject, detail FROM problems WHERE store = :name ORDER BY kind, subject"
    ),
    _Section(
        "images",
        "Names",
        "SELECT name, tag, platforms, digest, total_size AS size, since FROM images WHERE store = :name ORDER BY name, tag",
    ),
    _Section(
        "unnamed",
        "Entries without a name",
        "SELECT digest, platforms, size FROM unnamed WHERE store = :name ORDER BY digest",
    ),
    _Section(
        "history",
        "Latest changes",
        "SELECT since, until, name, tag, digest FROM history WHERE store = :name ORDER BY since DESC, name, tag",
    ),
)
_NUMBERS = ("size", "entries")


@hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
def register_routes() -> list[tuple[str, Callable[..., Any]]]:
    """Return the address of the page."""
    return [(rf"^{STORE}$", _store)]


async def _store(datasette: Datasette, request: Request) -> Response:
    name = request.args.get("name") or ""
    database = datasette.get_database(DATABASE)

    async def rows(sql: str, limit: int) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = (await database.execute(f"{sql} LIMIT {limit}", {"name": name})).rows
        return found

    stores = await rows(_HEAD, 1)
    shown: dict[str, Any] = {"title": safe(name), "database": DATABASE, "numbers": _NUMBERS, "head": [], "sections": []}
    if stores:
        size = (await rows(_SIZE, 1))[0]
        facts: list[tuple[str, Markup | str]] = [
            (key.replace("_", " "), _shown(key, stores[0][key])) for key in stores[0].keys()  # noqa: SIM118 - iterating gives values
            if key != "name" and stores[0][key] not in (None, "")
        ]  # fmt: skip
        facts.append(("blobs", Markup("{}, {}").format(f"{size['blobs']:,}", size_of(size["size"] or 0))))
        unjudged = await rows(_UNJUDGED, 1)
        if unjudged:
            facts.append(
                (
                    "unreferenced",
                    safe(f"not known: {unjudged[0]['subject']} {unjudged[0]['reason']}".replace("  ", " ")),
                )
            )
        else:
            facts.append(("unreferenced", size_of(size["unreferenced"] or 0)))
        shown["head"] = facts
        shown["sections"] = [_section(each, name, await rows(each.sql, ROWS + 1)) for each in _SECTIONS]
    text = await datasette.render_template("ocicat-store.html", shown, request=request)
    return Response.html(text, status=200 if stores else 404)


def _section(section: _Section, name: str, rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    columns = list(rows[0].keys()) if rows else []
    return {
        "name": section.name,
        "title": section.title,
        "columns": columns,
        "rows": [[_shown(column, row[column]) for column in columns] for row in rows[:ROWS]],
        "is_more": len(rows) > ROWS,
        "all": f"/{DATABASE}/{section.name}?{urlencode({'store__exact': name})}",
    }


def _shown(column: str, value: object) -> Markup | str:
    if value is None:
        return ""
    shown: Markup | str | None = render_cell(value, column, "page", DATABASE)
    if shown is None:
        shown = f"{value:,}" if isinstance(value, int) else str(value)
    return shown
