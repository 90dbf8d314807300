"""The server process of `ocicat browse`: it listens, prints its address, and answers until a signal ends it."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
import warnings
import webbrowser
from collections.abc import Callable
from typing import Any

import uvicorn
from datasette import handle_exception
from datasette.app import Datasette
from datasette.plugins import pm

from catalog.browse import cells, home, image, plots, store_page
from catalog.browse.connection import HEAD_BYTES, PageConnection
from catalog.browse.database import PUBLIC, THREADS, ViewsDatabase
from catalog.browse.description import DATABASE, FOUND, IMAGE, PLOTS, SCRIPT, STORE, STYLE, metadata
from catalog.browse.error_page import ErrorPage
from catalog.browse.home import PAGES
from catalog.browse.middleware import Middleware
from catalog.browse.questions import QUESTIONS
from catalog.reports.workers import Workers
from catalog.web.running import run

_FACET_MS = 500
_PAGES = "|".join(re.escape(name) for name in (*PUBLIC, *(question.name for question in QUESTIONS)))
ADDRESSES = re.compile(
    rf"/|/favicon\.ico|{PLOTS}|{STYLE}|{SCRIPT}|{FOUND}|{IMAGE}|{STORE}|/-/static/[\w./-]+|/-/(?:databases|versions|settings)(?:\.json)?"
    rf"|/{DATABASE}(?:\.json|\.csv)?|/{DATABASE}/(?:{_PAGES})(?:\.json|\.csv)?",
    re.ASCII,
)
"""All addresses that are answered: ocicat's pages, the files they load, and three of Datasette's that describe the server."""
_MORE_SECONDS = 5.0
"""How much longer a page may take than one statement."""
_END_SECONDS = 2  # how long unfinished responses may take after a signal


class _ReadOnly(Datasette):  # type: ignore[misc]  # Datasette has no types
    """Datasette with a fixed schema, the public views."""

    async def refresh_schemas(self) -> None:
        """Do nothing: the schema does not change."""

    async def permission_allowed(self, actor: Any, action: str, resource: Any = None, default: Any = False) -> Any:
        """Return whether `action` is allowed. A view may be seen if its name is exactly that of a public view."""
        if action == "view-table":
            return resource is not None and resource[1] in PUBLIC
        return await super().permission_allowed(actor, action, resource, default)


def application(
    path: str, host: str, timeout: float, workers: Workers, defect: Callable[[Exception], object]
) -> Middleware:
    """Return the ASGI application that shows the catalog at `path`. `host` is the value of --host.

    Statements run in `workers`, for at most `timeout` seconds each. An unexpected exception is passed to `defect`, and the
    client gets a page that says so.
    """
    for plugin, _ in pm.list_plugin_distinfo():
        pm.unregister(plugin)  # other plugins that are installed here might write or show anything
    pm.unregister(handle_exception)
    for ours in (cells, home, image, store_page, plots, ErrorPage(defect)):
        pm.register(ours)
    datasette = _ReadOnly(
        metadata=metadata(),
        template_dir=PAGES,
        settings={
            "sql_time_limit_ms": max(1, round(timeout * 1000)),
            "facet_time_limit_ms": _FACET_MS,
            "num_sql_threads": THREADS,
            "suggest_facets": False,  # to suggest facets, each page would count the values of every column
            "allow_download": False,
            "allow_csv_stream": False,
            "default_cache_ttl": 0,  # the catalog changes
            "cache_size_kb": 0,
        },
    )
    for name in list(datasette.databases):
        datasette.remove_database(name)
    datasette.add_database(ViewsDatabase(datasette, path, workers), name=DATABASE)
    return Middleware(datasette.app(), host, ADDRESSES, timeout + _MORE_SECONDS, defect)


def serve(
    middleware: Middleware, listening: socket.socket, url: str, workers: Workers, opened: Callable[[bool], None] | None
) -> None:
    """Print `url` and answer until SIGINT or SIGTERM. If `opened` is given, open a browser and call `opened` with whether one was found.

    After a signal, unfinished responses get _END_SECONDS; then the processes of their statements are killed.
    """
    # Datasette leaves coroutines behind if a page fails halfway. The user at the terminal cannot do anything about it.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    config = uvicorn.Config(
        middleware,
        http=PageConnection,
        h11_max_incomplete_event_size=HEAD_BYTES,
        log_level="critical",  # middleware.py and error_page.py report errors
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=_END_SECONDS,
    )
    server = uvicorn.Server(config)

    def ready() -> None:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        if opened is not None:
            threading.Thread(target=lambda: opened(_open(url)), daemon=True).start()

    try:
        run(server, [listening], ready)
    finally:
        workers.close()


def _open(url: str) -> bool:
    with contextlib.suppress(webbrowser.Error):
        return webbrowser.open(url)
    return False
