"""The page that says what went wrong. A plugin of Datasette's, in the place of its own, which prints tracebacks on stdout."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from datasette import Request, Response, hookimpl
from datasette.app import Datasette
from datasette.database import QueryInterrupted
from datasette.utils.asgi import Base400
from datasette.views.base import DatasetteError
from markupsafe import Markup


class ErrorPage:
    """Tells `defect` of what nobody thought of; everything else is for the page alone."""

    __name__ = __name__  # by which Datasette knows a plugin

    def __init__(self, defect: Callable[[Exception], object]) -> None:
        self._defect = defect

    @hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
    def handle_exception(
        self, datasette: Datasette, request: Request, exception: Exception
    ) -> Callable[[], Awaitable[Response]]:
        """Makes the answer to a request that failed."""

        async def answer() -> Response:
            shown = self._shown(exception, has_parameters=bool(request.query_string) or request.path.endswith(".csv"))
            if request.path.endswith(".json"):
                return Response.json({**shown, "ok": False}, status=shown["status"])
            template = datasette.jinja_env.get_template("error.html")
            page = {"urls": datasette.urls, "app_css_hash": datasette.app_css_hash(), "menu_links": list}
            return Response.html(await template.render_async({**shown, **page}), status=shown["status"])

        return answer

    def _shown(self, exception: Exception, *, has_parameters: bool) -> dict[str, Any]:
        if isinstance(exception, DatasetteError):
            message = Markup(exception.message) if exception.message_is_html else exception.message  # noqa: S704 - its own
            # Datasette says 500 where it says nothing: of a column that is none, say. All of these are on purpose.
            status = 400 if exception.status == 500 else exception.status
            return {"status": status, "title": exception.title, "error": message}
        if isinstance(exception, Base400):
            message = str(exception.args[0]) if exception.args else ""
            return {"status": exception.status, "title": None, "error": message}
        if isinstance(exception, QueryInterrupted):
            return {"status": 400, "title": "Not in time", "error": "The statement ran past its time limit: narrow it."}
        if isinstance(exception, ValueError | OverflowError):  # what it makes of _next=x, or of a number past 64 bits
            return {"status": 400, "title": "Not understood", "error": f"What is asked for cannot be read: {exception}"}
        if has_parameters and _is_of_datasette(exception):
            return {"status": 400, "title": "Not understood", "error": "A parameter of the address cannot be read."}
        self._defect(exception)
        return {"status": 500, "title": None, "error": "This is a defect of ocicat: where it runs stands more."}


def _is_of_datasette(exception: Exception) -> bool:
    """Whether Datasette's own code met it: it reads parameters as if all were as its pages write them.

    For `_through=1`, say, or CSV of no statement, it raises TypeError and KeyError.
    """
    trace = exception.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return isinstance(exception, TypeError | LookupError | AttributeError | AssertionError) and name.startswith(
        "datasette"
    )
