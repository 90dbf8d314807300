"""The time that one request may take, which does not run while its statements wait for a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar


class PageTime:
    """The time limit of a request, or none. Only the thread of the event loop may use it."""

    def __init__(self, limit: asyncio.Timeout | None = None) -> None:
        self._limit = limit
        self._waiting = 0
        self._left = 0.0

    def close(self) -> None:
        """Leave the limit alone from now on: the request is over, though a statement of it may still wait."""
        self._limit = None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[Callable[[], None]]:
        """Stop the time until the function that is returned is called, or until the block ends.

        What other requests do, or how long a process takes to start, is not the fault of this one.
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


page_time: ContextVar[PageTime] = ContextVar("page_time", default=PageTime())  # noqa: B039 - without a limit it changes nothing
"""The time of the request that is being answered."""
