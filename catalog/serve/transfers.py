"""Send blobs: pieces are read in threads and sent as fast as the client takes them.

A client that reads slowly occupies a place, one open file and two pieces, but no thread. The number of places is limited, and the more
transfers there are, the smaller are their pieces: 256 clients that do not read hold about 50 MiB. A transfer in which the client takes
no piece for a minute is cut off. If a file has become shorter since it was opened, the connection is cut, so that the client
notices; nothing is ever padded.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

from catalog.serve.answers import SAFE, Headers
from catalog.serve.blobs import Opened
from catalog.serve.conditions import Part
from catalog.web.asgi import Scope, Send

PLACES = 256
"""How many blobs are sent at once."""
_PIECES = ((4, 1 << 20), (16, 256 << 10), (PLACES, 64 << 10))
"""Pairs: while there are at most this many transfers, a piece has this many bytes."""
_PLACE_BYTES = 256 << 10
"""An embedded blob, which is in memory, takes one more place for every _PLACE_BYTES."""
PIECE_SECONDS = 60.0
"""How long a client may take for a piece."""
_READ_SECONDS = 30.0


class Transfers:
    """Sends blobs. `files` are the threads that read them.

    `count` blobs are being sent, `sent` bytes of blobs have been sent, and `cut` transfers have been cut off.
    """

    def __init__(self, files: ThreadPoolExecutor, piece_seconds: float = PIECE_SECONDS) -> None:
        self._files = files
        self._piece_seconds = piece_seconds
        self._places = 0
        self.count = 0
        self.sent = 0
        self.cut = 0

    @property
    def is_full(self) -> bool:
        """Whether no more blobs can be sent now."""
        return self._places >= PLACES

    async def give(self, scope: Scope, send: Send, opened: Opened, part: Part, status: int, headers: Headers) -> None:
        """Send a part of an open blob as the response, and close it."""
        places = 1 + (opened.size // _PLACE_BYTES if opened.is_in_memory else 0)
        self.count += 1
        self._places += places
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": status,
                    "headers": [*headers, (b"content-length", b"%d" % part.length), *SAFE],
                }
            )
            if not await self._body(scope, send, opened, part):
                self.cut += 1
                cut_off(scope)
        except asyncio.CancelledError:
            cut_off(scope)
            raise
        finally:
            self.count -= 1
            self._places -= places
            os.close(opened.descriptor)

    @staticmethod
    async def tell(send: Send, opened: Opened, headers: Headers) -> None:
        """Answer a HEAD for an open blob, and close it."""
        os.close(opened.descriptor)
        length = (b"content-length", b"%d" % opened.size)
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, length, *SAFE]})
        await send({"type": "http.response.body", "body": b""})

    async def _body(self, scope: Scope, send: Send, opened: Opened, part: Part) -> bool:
        """Send the bytes; return False if the file is shorter than it was, cannot be read, or the client does not take them."""
        loop = asyncio.get_running_loop()
        at, end = part
        end += at
        while at < end:
            wanted = min(next(size for most, size in _PIECES if self.count <= most), end - at)
            try:
                async with asyncio.timeout(_READ_SECONDS):
                    piece = await loop.run_in_executor(
                        self._files, os.pread, opened.descriptor, wanted, opened.begin + at
                    )
            except (OSError, TimeoutError):
                return False
            if not piece or is_gone(scope):
                return False
            at += len(piece)
            try:
                async with asyncio.timeout(self._piece_seconds):
                    await send({"type": "http.response.body", "body": piece, "more_body": at < end})
            except TimeoutError:
                return False
            self.sent += len(piece)
        if part.length == 0:
            await send({"type": "http.response.body", "body": b""})
        return True


def is_gone(scope: Scope) -> bool:
    """Return whether the client has closed the connection."""
    connection = scope.get("ocicat.connection")
    return connection is not None and connection.transport.is_closing()


def cut_off(scope: Scope) -> None:
    """Cut the connection at once, so that the client does not take half of a response for a whole one."""
    connection = scope.get("ocicat.connection")
    if connection is not None:
        connection.transport.abort()
