"""The metadata of the catalog for Datasette, from the same source as docs/sql.md and docs/reports.md.

These texts are ocicat's own, but they are escaped in HTML nevertheless. Links are relative to the root of the server.
"""

from __future__ import annotations

import html
from typing import Any

from catalog._version import __version__
from catalog.browse.questions import QUESTIONS, WHERE, PageQuestion
from catalog.db.view import View
from catalog.db.views import VIEWS
from catalog.reports.definition import Report
from catalog.reports.reports import REPORTS

DATABASE = "catalog"
"""The name of the catalog in addresses."""

PLOTS = "/-/plots"
"""The address of the page of plots."""

STYLE, SCRIPT = "/-/ocicat.css", "/-/ocicat.js"
"""The addresses of the style sheet and of the script of all pages."""

FOUND, IMAGE, STORE = "/-/find", "/-/image", "/-/store"
"""The addresses of the pages of search results, of one image (`ref`) and of one store (`name`)."""

FACETS: dict[str, tuple[str, ...]] = {
    "stores": ("state", "root", "naming"),
    "images": ("store", "media_type", "artifact_type", "shadowed"),
    "unnamed": ("store", "media_type"),
    "manifests": ("kind", "platform", "artifact_type"),
    "platforms": ("platform",),
    "layers": ("media_type",),
    "blobs": ("store", "is_good"),
    "labels": ("key",),
    "unjudged": ("reason",),
    "missing": ("store", "role"),
    "annotations": ("key", "origin"),
    "referrers": ("how", "artifact_type"),
    "history": ("store", "origin"),
    "snapshots": ("store",),
    "problems": ("kind", "store"),
}
"""The columns that each view has as default facets: those with few values that need not be computed for each row."""

SEARCH = f"""<form class="ocicat" action="{FOUND}" method="get" role="search">
<p><label for="text">Any part of a name, tag or store</label> <input type="search" id="text" name="text">
<input type="submit" value="Find"></p></form>
<form class="ocicat" action="/{DATABASE}/{WHERE}" method="get">
<p><label for="digest">A digest</label> <input type="search" id="digest" name="digest">
<input type="submit" value="Look up"></p></form>"""
"""The two search forms, on the first page and on the page of all queries and views."""


def metadata() -> dict[str, Any]:
    """Return the metadata of the whole server."""
    return {
        "title": "ocicat",
        "about": f"ocicat {__version__}, read-only",
        "databases": {
            DATABASE: {
                "description_html": SEARCH,
                "tables": {view.name: _view(view) for view in VIEWS},
                "queries": {question.name: _question(question) for question in QUESTIONS},
            }
        },
    }


def _view(view: View) -> dict[str, Any]:
    return {
        "description": f"{view.sentence[:1].upper()}{view.sentence[1:]}.",
        "columns": {name: documentation for name, _, documentation in view.columns},
        "facets": list(FACETS[view.name]),
    }


def _question(question: PageQuestion) -> dict[str, Any]:
    text = f"<p>{html.escape(question.sentence)}</p>"
    for report in REPORTS:
        if question.name == f"report-{report.name}":
            text += _columns(report)
    return {
        "sql": question.sql,
        "params": list(question.parameters),
        "title": question.title,
        "description": question.sentence,
        "description_html": text,
        "hide_sql": True,
    }


def _columns(report: Report) -> str:
    parameters = [(f":{each.name}", f"{each.documentation} (default: {each.default})") for each in report.parameters]
    columns = [(each.name, f"{each.documentation}{' (bytes)' if each.is_size else ''}") for each in report.columns]
    rows = "".join(f"<dt>{html.escape(a)}</dt><dd>{html.escape(b)}</dd>" for a, b in (*parameters, *columns))
    return f'<dl class="column-descriptions">{rows}</dl>'
