"""A Datasette plugin for the first page, and for the style and script of all pages.

It replaces Datasette's own first page, which counts tables, because the catalog shows none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasette import Request, Response, hookimpl
from datasette.app import Datasette
from datasette.database import QueryInterrupted
from markupsafe import Markup

from catalog.browse.cells import render_cell
from catalog.browse.description import DATABASE, PLOTS, SCRIPT, SEARCH, STYLE
from catalog.browse.questions import QUESTIONS
from catalog.db.views import VIEWS
from catalog.names.age import ago
from catalog.names.escape import escape
from catalog.watch.status import read_daemon, why_late

PAGES = os.path.join(os.path.dirname(__file__), "pages")
"""The directory of the templates."""
_PROBLEMS = 10_000
"""The largest number of problems that _COUNT counts."""
_MS = 1_000
"""How many milliseconds a statement of the first page may take. Other sites may link to this page, so it must not cost much."""

_STATES = "SELECT state, count(*) AS stores, sum(entries) AS entries, max(changed_at) AS changed, sum(pending) AS pending FROM stores GROUP BY state ORDER BY state"
_COUNT = "SELECT count(*) AS problems FROM (SELECT 1 FROM problems LIMIT 10000)"
_LATEST = "SELECT since, store, coalesce(name, ':' || tag) AS name, digest FROM history ORDER BY since DESC LIMIT 10"


@hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
def register_routes() -> list[tuple[str, Callable[..., Any]]]:
    """Return the addresses of the first page, the style sheet and the script. They take precedence over Datasette's own."""
    return [(r"^/$", _home), (rf"^{STYLE}$", _style), (rf"^{SCRIPT}$", _script)]


@hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
def extra_css_urls() -> list[str]:
    """Return the style sheet that every page loads."""
    return [STYLE]


@hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
def extra_js_urls() -> list[str]:
    """Return the script that every page loads."""
    return [SCRIPT]


async def _home(datasette: Datasette, request: Request) -> Response:
    shown = {
        "search": Markup(SEARCH),  # noqa: S704 - a constant
        "plots": PLOTS,
        "database": DATABASE,
        "questions": QUESTIONS,
        "views": VIEWS,
        "state": await _state(datasette),
        "changes": await _latest(datasette),
        "daemon": _daemon(datasette),
    }
    return Response.html(await datasette.render_template("ocicat-home.html", shown, request=request))


async def _state(datasette: Datasette) -> dict[str, Any]:
    database = datasette.get_database(DATABASE)
    states = (await database.execute(_STATES, custom_time_limit=_MS)).rows
    problems = (await database.execute(_COUNT, custom_time_limit=_MS)).rows[0]["problems"]
    changed = max((row["changed"] for row in states if row["changed"]), default=None)
    return {
        "stores": sum(row["stores"] for row in states),
        "entries": sum(row["entries"] or 0 for row in states if row["state"] != "missing"),
        "pending": sum(row["pending"] or 0 for row in states if row["state"] != "missing"),
        "troubled": [row for row in states if row["state"] not in ("ok", "empty")],
        "problems": problems,
        "problems_more": problems == _PROBLEMS,
        "changed": changed,
        "changed_ago": changed and ago(changed, time.time()),
    }


async def _latest(datasette: Datasette) -> list[dict[str, Any]]:
    """Return the latest changes, or an empty list if finding them takes too long."""
    try:
        rows = (await datasette.get_database(DATABASE).execute(_LATEST, custom_time_limit=_MS)).rows
    except QueryInterrupted:
        return []
    return [
        {key: render_cell(row[key], key, "page", DATABASE) or row[key] or "" for key in row.keys()} for row in rows  # noqa: SIM118
    ]  # fmt: skip


def _daemon(datasette: Datasette) -> str | None:
    """Return a sentence about the daemon of this machine, or None if there is no daemon."""
    database = datasette.get_database(DATABASE)
    published = read_daemon(database.catalog)
    if published is None:
        return None
    late = why_late(published)
    return "The daemon follows the layouts." if late is None else f"The daemon is late: {escape(late)}."


async def _style() -> Response:
    return Response(_text("ocicat.css"), content_type="text/css; charset=utf-8")


async def _script() -> Response:
    return Response(_text("ocicat.js"), content_type="text/javascript; charset=utf-8")


def _text(name: str) -> str:
    return Path(PAGES, name).read_text(encoding="utf-8")
