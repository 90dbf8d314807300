"""The last tag of one layout of 10 to 100,000 entries, looked up by ocicat and by other tools."""

from __future__ import annotations

import shutil

from benchmarks.clock import Spread, Take, cold, in_turn
from benchmarks.data import LAST, Big
from benchmarks.report import Report
from benchmarks.world import World

SIZES = (10, 100, 1_000, 10_000, 100_000)
FASTER_FROM, TIMES_AT = 10_000, (100_000, 8.0)

_SCAN = """import json, sys
name = sys.argv[2]
for each in json.load(open(sys.argv[1]))["manifests"]:
    if each.get("annotations", {}).get("org.opencontainers.image.ref.name") == name:
        print(each["digest"])
        break
else:
    sys.exit(1)"""
_JQ = 'first(.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $name) | .digest)'


def peers(world: World, report: Report) -> None:
    """Measure all tools at each size, and print between which sizes ocicat becomes faster than each of them."""
    report.title("One layout, its last name: ocicat resolve against other tools")
    behind: dict[str, int] = {}
    for entries in SIZES:
        layout = world.big(entries)
        db = world.registered(f"one-{entries}", layout.path)
        world.ocicat(db, "index")()
        runs = world.runs // 3 if entries <= 10_000 else 5
        seconds = in_turn(_commands(world, db, layout), runs)
        report.note(f"{entries:,} entries ({runs} runs each)")
        report.times(seconds)
        ours = seconds.pop("ocicat resolve")
        report.keep("ocicat resolve", entries, Spread.of(ours).median)
        for tool, theirs in seconds.items():
            report.keep(tool, entries, Spread.of(theirs).median)
            if Spread.of(theirs).median < Spread.of(ours).median:
                behind[tool] = entries
            if entries >= FASTER_FROM:
                least = TIMES_AT[1] if entries == TIMES_AT[0] else 1
                what = f"{tool} / resolve, {entries:,} entries"
                report.at_least(what, ours, theirs, least) if tool != "rg (text only)" else _told(
                    report, what, ours, theirs
                )
    for tool in (name for name in report.numbers if name != "ocicat resolve" and 10 in report.numbers[name]):
        last = behind.get(tool)
        if last is None:
            report.note(f"{tool}: slower than ocicat resolve at every size")
        else:
            beyond = next((size for size in SIZES if size > last), None)
            between = (
                f"crosses between {last:,} and {beyond:,} entries" if beyond else f"still ahead at {last:,} entries"
            )
            report.note(f"{tool}: {between}")


def _told(report: Report, what: str, ours: list[float], theirs: list[float]) -> None:
    report.note(
        f"{what:58} {Spread.of([b / a for a, b in zip(ours, theirs, strict=True)]).median:9.2f}  (no row: it knows no names)"
    )


def _commands(world: World, db: str, layout: Big) -> dict[str, Take]:
    return {"ocicat resolve": world.ocicat(db, "resolve", LAST), **commands(world, layout)}


def commands(world: World, layout: Big) -> dict[str, Take]:
    """Return, for each other tool that is installed, an action that looks up the last name of a layout."""
    takes = {"python, json: scan": world.python(_SCAN, layout.file, LAST)}
    words = {
        "jq": ["jq", "-r", "--arg", "name", LAST, _JQ, layout.file],
        "skopeo inspect --raw": ["skopeo", "inspect", "--raw", f"oci:{layout.path}:{LAST}"],
        "umoci stat": ["umoci", "stat", "--image", f"{layout.path}:{LAST}"],
        "rg (text only)": ["rg", "-c", "-F", LAST, layout.file],
    }
    found = {tool: cold(command, world.environment) for tool, command in words.items() if shutil.which(command[0])}
    return takes | found
