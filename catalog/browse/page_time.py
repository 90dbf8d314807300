"""The time limit of one request. Its clock stops while the request's statements wait for a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar


class PageTime:
    """The time limit of a request; without `limit`, there is none. Only the thread of the event loop may use it."""

    def __init__(self, limit: asyncio.Timeout | None = None) -> None:
        self._limit = limit
        self._waiting = 0
        self._left = 0.0

    def close(self) -> None:
        """Stop changing the limit: the request is over, although one of its statements may still wait."""
        self._limit = None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[Callable[[], None]]:
        """Stop the clock until the yielded function is called, or until the block ends.

        Time that other requests take, or that a process takes to start, does not count against this request.
        """
        self._stop()
        is_waiting = True

        def go_on() -> None:
            nonlocal is_waiting
            if is_waiting:
                is_waiting = False
                self._go_on()

        try:
            yield go_on
        finally:
            go_on()

    def _stop(self) -> None:
        self._waiting += 1
        if self._waiting == 1 and self._limit is not None and (when := self._limit.when()) is not None:
            self._left = when - asyncio.get_running_loop().time()
            self._limit.reschedule(None)

    def _go_on(self) -> None:
        self._waiting -= 1
        if self._waiting == 0 and self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._left)


page_time: ContextVar[PageTime] = ContextVar("page_time", default=PageTime())  # noqa: B039 - without a limit it has no state
"""The time limit of the request that is being answered."""
