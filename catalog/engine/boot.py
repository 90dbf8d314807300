"""The id of the current boot, and the time since the machine booted. With them, two times can be compared even if the clock was set in between."""

from __future__ import annotations

import functools
import time

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@functools.cache
def boot_id() -> str | None:
    """Return Linux's id of the current boot; None if it is not available."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read(64).strip() or None
    except (OSError, ValueError):
        return None


def ran_ms() -> int:
    """Return the milliseconds since the machine booted, including those while it was suspended. Nobody can set this clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
