"""The process: listens, says where, answers until a signal ends it.

The socket is ours and listens before the address is printed, so that whoever reads the address can connect to it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import threading
import warnings
import webbrowser
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from datasette import handle_exception
from datasette.app import Datasette
from datasette.plugins import pm

from catalog.browse import cells, home, plots
from catalog.browse.database import PUBLIC, THREADS, ViewsDatabase
from catalog.browse.description import DATABASE, PLOTS, STYLE, metadata
from catalog.browse.error_page import ErrorPage
from catalog.browse.middleware import Middleware
from catalog.browse.questions import QUESTIONS
from catalog.errors import CatalogUnavailable, UsageError
from catalog.names.escape import shown
from catalog.names.http_host import is_address
from catalog.reports.workers import Workers

_BACKLOG = 128
_FACET_MS = 500
_PAGES = "|".join(re.escape(name) for name in (*PUBLIC, *(question.name for question in QUESTIONS)))
ADDRESSES = re.compile(
    rf"/|/favicon\.ico|{PLOTS}|{STYLE}|/-/static/[\w./-]+|/-/(?:databases|versions|settings)(?:\.json)?"
    rf"|/{DATABASE}(?:\.json|\.csv)?|/{DATABASE}/(?:{_PAGES})(?:\.json|\.csv)?",
    re.ASCII,
)
"""All that is answered: our pages, what they load, and of Datasette's own three that say what runs here."""
_MORE_SECONDS = 5.0
"""A page may take so much longer than a statement."""
_END_SECONDS = 2  # so long an answer that is on its way may take when a signal came


class _ReadOnly(Datasette):  # type: ignore[misc]  # Datasette has no types
    """Datasette that asks nobody what tables there are: it knows the views."""

    async def refresh_schemas(self) -> None:
        """Nothing changes."""

    async def permission_allowed(self, actor: Any, action: str, resource: Any = None, default: Any = False) -> Any:
        """Whether something may be done: a view may be seen where it is a public one, in just that spelling."""
        if action == "view-table":
            return resource is not None and resource[1] in PUBLIC
        return await super().permission_allowed(actor, action, resource, default)


def application(
    path: str, host: str, timeout: float, workers: Workers, defect: Callable[[Exception], object]
) -> Middleware:
    """The catalog at `path` as an application of ASGI; a statement, in one of `workers`, ends after `timeout` seconds.

    `defect` is told of what nobody thought of; whoever asked sees a page that says so.
    """
    for plugin, _ in pm.list_plugin_distinfo():
        pm.unregister(plugin)  # others of this environment: who knows what they write or show
    pm.unregister(handle_exception)
    for ours in (cells, home, plots, ErrorPage(defect)):
        pm.register(ours)
    datasette = _ReadOnly(
        metadata=metadata(),
        settings={
            "sql_time_limit_ms": max(1, round(timeout * 1000)),
            "facet_time_limit_ms": _FACET_MS,
            "num_sql_threads": THREADS,
            "suggest_facets": False,  # it would count by every column, at each page
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


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; raises UsageError for a host that is none, CatalogUnavailable where it cannot."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"no host to listen at: {shown(host)}: write --host 127.0.0.1, say") from error
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CatalogUnavailable(
            f"cannot listen at {shown(host)} port {port} ({reason}): give another --port, 0 for a free one"
        ) from error
    return listening


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    host = str(listening.getsockname()[0])
    return host == "::1" or host.startswith("127.")


def url_of(listening: socket.socket, host: str) -> str:
    """The address of the first page. Where it listens at every address, the one of this machine's own."""
    bound, port = listening.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, bound) if is_address(host) or not host else host  # noqa: S104
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def serve(
    asked: Middleware, listening: socket.socket, url: str, workers: Workers, opened: Callable[[bool], None] | None
) -> None:
    """Print `url` and answer until SIGINT or SIGTERM; `opened`, if given, is called with whether a browser was found.

    What is still being worked out then is given two seconds, and the processes of its statements are killed.
    """
    # Datasette leaves coroutines behind where a page fails halfway; nobody at the terminal can do anything about it.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    config = uvicorn.Config(
        asked,
        log_level="critical",  # what goes wrong is told by door.py and trouble.py
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=_END_SECONDS,
    )
    server = uvicorn.Server(config)

    def end(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn has handlers of its own while it serves, and afterwards raises what it met once more, for these.
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        if opened is not None:
            threading.Thread(target=lambda: opened(_open(url)), daemon=True).start()
        server.run(sockets=[listening])
    finally:
        workers.close()
        for number, handler in before.items():
            signal.signal(number, handler)
        listening.close()


def _open(url: str) -> bool:
    with contextlib.suppress(webbrowser.Error):
        return webbrowser.open(url)
    return False
