"""Print the results: the times of each row, its ratios, their limits, and whether each limit holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from benchmarks.clock import Spread


class Report:
    """Prints results as they come. `broken` has the limits that did not hold, and `numbers` the data for the plots."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.numbers: dict[str, dict[int, float]] = {}

    def title(self, text: str) -> None:
        """Print the title of a row."""
        print(f"\n{text}", flush=True)

    def times(self, seconds: Mapping[str, Sequence[float]]) -> None:
        """Print the measured times in milliseconds."""
        print(f"  {'milliseconds':58} {'min':>9} {'median':>9} {'quartiles':>19}")
        for label, each in seconds.items():
            least, low, middle, high = (1e3 * number for number in Spread.of(each))
            between = f"{low:.1f} - {high:.1f}"
            print(f"  {label:58} {least:9.1f} {middle:9.1f} {between:>19}", flush=True)

    def pairs(self, what: str, ours: Sequence[float], theirs: Sequence[float], limit: float) -> None:
        """Print the ratio of two measurements taken in turn, and whether the median over the pairs is at most `limit`."""
        spread = Spread.of([a / b for a, b in zip(ours, theirs, strict=True)])
        more = f"of the minima {min(ours) / min(theirs):.2f}, quartiles {spread.low:.2f} - {spread.high:.2f}"
        self.holds(what, spread.median, limit, more)

    def at_least(self, what: str, ours: Sequence[float], theirs: Sequence[float], limit: float) -> None:
        """Print how many times faster `ours` is than `theirs`, and whether the median over the pairs is at least `limit`."""
        spread = Spread.of([b / a for a, b in zip(ours, theirs, strict=True)])
        more = f"of the minima {min(theirs) / min(ours):.2f}, quartiles {spread.low:.2f} - {spread.high:.2f}"
        self.holds(what, spread.median, limit, more, at_least=True)

    def holds(self, what: str, found: float, limit: float, more: str = "", *, at_least: bool = False) -> None:
        """Print a line that says whether `found` is at most `limit` (or at least, with `at_least`)."""
        good = found >= limit if at_least else found <= limit
        if not good:
            self.broken.append(f"{what}: {found:,.2f}, not {limit:g}")
        bound = f"at {'least' if at_least else 'most'} {limit:g}"
        verdict = "holds" if good else "DOES NOT HOLD"
        print(f"  {what:58} {found:9,.2f} {bound:>15}  {verdict}{'  (' if more else ''}{more}{')' if more else ''}")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print a line that has no limit."""
        print(f"  {text}", flush=True)

    def keep(self, curve: str, size: int, value: float) -> None:
        """Keep a point of a curve, in seconds, for the plots of docs/performance.md."""
        self.numbers.setdefault(curve, {})[size] = value


def say(text: str) -> None:
    """Print progress on stderr."""
    print(f"benchmarks: {text}", file=sys.stderr, flush=True)
