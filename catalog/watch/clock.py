"""Whether the wall clock can be believed when something is to be dropped for its age.

A machine that starts with a wrong clock has it set later, by decades perhaps; and a clock may be set wrong for a while.
Whatever was noted before then looks old at once. So after a step nothing is dropped for a day: whoever is to put it right
has so long, and so has a mount that is to come.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_SECONDS = 3600.0
HOLD_SECONDS = 86_400.0


def _running() -> float:
    """Seconds since the machine started, suspended or not; nobody sets that clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """Compares the wall clock with one that nobody sets, from now on."""

    def __init__(self, wall: Callable[[], float] = time.time, running: Callable[[], float] = _running) -> None:
        self._wall = wall
        self._running = running
        self._offset = wall() - running()
        self._hold_until = 0.0

    def can_be_believed(self) -> bool:
        """Whether it has not been set, by more than an hour, for a day."""
        running = self._running()
        offset = self._wall() - running
        if abs(offset - self._offset) > STEP_SECONDS:
            self._offset = offset
            self._hold_until = running + HOLD_SECONDS
        return running >= self._hold_until
