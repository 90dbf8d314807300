"""Run uvicorn until SIGINT or SIGTERM."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn


def run(server: uvicorn.Server, listening: Sequence[socket.socket], ready: Callable[[], None]) -> None:
    """Call `ready`, answer until a signal, and close the sockets, which already listen."""

    def end(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn has its own handlers while it serves; afterwards it raises the signal again, for these handlers.
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ready()
        server.run(sockets=list(listening))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in listening:
            each.close()
