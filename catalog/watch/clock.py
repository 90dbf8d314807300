"""Decide whether the wall clock can be trusted before anything is dropped because of its age.

A machine may boot with a wrong clock that is corrected later, perhaps by decades, or its clock may be wrong for a while. Then
everything that was recorded before suddenly looks old. So nothing is dropped for a day after a step of the clock. That leaves time for
somebody to correct the clock, and for a file system to be mounted again.
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
    """Compares the wall clock with the boot clock, which nobody can set, from the creation of this object on."""

    def __init__(self, wall: Callable[[], float] = time.time, running: Callable[[], float] = _running) -> None:
        self._wall = wall
        self._running = running
        self._offset = wall() - running()
        self._hold_until = 0.0

    def can_be_trusted(self) -> bool:
        """Return False for a day after the wall clock was set by more than an hour, else True."""
        running = self._running()
        offset = self._wall() - running
        if abs(offset - self._offset) > STEP_SECONDS:
            self._offset = offset
            self._hold_until = running + HOLD_SECONDS
        return running >= self._hold_until
