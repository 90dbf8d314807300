"""What a request meets first: who may ask at all, and what a browser may do with the answer.

A web page from elsewhere can send its visitors' browsers here, and by DNS rebinding, a name of its own that comes to mean
this machine, read the answers too. It cannot choose the Host header, which keeps its name: so only those are let in that
are an address, `localhost`, or the name that we were told to listen at. Only GET and HEAD pass, since nothing here is
changed. The policy in each answer keeps a page from loading anything from the network, whatever a name in it says.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    b" object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)


_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/?#@\s]+))(?::[0-9]*)?")

asked_path: ContextVar[str] = ContextVar("asked_path", default="")
"""The path of the request that is being answered."""


class Door:
    """Lets pass to `application` what is a question and comes to one of our own names; `host` is the one listened at.

    `defect` is told of what the application lets fall; whoever asked is told that something went wrong.
    """

    def __init__(self, application: Application, host: str, defect: Callable[[Exception], object]) -> None:
        self._application = application
        self._defect = defect
        self._names = {"localhost", host.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of ASGI, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] != "websocket":
                await self._application(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _refuse(send, 405, "Nothing can be changed here: only GET and HEAD are answered.")
        elif not self._is_ours([value for name, value in scope["headers"] if name == b"host"]):
            await _refuse(send, 421, "This is not asked for by a name of its own: see --host in docs/browse.md.")
        else:
            asked_path.set(scope["path"])
            await self._pass(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        try:
            await self._application(scope, receive, with_headers)
        except asyncio.CancelledError:  # a signal came, and the statement took longer than it was given to end
            if not begun:
                await _refuse(send, 503, "ocicat browse was ended.")
        except Exception as error:  # noqa: BLE001 - the last line of defence: a user never sees a traceback
            self._defect(error)
            if not begun:
                await _refuse(send, 500, "This is a defect of ocicat: where it runs stands more.")

    def _is_ours(self, hosts: list[bytes]) -> bool:
        if len(hosts) != 1:
            return False
        host = host_of(hosts[0].decode("latin-1"))
        return host in self._names or is_address(host)


def host_of(text: str) -> str:
    """The host of a Host header, without its port and in lower case; empty where it is no host (RFC 3986, section 3.2.2)."""
    found = _HOST.fullmatch(text)
    return (found[1] or found[2]).lower() if found else ""


def is_address(host: str) -> bool:
    """Whether `host` is an IP address, which no name server had a say in."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _refuse(send: Send, status: int, text: str) -> None:
    body = f"{text}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
