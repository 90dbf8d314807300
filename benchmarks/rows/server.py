"""One `resolve` on a server, in a new process, compared with importing `sqlite3` and with importing the driver."""

from __future__ import annotations

from benchmarks import data
from benchmarks.clock import in_turn
from benchmarks.report import Report
from benchmarks.world import World
from tests.postgres import Server

LIMIT, LOADING_LIMIT = 10.0, 2.0


def server(world: World, report: Report) -> None:
    """Compare `resolve` on a server with `import sqlite3` and with `import psycopg`. The server is on this machine."""
    name = next(data.mix_names(10))
    made = Server()
    try:
        url = made.new_catalog()
        world.ocicat(world.small, "db", "copy", "--to", url)()
        report.title(f"A name asked once of a server, of 1,000 ({world.runs} runs each)")
        seconds = in_turn(
            {
                'python -c "import sqlite3"': world.python("import sqlite3"),
                'python -c "import psycopg"': world.python("import psycopg"),
                "ocicat resolve NAME, of a file": world.ocicat(world.small, "resolve", name),
                "ocicat resolve NAME, of a server": world.ocicat(url, "resolve", name),
            },
            world.runs,
        )
    finally:
        made.close()
    report.times(seconds)
    starting, loading, _, asked = seconds.values()
    # Not compared with a file, because a lookup in a file does without most of what Python's sqlite3 module loads.
    report.pairs("of a server / import sqlite3", asked, starting, LIMIT)
    report.pairs("of a server / import psycopg", asked, loading, LOADING_LIMIT)
