"""The content stage, compared with a loop that reads, hashes and parses the same blobs with the same parser."""

from __future__ import annotations

from benchmarks import data
from benchmarks.report import Report
from benchmarks.world import World

LIMIT = 5.5
IMAGES = 20


def content(world: World, report: Report) -> None:
    """Compare them on layouts of images with a config and a layer (which is not read), and an index for every two images."""
    stores = 50 if world.quick else 500
    report.title(f"Content stage: {stores:,} layouts of {IMAGES} images ({world.slow_runs} runs each)")
    path = data.images(f"{world.directory}/images-{stores}", stores, IMAGES)
    ours, floor = [], []
    for _ in range(world.slow_runs):
        db = world.registered("content", path)
        world.drive("names", db)
        ours.append(world.drive("content", db)[0])
        floor.append(world.drive("blobs", db)[0])
    report.times({"python: read, hash, parse": floor, "ocicat: content stage": ours})
    report.pairs("content stage / loop", ours, floor, LIMIT)
