"""A Datasette plugin for the first page and the style of all pages.

It replaces Datasette's own first page, which counts tables, because the catalog shows none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datasette import Request, Response, hookimpl
from datasette.app import Datasette
from markupsafe import Markup

from catalog.browse.description import DATABASE, PLOTS, SEARCH, STYLE
from catalog.browse.questions import QUESTIONS
from catalog.db.views import VIEWS

_CSS = """
form.ocicat label { display: inline-block; width: 14em; }
form.ocicat input[type=search] { width: 32em; max-width: 100%; }
dl.column-descriptions { display: grid; grid-template-columns: max-content auto; column-gap: 1em;
  max-height: 9em; overflow: auto; border: 1px solid #ddd; padding: 0.5em; }
dl.column-descriptions dd { margin: 0; }
dl.ocicat { display: grid; grid-template-columns: max-content auto; column-gap: 1em; } dl.ocicat dd { margin: 0 0 0.3em; }
table.rows-and-columns td.col-relation, table.rows-and-columns td[class*="since"] { white-space: nowrap; }
svg.plot { max-width: 900px; width: 100%; font: 12px sans-serif; }
svg.plot .first { fill: #2a6fb0; } svg.plot .second { fill: #e0a030; }
svg.plot .grid { stroke: #ddd; } svg.plot .tip { fill: transparent; }
"""

_PAGE = """{% extends "base.html" %}
{% block title %}ocicat{% endblock %}
{% block content %}
<h1>ocicat</h1>
{{ search }}
<p><a href="{{ plots }}">Plots</a> of growth and sharing. <a href="/{{ database }}">Your own SQL</a>.</p>
<h2>Questions</h2>
<dl class="ocicat">{% for each in questions %}
<dt><a href="/{{ database }}/{{ each.name }}">{{ each.title }}</a></dt><dd>{{ each.sentence }}</dd>{% endfor %}</dl>
<h2>Views</h2>
<dl class="ocicat">{% for each in views %}
<dt><a href="/{{ database }}/{{ each.name }}">{{ each.name }}</a></dt><dd>{{ each.sentence }}</dd>{% endfor %}</dl>
{% endblock %}"""


@hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
def register_routes() -> list[tuple[str, Callable[..., Any]]]:
    """Return the addresses of the first page and of the style sheet. They take precedence over Datasette's own."""
    return [(r"^/$", _home), (rf"^{STYLE}$", _style)]


@hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
def extra_css_urls() -> list[str]:
    """Return the style sheet that every page loads."""
    return [STYLE]


async def _home(datasette: Datasette, request: Request) -> Response:
    shown = {
        "search": Markup(SEARCH),  # noqa: S704 - a constant
        "plots": PLOTS,
        "database": DATABASE,
        "questions": QUESTIONS,
        "views": VIEWS,
    }
    return Response.html(
        await datasette.render_template(datasette.jinja_env.from_string(_PAGE), shown, request=request)
    )


async def _style() -> Response:
    return Response(_CSS, content_type="text/css; charset=utf-8")
