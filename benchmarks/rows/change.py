"""One tag moved in a layout of 100,000 entries, and a pass over unchanged stores."""

from __future__ import annotations

import os
import sqlite3
import time

from benchmarks import data
from benchmarks.clock import in_turn
from benchmarks.report import Report
from benchmarks.world import SETTLED, World

MOVED_LIMIT, UNCHANGED_LIMIT = 5.0, 8.0
ROWS = 12
TABLES = ("content", "entry", "name", "entry_annotation", "name_span", "snapshot", "store", "repository", "problem")


def moved(world: World, report: Report) -> None:
    """Compare the names stage with parsing that file, and count the rows that it writes."""
    entries = 10_000 if world.quick else 100_000
    runs = world.slow_runs + 2
    report.title(f"One tag moved in a layout of {entries:,} entries ({runs} runs each)")
    layout = data.big(f"{world.directory}/moved-{entries}", entries)
    db = world.registered("moved", layout.path)
    world.ocicat(db, "index")()
    written: list[int] = []
    ours, floor = [], []
    for number in range(runs):
        data.move_last_tag(layout, number)
        time.sleep(SETTLED)
        before = _rows(db)
        ours.append(world.drive("names", db)[0])
        written.append(len(_rows(db) - before))
        floor.append(world.drive("parse", layout.file)[0])
    report.times({"msgspec: parse the file": floor, "ocicat: names stage": ours})
    report.pairs("names stage / parse", ours, floor, MOVED_LIMIT)
    report.holds("rows that are new or other than before", max(written), ROWS)


def _rows(db: str) -> set[tuple[object, ...]]:
    """Return every row of the tables that a change writes to."""
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    return {(table, *row) for table in TABLES for row in connection.execute(f"SELECT * FROM {table}")}


def unchanged(world: World, report: Report) -> None:
    """Compare `ocicat index` without changes with a loop of stats. The start of the interpreter is subtracted from both."""
    runs = world.runs // 3
    report.title(f"ocicat index over {world.stores:,} unchanged stores ({runs} runs each)")
    listed = f"{world.directory}/paths-{world.stores}"
    with open(listed, "w", encoding="utf-8") as file:
        paths = sqlite3.connect(f"file:{world.catalog}?mode=ro", uri=True).execute("SELECT path FROM store")
        file.write("\n".join(f"{path}/index.json" for (path,) in paths))
    seconds = in_turn(
        {
            "python -c pass": world.python("pass"),
            "os.stat of each index.json (in process)": lambda: world.drive("stat", listed)[0],
            "ocicat index": world.ocicat(world.catalog, "index"),
        },
        runs,
    )
    report.times(seconds)
    bare, stats, index = seconds.values()
    report.pairs("(index - start) / stats", [a - b for a, b in zip(index, bare, strict=True)], stats, UNCHANGED_LIMIT)
    size = os.path.getsize(world.catalog) / 1e6
    report.note(f"a catalog of {size:,.0f} MB")
