"""Since which boot and for how long the machine has run, so that two times can be compared even if the clock was set between them."""

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
    """Return for how many milliseconds the machine has run, including while suspended. Nobody can set that clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
