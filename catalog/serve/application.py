"""The ASGI application: it checks every request, and passes it to the part of the server that answers it.

Nothing can be changed here, so only GET and HEAD are answered. Nothing is ever redirected. An unexpected exception is
passed to `defect`, and the client gets a 500.
"""

from __future__ import annotations

import asyncio
import functools
import urllib.parse
from collections.abc import Callable, Container

from catalog.serve.answers import TEXT, Response, give, refusal
from catalog.serve.counts import Counts, endpoint_of
from catalog.serve.distribution import Distribution
from catalog.serve.programs import Programs
from catalog.web.asgi import Message, Receive, Scope, Send
from catalog.web.callers import is_of_this_site, names_this_server

_QUERY_BYTES = 8 << 10
_PATH_BYTES = 4 << 10
_PARAMETERS = 64
_HEADERS = 100
_HEADER_BYTES = 32 << 10
_CLIENTS = 64
"""How many different sets of request headers are remembered with the result of their check. Clients send the same set each time."""
_ALLOW = ((b"allow", b"GET, HEAD"), (b"connection", b"close"))
_FIRST_PAGE = Response(
    200, TEXT, b"This is a read-only registry of ocicat: pull from /v2/, or see /api/openapi.json for programs.\n"
)


class Site:
    """The application. `names` are the Host headers that are allowed besides addresses; None for a socket that no browser reaches."""

    def __init__(
        self,
        distribution: Distribution,
        programs: Programs,
        counts: Counts,
        names: Container[str] | None,
        defect: Callable[[Exception], object],
    ) -> None:
        self._distribution = distribution
        self._programs = programs
        self._counts = counts
        self._names = names
        self._defect = defect
        self._refused_for = functools.lru_cache(_CLIENTS)(self._refused_for_headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - no request body is read
        """Answer an ASGI request."""
        if scope["type"] != "http":
            return
        refused = self._refused(scope)
        if refused is None and not scope["query_string"]:
            recent = self._distribution.recent(scope)
            if recent is not None:
                self._counts.answered("manifests", 200)
                for message in recent:
                    await send(message)
                return
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._answer(scope, noted, refused)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the last line of defence: a user never sees a traceback
            self._defect(error)
            if not status:
                await give(
                    noted, refusal(500, "UNKNOWN", "this is a bug in ocicat: the log of the server has the details")
                )
        finally:
            self._counts.answered(endpoint_of(scope["path"]), status)

    def _refused(self, scope: Scope) -> Response | None:
        """Return the refusal of a request, or None if it is to be answered."""
        if scope["method"] not in ("GET", "HEAD"):
            return refusal(405, "UNSUPPORTED", "this registry can only be read: layouts are written as files", _ALLOW)
        refused = self._refused_for(tuple(scope["headers"]))
        if refused is not None:
            return refused
        query: bytes = scope["query_string"]
        if len(query) > _QUERY_BYTES or len(scope["path"]) > _PATH_BYTES or query.count(b"&") >= _PARAMETERS:
            return refusal(414, "UNSUPPORTED", "the address is too long")
        return None

    def _refused_for_headers(self, headers: tuple[tuple[bytes, bytes], ...]) -> Response | None:
        """Return the refusal of a request because of its headers, or None if they are allowed."""
        if len(headers) > _HEADERS or sum([len(name) + len(value) for name, value in headers]) > _HEADER_BYTES:
            return refusal(431, "UNSUPPORTED", "the request has too many headers", _ALLOW[1:])
        scope: Scope = {"headers": headers}
        if self._names is not None and not names_this_server(scope, self._names):
            return refusal(421, "DENIED", "unrecognised Host header: see --host in 'ocicat help serve'")
        if not is_of_this_site(scope):
            return refusal(403, "DENIED", "a page of another site sent this request")
        return None

    async def _answer(self, scope: Scope, send: Send, refused: Response | None) -> None:
        path: str = scope["path"]
        query: bytes = scope["query_string"]
        parameters = (
            urllib.parse.parse_qs(query.decode("latin-1"), keep_blank_values=True) if query and not refused else {}
        )
        if refused is not None:
            await give(send, refused)
        elif path == "/v2" or path.startswith("/v2/"):
            await self._distribution.answer(scope, send, parameters)
        elif path == "/":
            await give(send, _FIRST_PAGE)
        else:
            await self._programs.answer(scope, send, parameters)
