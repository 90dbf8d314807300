"""Answer requests that uvicorn cannot parse, and so never passes to the application, with a page of ocicat's own."""

from __future__ import annotations

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from catalog.browse.refusal import TOO_LONG, refusal

HEAD_BYTES = 64 << 10
"""The largest size of the address and the headers of a request together."""
_LINGER_SECONDS = 2.0
"""How long to keep reading from a refused client. If the connection were closed sooner, a browser would drop the page unread."""


class PageConnection(H11Protocol):
    """A connection of a client."""

    _is_refused = False

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request, or drop them if the request was refused."""
        if not self._is_refused:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - of uvicorn
        """Refuse a request that cannot be parsed."""
        self._is_refused = True
        head, _ = self.conn.trailing_data
        status, text = 400, "This is not a valid HTTP request."
        if len(head) > HEAD_BYTES:
            is_of_address = b"\n" not in head[:HEAD_BYTES]
            status, text = (414, TOO_LONG) if is_of_address else (431, "The headers of the request are too long.")
        headers, body = refusal(text)
        response = h11.Response(status_code=status, headers=[*headers, (b"connection", b"close")])
        for event in response, h11.Data(data=body), h11.EndOfMessage():
            self.transport.write(self.conn.send(event) or b"")
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)
