"""The types of an ASGI application (asgi.readthedocs.io, "HTTP Connection Scope")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def values(scope: Scope, header: bytes) -> list[bytes]:
    """Return the values of a header, whose name is given in lower case, in the order of the request."""
    return [value for name, value in scope["headers"] if name == header]
