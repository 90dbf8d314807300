"""The error page: a Datasette plugin that replaces Datasette's own error page, which prints tracebacks on stdout."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from datasette import Request, Response, hookimpl
from datasette.app import Datasette
from datasette.database import QueryInterrupted
from datasette.utils.asgi import Base400
from datasette.views.base import DatasetteError
from markupsafe import Markup

from catalog.browse.description import STYLE

_INTERRUPTED = "SQL Interrupted"
"""Datasette's title for a statement that took too long. Its text names a setting that `ocicat browse` does not have."""

_INVALID = "A parameter in the address has an invalid value."


class ErrorPage:
    """Makes error pages. Unexpected exceptions are also passed to `defect`."""

    __name__ = __name__  # Datasette identifies a plugin by this name

    def __init__(self, defect: Callable[[Exception], object]) -> None:
        self._defect = defect

    @hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
    def handle_exception(
        self, datasette: Datasette, request: Request, exception: Exception
    ) -> Callable[[], Awaitable[Response]]:
        """Return a function that makes the response to a request that failed."""

        async def answer() -> Response:
            shown = self._shown(exception, has_parameters=bool(request.query_string) or request.path.endswith(".csv"))
            if request.path.endswith(".json"):
                return Response.json({**shown, "ok": False}, status=shown["status"])
            template = datasette.jinja_env.get_template("error.html")
            page = {
                "urls": datasette.urls,
                "app_css_hash": datasette.app_css_hash(),
                "extra_css_urls": [{"url": STYLE}],
                "menu_links": list,
            }
            return Response.html(await template.render_async({**shown, **page}), status=shown["status"])

        return answer

    def _shown(self, exception: Exception, *, has_parameters: bool) -> dict[str, Any]:
        if isinstance(exception, QueryInterrupted) or getattr(exception, "title", None) == _INTERRUPTED:
            return {
                "status": 400,
                "title": "Too slow",
                "error": "The statement took longer than its time limit: narrow it, or use 'ocicat sql --timeout'.",
            }
        if isinstance(exception, DatasetteError):
            message = Markup(exception.message) if exception.message_is_html else exception.message  # noqa: S704 - its own
            # 500 is Datasette's default, also for a column that does not exist. All DatasetteErrors are the request's fault.
            status = 400 if exception.status == 500 else exception.status
            return {"status": status, "title": exception.title, "error": message}
        if isinstance(exception, Base400):
            message = str(exception.args[0]) if exception.args else ""
            return {"status": exception.status, "title": None, "error": message}
        if isinstance(exception, ValueError | OverflowError):  # raised for _next=x, and for numbers over 64 bits
            return {
                "status": 400,
                "title": "Invalid request",
                "error": _INVALID,
            }
        if has_parameters and _is_of_datasette(exception):
            return {"status": 400, "title": "Invalid request", "error": _INVALID}
        self._defect(exception)
        return {
            "status": 500,
            "title": None,
            "error": "This is a bug in ocicat: the terminal in which ocicat browse runs shows the details.",
        }


def _is_of_datasette(exception: Exception) -> bool:
    """Return whether Datasette's own code raised `exception` because a parameter was malformed.

    Datasette expects parameters as its own pages write them. It raises TypeError or KeyError for others, for example for
    `_through=1` or for CSV without a statement.
    """
    trace = exception.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return isinstance(exception, TypeError | LookupError | AttributeError | AssertionError) and name.startswith(
        "datasette"
    )
