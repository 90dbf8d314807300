"""A Datasette plugin for the page of plots: how the number of entries grew, and how much the stores share.

The plots are drawn here, as SVG, because no plotting plugin is maintained well enough, and none may load anything from the
network (docs/decisions/0008-browse.md). Like all pages, this one reads only the public views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datasette import Request, Response, hookimpl
from datasette.app import Datasette
from datasette.database import QueryInterrupted
from markupsafe import Markup

from catalog.browse.description import DATABASE, PLOTS
from catalog.browse.drawing import NARROW, WIDE, Bar, Day, bars, line
from catalog.names.escape import escape
from catalog.reports.reports import REPORTS

STORES = 25
"""How many stores are drawn, the largest first."""

DAYS = 366
"""How many days with a change are drawn: the latest ones."""

_NOW = "SELECT coalesce(sum(entries), 0) AS entries FROM stores WHERE state <> 'missing'"
_CHANGES = """SELECT substr(at, 1, 10) AS day, sum(added) - sum(removed) AS more
FROM snapshots WHERE store IN (SELECT name FROM stores WHERE state <> 'missing')
GROUP BY substr(at, 1, 10) ORDER BY day DESC"""
_USAGE = next(report.statement() for report in REPORTS if report.name == "usage")

_PAGE = """{% extends "base.html" %}
{% block title %}ocicat: plots{% endblock %}
{% block content %}
<h1>Plots</h1>
<h2 id="growth">Growth: entries of all stores, on each day with a change</h2>
<div class="plot-box">{{ growth }}</div>
<p>As far back as history is kept. The numbers: <a href="/{{ database }}/report-growth">report growth</a>.</p>
<h2 id="sharing">Sharing: what each store holds, largest first</h2>
<div class="plot-box">{{ sharing }}</div>
<p>Bytes of blobs that no other store holds, and of blobs that other stores hold, too. The numbers:
<a href="/{{ database }}/report-usage">report usage</a>, <a href="/{{ database }}/report-shared">report shared</a>.</p>
{% endblock %}"""


@hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
def register_routes() -> list[tuple[str, Callable[..., Any]]]:
    """Return the address of the page."""
    return [(rf"^{PLOTS}$", _plots)]


@hookimpl  # type: ignore[untyped-decorator]
def menu_links() -> list[dict[str, str]]:
    """Return the link in the menu of every page."""
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
        return Markup(await draw(datasette))  # noqa: S704 - drawing.py escapes all text
    except QueryInterrupted:
        return Markup("<p>Computing this took longer than --timeout allows.</p>")


async def _growth(datasette: Datasette) -> str:
    database = datasette.get_database(DATABASE)
    entries = (await database.execute(_NOW)).rows[0]["entries"]
    days: list[Day] = []
    for row in (await database.execute(_CHANGES)).rows[
        :DAYS
    ]:  # backwards from now, so that missing history does not matter
        days.append(Day(row["day"], max(0, entries)))
        entries -= row["more"]
    if not days:
        return "<p>The history contains no change yet.</p>"
    return "".join(line(days[::-1], "entries by day", shape) for shape in (WIDE, NARROW))


async def _sharing(datasette: Datasette) -> str:
    rows = (await datasette.get_database(DATABASE).execute(_USAGE)).rows[:STORES]
    drawn = [Bar(escape(row["store"]), row["unique"], row["shared"]) for row in rows]
    if not drawn:
        return "<p>There is no store yet.</p>"
    parts = "in no other store", "also in other stores"
    return "".join(bars(drawn, "bytes by store", parts, shape) for shape in (WIDE, NARROW))
