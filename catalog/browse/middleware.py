"""Check where each request comes from and what it asks for, and restrict what a browser may do with the response.

A request must name this server in its Host header (catalog.web.callers says why). A request from another site is answered only
if a person follows a link to the first page.

Only GET and HEAD are allowed, because nothing can be changed here, and only known addresses: Datasette has more, for users who
log in or write. The content security policy in each response prevents a page from loading anything from the network, whatever
a name on the page contains.

A response is held back until it is complete, so that a failure halfway leads to an error page and not to half a page. A few
requests are answered at a time, each within a time limit; the others wait.
"""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable
from contextvars import ContextVar

from catalog.browse.page_time import PageTime, page_time
from catalog.browse.refusal import HEADERS, TOO_LONG, refusal
from catalog.names.age import in_seconds
from catalog.web.asgi import Application, Message, Receive, Scope, Send, values
from catalog.web.callers import is_of_this_site, names_this_server

_OF_LENGTH = (b"content-length", b"transfer-encoding")
_AT_ONCE = 4
_SEND_SECONDS = 60.0
_SEND_BYTES = 1 << 18
_QUERY_BYTES = 32 << 10
_PARAMETERS = 200

asked_path: ContextVar[str] = ContextVar("asked_path", default="")
"""The path of the request that is being answered."""


class Middleware:
    """Pass requests to `application` if they only read and name this server in their Host header; refuse all others.

    `host` is the address that the server listens on. `addresses` must match the whole path of a request. A request may take
    `seconds` at most, not counting how long its statements wait for a process. An exception that the application does not
    catch is passed to `defect`, and the client gets a 500.
    """

    def __init__(
        self,
        application: Application,
        host: str,
        addresses: re.Pattern[str],
        seconds: float,
        defect: Callable[[Exception], object],
    ) -> None:
        self._application = application
        self._addresses = addresses
        self._seconds = seconds
        self._defect = defect
        self._names = {"localhost", host.lower()}
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse an ASGI request, or pass it to the application."""
        if scope["type"] != "http":
            if scope["type"] != "websocket":
                await self._application(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _refuse(send, 405, "Nothing can be changed here: only GET and HEAD are answered.")
        elif not names_this_server(scope, self._names):
            await _refuse(send, 421, "Unrecognised Host header: see --host in 'ocicat help browse'.")
        elif not _is_of_this_site(scope):
            await _refuse_link(send, scope)
        elif not self._addresses.fullmatch(scope["path"]):
            await _refuse(send, 404, "There is no such page.")
        elif len(scope["query_string"]) > _QUERY_BYTES or scope["query_string"].count(b"&") >= _PARAMETERS:
            await _refuse(send, 414, TOO_LONG)
        else:
            asked_path.set(scope["path"])
            await self._pass(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer()
        try:
            async with self._at_once, asyncio.timeout(self._seconds) as limit:
                taken = PageTime(limit)
                page_time.set(taken)
                try:
                    await self._application(scope, receive, answer.take)
                finally:
                    taken.close()
        except TimeoutError:
            await _refuse(send, 400, f"This took longer than {in_seconds(self._seconds)}: ask for less.")
            return
        except asyncio.CancelledError:  # after a signal, the statement did not end within the grace time
            await _refuse(send, 503, "ocicat browse was stopped.")
            return
        except Exception as error:  # noqa: BLE001 - the last line of defence: a user never sees a traceback
            self._defect(error)
            await _refuse(
                send, 500, "This is a bug in ocicat: the terminal in which ocicat browse runs shows the details."
            )
            return
        async with asyncio.timeout(_SEND_SECONDS):  # for a client that does not read
            await answer.give(send)


class _Answer:
    """The application's response, held back. A second response is the error page for the first one, and replaces it."""

    def __init__(self) -> None:
        self._start: Message | None = None
        self._body: list[bytes] = []

    async def take(self, message: Message) -> None:
        """Collect an ASGI message."""
        if message["type"] == "http.response.start":
            self._start, self._body = message, []
        elif message["type"] == "http.response.body":
            self._body.append(message.get("body", b""))

    async def give(self, send: Send) -> None:
        """Send the whole response, with the headers that every response has."""
        if self._start is None:
            await _refuse(send, 404, "There is no such page.")
            return
        body = b"".join(self._body)
        headers = [(name, value) for name, value in self._start.get("headers", ()) if name.lower() not in _OF_LENGTH]
        headers += [(b"content-length", b"%d" % len(body)), *HEADERS]
        await send({"type": "http.response.start", "status": self._start["status"], "headers": headers})
        for at in range(0, len(body), _SEND_BYTES):
            await send({"type": "http.response.body", "body": body[at : at + _SEND_BYTES], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _is_of_this_site(scope: Scope) -> bool:
    """Return whether a request comes from one of ocicat's pages, from no page, or from a link to the first page.

    The first page costs little, so links to it are allowed from everywhere.
    """
    if is_of_this_site(scope):
        return True
    is_navigation = (
        values(scope, b"sec-fetch-site") != []
        and values(scope, b"sec-fetch-mode") == [b"navigate"]
        and values(scope, b"sec-fetch-dest") == [b"document"]
    )
    return is_navigation and scope["path"] == "/" and not scope["query_string"]


async def _refuse_link(send: Send, scope: Scope) -> None:
    """Refuse a request from another site, with a link that repeats the request from this site."""
    path = scope.get("raw_path") or b"/"
    address = path.decode("latin-1") + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
    link = html.escape(f"/{address.lstrip('/')}")  # not "//", which would be another host
    await _refuse(send, 403, f'Another site requested this page. <a href="{link}">Show it</a>')


async def _refuse(send: Send, status: int, text: str) -> None:
    """Send a page with one paragraph, `text` in HTML."""
    headers, body = refusal(text)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
