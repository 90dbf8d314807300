"""`ocicat plan prune` of one store among many, and of all, against the report that goes by the catalog alone."""

from __future__ import annotations

from benchmarks.clock import Spread, in_turn
from benchmarks.report import Report
from benchmarks.world import World

SECONDS = 1.0
TIMES = 3.0


def prune(world: World, report: Report) -> None:
    """Plan for one store and for all stores of the mix, of which nothing may go, and run the report."""
    db = world.catalog
    report.title(f"ocicat plan prune among {world.stores:,} stores ({world.slow_runs} runs each)")
    one = f"mix-{world.stores}/*0001"
    seconds = in_turn(
        {
            "ocicat plan prune STORE": world.ocicat(db, "plan", "prune", one, status=1),
            "ocicat plan prune": world.ocicat(db, "plan", "prune", status=1),
            "ocicat report unreferenced": world.ocicat(db, "report", "unreferenced"),
        },
        world.slow_runs,
    )
    report.times(seconds)
    report.holds("seconds, ocicat plan prune STORE", Spread.of(seconds["ocicat plan prune STORE"]).median, SECONDS)
    report.pairs(
        "ocicat plan prune / ocicat report unreferenced",
        seconds["ocicat plan prune"],
        seconds["ocicat report unreferenced"],
        TIMES,
    )
