"""Which run of the machine this is, and for how long it has run: by that two times can be compared though the clock was set."""

from __future__ import annotations

import functools
import time

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@functools.cache
def boot_id() -> str | None:
    """What Linux calls this run of the machine; None if it does not say."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read(64).strip() or None
    except (OSError, ValueError):
        return None


def ran_ms() -> int:
    """For how many milliseconds the machine has run, suspended or not; nobody sets that clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
