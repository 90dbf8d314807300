"""Manifests that were served a moment ago, so that repeated requests for a tag need neither a query nor a hash.

A response is reused only until somebody commits to the catalog, so a tag is never staler than the catalog. After a second, the file
is read again, so that a store that has vanished is noticed. Nothing is kept for a catalog on a server.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from catalog.engine.open import open_commits
from catalog.serve.answers import Response, messages_of
from catalog.web.asgi import Message

_SECONDS = 1.0
_BYTES = 16 << 20
_LARGEST = 256 << 10
_MOST = 4096

State = tuple[int, int]
Key = tuple[str, str | None]
"""The path of a request, and the registry of its parameter `ns`."""


class Served(NamedTuple):
    """A response with its messages and entity tag, and when the file was read, by the monotonic clock."""

    response: Response
    messages: tuple[Message, Message]
    etag: bytes
    at: float


class RecentManifests:
    """The recent responses, keyed by request. Only the thread of the connections may use it."""

    def __init__(self, path: str) -> None:
        self._commits = open_commits(path)
        self._state: State | None = None
        self._is_known = False
        self._served: dict[Key, Served] = {}
        self._bytes = 0

    def state(self) -> State | None:
        """Return the state of the catalog before a question, for `keep`, or None if nothing can be kept.

        The state is read once for all requests that arrived together, because none of them arrived after it was read.
        """
        if self._is_known:
            return self._state
        self._is_known = True
        asyncio.get_running_loop().call_soon(self._ask_again)
        state = None if self._commits is None else self._commits.state()
        if state != self._state:
            self._forget()
            self._state = state
        return state

    def find(self, asked: Key) -> Served | None:
        """Return the response that was given a moment ago, if the catalog has not changed since; else None."""
        found = self._served.get(asked)
        if found is None or time.monotonic() - found.at > _SECONDS or self.state() is None:
            return None
        return self._served.get(asked)

    def keep(self, asked: Key, response: Response, etag: bytes, state: State | None) -> None:
        """Keep the response to a question that was asked in this state of the catalog."""
        size = len(response.body)
        if state is None or state != self._state or size > _LARGEST:
            return
        if self._bytes + size > _BYTES or len(self._served) >= _MOST:
            self._forget()
        self._served[asked] = Served(response, messages_of(response), etag, time.monotonic())
        self._bytes += size

    def _ask_again(self) -> None:
        self._is_known = False

    def _forget(self) -> None:
        self._served.clear()
        self._bytes = 0
