"""Limits on what a client may do with a connection, on top of uvicorn's protocol, which has none for headers and idle clients."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTIONS = 1024
"""How many connections may be open. Further ones are closed at once."""
HEAD_SECONDS = 10.0
"""How long a client may take to send the head of a request, counted from the connection or from the end of the last response."""
_HEAD_BYTES = 64 << 10
_PIPELINED = 16
"""How many requests may wait on one connection. A client that sends more is disconnected."""


class Connection(HttpToolsProtocol):
    """A connection of a client. The scope of each request has it as `ocicat.connection`."""

    most = CONNECTIONS
    _timer: asyncio.TimerHandle | None = None
    _head = 0
    _is_in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Accept the connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        if self._is_in_head:
            self._head += len(data)
            if self._head > _HEAD_BYTES:
                self.send_400_response("The head of the request is too long.")
                return
        super().data_received(data)
        if self.transport.is_closing():
            return
        if len(self.pipeline) > _PIPELINED:
            self.transport.abort()
        elif self._is_in_head or self.cycle is None or self.cycle.response_complete:
            self._wait()  # also for the rest of a body that nobody reads

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._is_in_head = True
        scope: Any = self.scope
        scope["ocicat.connection"] = self

    def on_headers_complete(self) -> None:
        """Begin to answer a request."""
        self._is_in_head = False
        self._head = 0
        self._stop()
        super().on_headers_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, whether or not the client reads what is left to send."""
        if not self.transport.is_closing():
            self.transport.abort() if self.transport.get_write_buffer_size() else self.transport.close()

    def _wait(self) -> None:
        """Begin to wait for the head of a request, unless the connection is waiting already."""
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete or self._is_in_head:
            self.transport.abort()
