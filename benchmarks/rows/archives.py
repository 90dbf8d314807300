"""Layouts in tar archives: reading one of 5,000 members, a lookup in one of 200 MB, and a pass over 10,000 of them."""

from __future__ import annotations

import io
import os
import shutil
import tarfile

from benchmarks.clock import Spread, cold, in_turn
from benchmarks.report import Report
from benchmarks.world import World
from tests import writers

MEMBERS, BYTES, STORES = 5_000, 200_000_000, 10_000
NAME = "docker.io/acme/app"
LIST_LIMIT, TIMES, PASS_LIMIT = 1.0, 10, 1.0


def archives(world: World, report: Report) -> None:
    """Measure all three."""
    report.title("Layouts in tar archives")
    members = MEMBERS // 10 if world.quick else MEMBERS
    many = _archive(world, "many", images=members // 3)
    driven = in_turn(
        {
            "ours": lambda: min(world.drive("archive", "ours", many)),
            "tarfile": lambda: min(world.drive("archive", "tarfile", many)),
        },
        world.runs // 3,
    )
    report.times({f"{members:,} members, {how}": each for how, each in driven.items()})
    report.pairs(f"reading {members:,} members / tarfile listing them", driven["ours"], driven["tarfile"], LIST_LIMIT)
    large = _archive(world, "large", images=1, layer=BYTES // 10 if world.quick else BYTES)
    db = world.registered("large-archive", large)
    world.ocicat(db, "index")()
    asked = f"oci-archive:{large}"
    takes = {"ocicat resolve": world.ocicat(db, "resolve", f"{NAME}:v0")}
    if shutil.which("skopeo"):
        takes["skopeo inspect"] = cold(["skopeo", "inspect", "--raw", asked], world.environment)
    seconds = in_turn(takes, world.runs)
    report.times(seconds)
    if len(seconds) == 2:
        ours, theirs = seconds.values()
        each = Spread.of([b / a for a, b in zip(ours, theirs, strict=True)])
        more = f"median {each.median:.2f}, quartiles {each.low:.2f} - {each.high:.2f}"
        # By the minima, because during ocicat's turn the kernel still discards the 200 MB that skopeo unpacked.
        least = min(theirs) / min(ours)
        report.holds("skopeo inspect / resolve, 200 MB, of the minima", least, TIMES, more, at_least=True)
    _pass(world, report, STORES // 10 if world.quick else STORES)


def _pass(world: World, report: Report, stores: int) -> None:
    """Compare passes over unchanged archives and over the same layouts in directories."""
    roots = {kind: f"{world.directory}/{kind}-{stores}" for kind in ("directories", "tars")}
    if not os.path.isdir(roots["tars"]):
        os.makedirs(roots["tars"])
        for number in range(stores):
            layout = writers.make_layout(f"{roots['directories']}/{number}")
            writers.write_index(layout, writers.empty_index(writers.make_image(layout, str(number % 50))))
            with tarfile.open(f"{roots['tars']}/{number}.tar", "w") as tar:
                tar.add(layout, ".")
    takes = {}
    for kind, root in roots.items():
        db = f"{world.directory}/{kind}.db"
        world.ocicat(db, "add", root, *(["--archives"] if kind == "tars" else []))()
        takes[kind] = world.ocicat(db, "index")
    seconds = in_turn(takes, world.runs // 3)
    report.times({f"index, {stores:,} unchanged {kind}": each for kind, each in seconds.items()})
    report.pairs("pass over archives / over directories", seconds["tars"], seconds["directories"], PASS_LIMIT)


def _archive(world: World, name: str, images: int, layer: int = 0) -> str:
    """Make an archive of `images` images, of three members each, and one more layer of `layer` bytes. Return its path."""
    path, layout = f"{world.directory}/{name}.tar", f"{world.directory}/{name}"
    if os.path.exists(path):
        return path
    writers.make_layout(layout)
    made = [writers.make_image(layout, str(number)) for number in range(images)]
    entries = [writers.name_entry(image, "containerd", NAME, f"v{number}") for number, image in enumerate(made)]
    writers.write_index(layout, writers.empty_index(*entries))
    with tarfile.open(path, "w") as tar:
        tar.add(layout, ".")
        if layer:
            info = tarfile.TarInfo(f"blobs/sha256/{'0' * 64}")
            info.size = layer
            tar.addfile(info, io.BytesIO(bytes(layer)))
    shutil.rmtree(layout)
    return path
