"""A process that resolves or queries one name, with a catalog of a million names and of a thousand."""

from __future__ import annotations

from benchmarks import data
from benchmarks.clock import in_turn
from benchmarks.report import Report
from benchmarks.world import World

LIMIT, SIZE_LIMIT = 1.4, 1.1


def start(world: World, report: Report) -> None:
    """Compare `resolve` and `query` with `import sqlite3`."""
    name = next(data.mix_names(world.stores))
    report.title(f"A name asked once of {world.stores * data.ENTRIES:,} ({world.runs} runs each)")
    seconds = in_turn(
        {
            'python -c "import sqlite3"': world.python("import sqlite3"),
            "ocicat resolve NAME": world.ocicat(world.catalog, "resolve", name),
            "ocicat query NAME": world.ocicat(world.catalog, "query", name),
        },
        world.runs,
    )
    report.times(seconds)
    floor, resolve, query = seconds.values()
    report.pairs("resolve / import sqlite3", resolve, floor, LIMIT)
    report.pairs("query / import sqlite3", query, floor, LIMIT)


def size(world: World, report: Report) -> None:
    """Compare lookups in catalogs of a million names and of a thousand, by the minima."""
    runs = 50 if world.quick else 200
    large, small = f"{world.stores * data.ENTRIES:,}", "1,000"
    name = next(data.mix_names(10))
    report.title(f"A name asked once: of {large} and of {small} ({runs} runs each)")
    takes = {
        f"ocicat {command} NAME, of {which}": world.ocicat(db, command, name)
        for command in ("resolve", "query")
        for which, db in ((large, world.catalog), (small, world.small))
    }
    seconds = in_turn(takes, runs)
    report.times(seconds)
    for command in ("resolve", "query"):
        one, other = (min(seconds[f"ocicat {command} NAME, of {which}"]) for which in (large, small))
        report.holds(f"{command}, minima, {large} / {small}", one / other, SIZE_LIMIT)
