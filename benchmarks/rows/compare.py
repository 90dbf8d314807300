"""`ocicat diff` of two large stores, and `ocicat inspect` of one image."""

from __future__ import annotations

from benchmarks import data
from benchmarks.clock import Spread, in_turn
from benchmarks.report import Report
from benchmarks.world import World

SECONDS = 2.0
INSPECT_LIMIT = 3.0


def diff(world: World, report: Report) -> None:
    """Measure `diff` of two layouts that differ in every hundredth entry, and of a layout with itself."""
    entries = 10_000 if world.quick else 100_000
    report.title(f"ocicat diff of two stores of {entries:,} entries ({world.slow_runs} runs each)")
    one = data.big(f"{world.directory}/big/{entries}", entries)
    other = data.altered(f"{world.directory}/altered/{entries}-altered", entries)
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


def inspect(world: World, report: Report) -> None:
    """Compare `inspect` with `resolve` of the same name."""
    name = next(data.mix_names(world.stores))
    report.title(f"All about one image of {world.stores * data.ENTRIES:,} entries ({world.runs} runs each)")
    seconds = in_turn(
        {f"ocicat {command} NAME": world.ocicat(world.catalog, command, name) for command in ("resolve", "inspect")},
        world.runs,
    )
    report.times(seconds)
    resolve, ours = seconds.values()
    report.pairs("inspect / resolve", ours, resolve, INSPECT_LIMIT)
