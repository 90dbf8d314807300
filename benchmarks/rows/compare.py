"""`ocicat diff` of two large stores."""

from __future__ import annotations

from benchmarks import data
from benchmarks.clock import Spread, in_turn
from benchmarks.report import Report
from benchmarks.world import World

SECONDS = 2.0


def diff(world: World, report: Report) -> None:
    """Compare two layouts that differ in every hundredth entry, and a layout with itself."""
    entries = 10_000 if world.quick else 100_000
    report.title(f"ocicat diff of two stores of {entries:,} entries ({world.slow_runs} runs each)")
    one = data.big(f"{world.directory}/big/{entries}", entries)
    other = data.altered(f"{world.directory}/altered/{entries}", entries)
    db = world.registered("diff", one.path, other.path)
    world.ocicat(db, "index")()
    seconds = in_turn(
        {
            "ocicat diff A B": world.ocicat(db, "diff", one.path, other.path, status=1),
            "ocicat diff A A": world.ocicat(db, "diff", one.path, one.path),
        },
        world.slow_runs,
    )
    report.times(seconds)
    report.holds("seconds, ocicat diff A B", Spread.of(seconds["ocicat diff A B"]).median, SECONDS)
