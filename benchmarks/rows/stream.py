"""Many references in one process: `ocicat resolve -`."""

from __future__ import annotations

import itertools
import os

from benchmarks import data
from benchmarks.clock import cold, in_turn
from benchmarks.report import Report
from benchmarks.world import DRIVERS, World

LIMIT = 2.0


def stream(world: World, report: Report) -> None:
    """Compare whole processes: `resolve -`, and a bare loop of the same statement over ready-made keys."""
    count = 20_000 if world.quick else 200_000
    keys = f"{world.directory}/keys-{count}"
    if not os.path.exists(keys):
        with open(keys, "w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in itertools.islice(data.mix_names(world.stores), count))
    report.title(f"ocicat resolve -, fed {count:,} references ({world.slow_runs} runs each)")
    loop = [f"{world.bin}/python", f"{DRIVERS}/loop.py", world.catalog, keys]
    seconds = in_turn(
        {
            "python: a bare loop over ready-made keys": cold(loop, world.environment),
            "ocicat resolve -": world.ocicat(world.catalog, "resolve", "-", stdin=keys),
        },
        world.slow_runs,
        warm_up=1,
    )
    report.times(seconds)
    bare, ours = seconds.values()
    report.pairs("resolve - / bare loop", ours, bare, LIMIT)
