"""The page of plots: how the number of entries grew, and how much stores share. A plugin of Datasette's.

Drawn here, as SVG: no plugin that draws is kept well enough, and none may load anything from the network
(docs/decisions/0008-browse.md). Both read the public views, as everything in the browser does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datasette import Request, Response, hookimpl
from datasette.app import Datasette
from datasette.database import QueryInterrupted
from markupsafe import Markup

from catalog.browse.description import DATABASE, PLOTS
from catalog.browse.drawing import Bar, Day, bars, line
from catalog.names.escape import escape
from catalog.reports.reports import REPORTS

STORES = 25
"""The largest stores are drawn, so many of them."""

DAYS = 366
"""The last days with a change are drawn, so many of them."""

_NOW = "SELECT coalesce(sum(entries), 0) AS entries FROM stores WHERE state <> 'missing'"
_CHANGES = """SELECT substr(at, 1, 10) AS day, sum(added) - sum(removed) AS more
FROM snapshots WHERE store IN (SELECT name FROM stores WHERE state <> 'missing')
GROUP BY substr(at, 1, 10) ORDER BY day DESC"""
_USAGE = next(report.statement() for report in REPORTS if report.name == "usage")

_PAGE = """{% extends "base.html" %}
{% block title %}ocicat: plots{% endblock %}
{% block content %}
<h1>Plots</h1>
<h2 id="growth">Growth: entries of all stores, by day of a change</h2>
{{ growth }}
<p>As far back as history is kept; its numbers: <a href="/{{ database }}/report-growth">report growth</a>.</p>
<h2 id="sharing">Sharing: what each store holds, the largest first</h2>
{{ sharing }}
<p>Bytes of blobs that lie in no other store, and of those that do; its numbers:
<a href="/{{ database }}/report-usage">report usage</a>, <a href="/{{ database }}/report-shared">report shared</a>.</p>
{% endblock %}"""


@hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
def register_routes() -> list[tuple[str, Callable[..., Any]]]:
    """The page's address."""
    return [(rf"^{PLOTS}$", _plots)]


@hookimpl  # type: ignore[untyped-decorator]
def menu_links() -> list[dict[str, str]]:
    """The page in the menu of every page."""
    return [{"href": PLOTS, "label": "Plots"}]


async def _plots(datasette: Datasette, request: Request) -> Response:
    page = datasette.jinja_env.from_string(_PAGE)
    shown = {
        "database": DATABASE,
        "growth": await _drawn(_growth, datasette),
        "sharing": await _drawn(_sharing, datasette),
    }
    return Response.html(await datasette.render_template(page, shown, request=request))


async def _drawn(draw: Callable[[Datasette], Any], datasette: Datasette) -> Markup:
    try:
        return Markup(await draw(datasette))  # noqa: S704 - drawing.py escapes what it is given
    except QueryInterrupted:
        return Markup("<p>It took longer than --timeout to work out.</p>")


async def _growth(datasette: Datasette) -> str:
    database = datasette.get_database(DATABASE)
    entries = (await database.execute(_NOW)).rows[0]["entries"]
    days: list[Day] = []
    for row in (await database.execute(_CHANGES)).rows[:DAYS]:  # from now back, so that what history lacks is no matter
        days.append(Day(row["day"], max(0, entries)))
        entries -= row["more"]
    return line(days[::-1], "entries by day") if days else "<p>There is no change in the history.</p>"


async def _sharing(datasette: Datasette) -> str:
    rows = (await datasette.get_database(DATABASE).execute(_USAGE)).rows[:STORES]
    drawn = [Bar(escape(row["store"]), row["unique"], row["shared"]) for row in rows]
    return (
        bars(drawn, "bytes by store", ("in no other store", "in others too")) if drawn else "<p>There is no store.</p>"
    )
