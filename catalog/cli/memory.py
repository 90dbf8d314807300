"""A limit of memory for a command that reads: one that needs more ends with status 4, instead of the machine."""

from __future__ import annotations

import resource

LIMIT_BYTES = 2 << 30
"""What a command may take besides what it has when it begins."""


class Memory:
    """Limits the address space of this process while it is entered. Without /proc there is no limit."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def __enter__(self) -> None:
        """Set the limit."""
        try:
            with open("/proc/self/statm", "rb") as file:
                now = int(file.read().split()[0]) * resource.getpagesize()
        except OSError:
            return
        soft, hard = self._before = resource.getrlimit(resource.RLIMIT_AS)
        wanted = now + LIMIT_BYTES
        if all(limit == resource.RLIM_INFINITY or limit > wanted for limit in (soft, hard)):
            resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))

    def __exit__(self, *_error: object) -> None:
        """Set it back."""
        if self._before is not None:
            resource.setrlimit(resource.RLIMIT_AS, self._before)
