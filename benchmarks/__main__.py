"""`make bench`: measure every row and print the results. docs/performance.md shows one whole run.

The exit status is 1 if a limit does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable

from benchmarks import instructions
from benchmarks.report import Report, say
from benchmarks.rows import (
    answered,
    archives,
    change,
    compare,
    content,
    first,
    peers,
    plans,
    serve,
    server,
    shell,
    spread,
    start,
    stream,
    verify,
)
from benchmarks.world import World

ROWS: dict[str, Callable[[World, Report], None]] = {
    "instructions": lambda _world, report: instructions.instructions(report),
    "start": start.start,
    "size": start.size,
    "server": server.server,
    "peers": peers.peers,
    "answered": answered.answered,
    "stream": stream.stream,
    "stores": spread.spread,
    "shell": shell.shell,
    "first": first.first,
    "moved": change.moved,
    "unchanged": change.unchanged,
    "diff": compare.diff,
    "inspect": compare.inspect,
    "plans": plans.prune,
    "copy": plans.copy,
    "link": plans.link,
    "serve": serve.serve,
    "content": content.content,
    "verify": verify.verify,
    "archives": archives.archives,
    "bytes": first.size,
}


def main() -> int:
    """Measure all rows, or only those given with `--only`; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ocicat as it is installed.")
    parser.add_argument("--only", action="append", choices=ROWS, metavar="ROW", help=f"one of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the data, fewer runs: no proof of anything")
    parser.add_argument(
        "--data", metavar="DIR", help="make the data in DIR, keep it, and reuse data that is already there"
    )
    parser.add_argument(
        "--numbers", metavar="FILE", help="write the numbers for the plots of docs/performance.md to FILE"
    )
    given = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="ocicat-bench-") as temporary:
        directory = os.path.abspath(given.data or temporary)
        os.makedirs(directory, exist_ok=True)
        world = World(directory, quick=given.quick)
        print(
            f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()} "
            f"{platform.release().split('-')[0]}, {os.cpu_count()} processors; by turns"
            f"{'; QUICK: a tenth of the data' if given.quick else ''}"
        )
        began = time.monotonic()
        for row in given.only or ROWS:
            say(f"{row} (after {time.monotonic() - began:.0f} s)")
            ROWS[row](world, report)
        print(f"\n{(time.monotonic() - began) / 60:.0f} minutes.")
    if given.numbers:
        with open(given.numbers, "w", encoding="utf-8") as file:
            json.dump(report.numbers, file, indent=1)
    for each in report.broken:
        print(f"does not hold: {each}", file=sys.stderr)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
