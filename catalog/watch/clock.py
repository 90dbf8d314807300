"""Whether the wall clock can be trusted when something would be dropped for its age.

A machine that boots with a wrong clock has it corrected later, perhaps by decades, and a clock may be wrong for a while. Then
everything that was recorded before looks old at once. So after a step of the clock nothing is dropped for a day. That leaves time
for somebody to correct the clock, and for a file system to be mounted again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_SECONDS = 3600.0
HOLD_SECONDS = 86_400.0


def _running() -> float:
    """Return the seconds since the machine booted, including while suspended. Nobody can set that clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """Compares the wall clock with one that nobody can set, from now on."""

    def __init__(self, wall: Callable[[], float] = time.time, running: Callable[[], float] = _running) -> None:
        self._wall = wall
        self._running = running
        self._offset = wall() - running()
        self._hold_until = 0.0

    def can_be_trusted(self) -> bool:
        """Return whether the clock has not been set by more than an hour for a day."""
        running = self._running()
        offset = self._wall() - running
        if abs(offset - self._offset) > STEP_SECONDS:
            self._offset = offset
            self._hold_until = running + HOLD_SECONDS
        return running >= self._hold_until
