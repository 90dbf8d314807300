"""The numbers that a daemon counts, whether or not it serves metrics (metrics.py)."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""The upper bounds of the buckets for times."""


class Histogram:
    """The number of values in each bucket, and the sum of all values. One thread may add while another reads."""

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
        """Return Prometheus' cumulative buckets, and the sum of all values.

        Each bucket is its upper bound and the number of values up to it.
        """
        with self._lock:
            counts, total = list(self._counts), self._sum
        buckets: list[tuple[str, float]] = []
        so_far = 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], counts, strict=True):
            so_far += count
            buckets.append((bound, so_far))
        return buckets, total


class Figures:
    """Counts since the daemon's start, and the current numbers of stores, roots, watches, waiting stores and polled directories."""

    def __init__(self) -> None:
        self.changes = 0
        """The number of changes of stores that were taken into the catalog."""
        self.sweeps = 0
        self.overflows = 0
        self.last_sweep: int | None = None
        """The time when the last sweep ended, in milliseconds since 1970."""
        self.ingest = Histogram()
        """The time for reading and writing, in seconds; one value per transaction."""
        self.lag = Histogram()
        """The time from the last change of a store's index.json to its commit, in seconds."""
        self.stores = 0
        self.roots = 0
        self.watches = 0
        self.unwatched = 0
        self.silent = 0
        self.waiting = 0
