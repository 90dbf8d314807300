"""`ocicat plan prune`, `plan copy` and `plan link`."""

from __future__ import annotations

import shutil

from benchmarks import data
from benchmarks.clock import Spread, in_turn
from benchmarks.report import Report
from benchmarks.world import World

SECONDS = 1.0
TIMES = 3.0
IMAGES = 1_000
MANY_SECONDS = 2.0
COPY_TIMES = 12.0


def prune(world: World, report: Report) -> None:
    """Plan for one store and for all stores, of which each has an image that nothing lists, and compare with the report."""
    db = world.pruned
    names = world.stores * data.ENTRIES
    report.title(f"ocicat plan prune of {world.stores:,} stores with {names:,} names ({world.slow_runs} runs each)")
    one = f"named-{world.stores}/00/00000"
    now = ("--older-than", "0")
    seconds = in_turn(
        {
            "ocicat plan prune STORE": world.ocicat(db, "plan", "prune", one, *now),
            "ocicat plan prune": world.ocicat(db, "plan", "prune", *now),
            "ocicat report unreferenced": world.ocicat(db, "report", "unreferenced", "-p", "older_than=0"),
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


def copy(world: World, report: Report) -> None:
    """Plan to copy one image, and all 500 indexes of a layout of 1,000 images, to a path that does not exist."""
    images = IMAGES // 10 if world.quick else IMAGES
    path = data.images(f"{world.directory}/copied-{images}", 1, images)
    db = world.registered("copy", path)
    world.ocicat(db, "index")()
    names = [f"docker.io/library/app-0:1.{image}" for image in range(0, images, 2)]
    to = ("--to", f"{world.directory}/nowhere", "--format", "rsync")
    report.title(f"ocicat plan copy from a layout of {images:,} images ({world.slow_runs} runs each)")
    one, many = "ocicat plan copy NAME", f"ocicat plan copy, {len(names):,} names"
    seconds = in_turn(
        {
            "ocicat resolve NAME": world.ocicat(db, "resolve", names[0]),
            one: world.ocicat(db, "plan", "copy", names[0], *to),
            many: world.ocicat(db, "plan", "copy", *names, *to),
        },
        world.slow_runs,
    )
    report.times(seconds)
    report.pairs("plan copy / resolve", seconds[one], seconds["ocicat resolve NAME"], COPY_TIMES)
    report.holds(f"seconds, {many}", Spread.of(seconds[many]).median, MANY_SECONDS)


def link(world: World, report: Report) -> None:
    """Plan to share the bytes of two verified copies of a layout of 1,000 images."""
    images = IMAGES // 10 if world.quick else IMAGES
    path = data.images(f"{world.directory}/copied-{images}", 1, images)
    again = f"{world.directory}/copied-again-{images}"
    shutil.rmtree(again, ignore_errors=True)
    shutil.copytree(path, again)
    db = world.registered("link", path, again)
    world.ocicat(db, "index")()
    world.ocicat(db, "verify")()
    report.title(f"ocicat plan link of two layouts of {images:,} images ({world.slow_runs} runs each)")
    seconds = in_turn({"ocicat plan link": world.ocicat(db, "plan", "link", "--format", "pairs0")}, world.slow_runs)
    report.times(seconds)
    report.holds("seconds, ocicat plan link", Spread.of(seconds["ocicat plan link"]).median, MANY_SECONDS)
