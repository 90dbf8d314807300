"""What a daemon counts, whether or not anybody asks (catalog/watch/metrics.py shows it)."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the classes in which times are counted."""


class Histogram:
    """How many values fell into each class, and their sum. One thread may add while another reads."""

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        """Count a value."""
        with self._lock:
            self._counts[bisect.bisect_left(self._bounds, value)] += 1
            self._sum += value

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """The classes as Prometheus has them, each its upper bound and how many values are not above it, and the sum."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        classes: list[tuple[str, float]] = []
        so_far = 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], counts, strict=True):
            so_far += count
            classes.append((bound, so_far))
        return classes, total


class Figures:
    """Since the daemon's start, but for what lies at hand: watches, what waits, what is polled."""

    def __init__(self) -> None:
        self.changes = 0
        """Stores whose entries changed, each time one did."""
        self.sweeps = 0
        self.overflows = 0
        self.last_sweep: int | None = None
        """When the last sweep ended, in milliseconds since 1970."""
        self.ingest = Histogram()
        """Seconds from the first look at what a transaction wrote to its commit: one value a transaction."""
        self.lag = Histogram()
        """Seconds from the last change of a store's index.json to the commit of what it says."""
        self.stores = 0
        self.roots = 0
        self.watches = 0
        self.unwatched = 0
        self.silent = 0
        self.waiting = 0
