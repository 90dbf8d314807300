"""The sqlite3 shell on the public view `images`, compared with the same shell on the bare tables."""

from __future__ import annotations

import shutil

from benchmarks import data
from benchmarks.clock import Take, cold, in_turn
from benchmarks.report import Report
from benchmarks.world import World

LIMIT = 1.3

_BARE = (
    "SELECT content.digest FROM name JOIN entry ON entry.id = name.entry_id"
    " JOIN content ON content.id = entry.content_id WHERE "
)


def shell(world: World, report: Report) -> None:
    """Measure lookups by name and by digest."""
    if shutil.which("sqlite3") is None:
        report.note("sqlite3 is not installed: nothing measured")
        return
    runs = world.runs * 2
    report.title(f"sqlite3 -readonly: the view images against the bare tables ({runs} runs each)")
    name, digest = f"docker.io/shared/in-{data.FEW}:in{data.FEW}", data.shared(data.FEW)["digest"]
    for what, where in (("name", f"name.name = '{name}'"), ("digest", f"content.digest = '{digest}'")):
        view = f"SELECT digest FROM images WHERE {where.split('.', 1)[1]}"
        seconds = in_turn(
            {
                f"bare tables, by {what}": _asked(world, _BARE + where),
                f"images, by {what}": _asked(world, view),
            },
            runs,
        )
        report.times(seconds)
        bare, ours = seconds.values()
        report.pairs(f"images / bare tables, by {what}", ours, bare, LIMIT)


def _asked(world: World, sql: str) -> Take:
    return cold(["sqlite3", "-readonly", world.catalog, sql], world.environment)
