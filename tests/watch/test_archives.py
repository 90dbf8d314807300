"""A daemon follows layouts in tar archives: by close-after-write and rename, alone and below a root."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from tests.watch.harness import Followed, on_both, wait_for
from tests.writers import empty_index, make_image, make_layout, name_entry, write_index


def packed(quick: Followed, name: str, seed: str) -> tuple[bytes, str]:
    """The bytes of an archive of a layout with one image, and the digest of that."""
    layout = make_layout(quick.path(f"layouts/{name}-{seed}"))
    image = name_entry(make_image(layout, seed), "containerd", f"docker.io/library/{name}", "1")
    write_index(layout, empty_index(image))
    path = quick.path("packed.tar")
    with tarfile.open(path, "w") as tar:
        tar.add(layout, ".")
    shutil.rmtree(layout)
    data = Path(path).read_bytes()
    os.unlink(path)
    return data, str(image["digest"])


def answers(quick: Followed, name: str, digest: str) -> None:
    wait_for(lambda: quick("resolve", f"{name}:1").out.strip() == digest, 10, what=quick.log)


def in_place(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


def by_rename(path: str, data: bytes) -> None:
    Path(f"{path}.part").write_bytes(data)
    os.rename(f"{path}.part", path)


@on_both("quick", is_long=True)
def test_archives_are_followed_by_events_alone(quick: Followed) -> None:
    """No sweep comes in time."""
    os.mkdir(quick.path("R"))
    alone, odd = quick.path("alone.tar"), quick.path("no-suffix")
    for path, name in ((alone, "alone"), (odd, "odd")):
        in_place(path, packed(quick, name, "first")[0])
        quick.done("add", path)
    quick.done("add", quick.path("R"), "--archives")
    quick.start("--rescan", "3600")
    for number, write in enumerate((in_place, by_rename, in_place, by_rename)):
        for path, name in ((alone, "alone"), (odd, "odd"), (quick.path("R/sub/new.tar"), "new")):
            os.makedirs(quick.path("R/sub"), exist_ok=True)
            data, digest = packed(quick, name, str(number))
            write(path, data)
            answers(quick, name, digest)
            assert quick("query", f"{name}:1", "--platform", "linux/amd64", "--fresh").status == 0
    data, digest = packed(quick, "slow", "1")
    with open(quick.path("R/slow.tar"), "wb") as file:
        for at in range(0, len(data), len(data) // 5 + 1):
            file.write(data[at : at + len(data) // 5 + 1])
            file.flush()
            os.fsync(file.fileno())
    answers(quick, "slow", digest)
    with open(alone, "r+b") as file:
        file.truncate(2000)
    wait_for(lambda: quick.stores()["alone.tar"]["state"] == "invalid", 10, what=quick.log)
    in_place(alone, data)
    wait_for(lambda: quick.stores()["alone.tar"]["state"] == "ok", 10, what=quick.log)
    for path in (alone, quick.path("R/sub/new.tar")):
        os.unlink(path)
    wait_for(
        lambda: {quick.stores()[each]["state"] for each in ("alone.tar", "R/sub/new.tar")} == {"missing"},
        10,
        what=quick.log,
    )
    in_place(alone, data)
    answers(quick, "slow", digest)
    os.unlink(alone)
    os.mkdir(quick.path("d"))
    make_layout(alone)  # a directory where an archive was
    wait_for(lambda: quick.stores()["alone.tar"]["state"] == "empty", 10, what=quick.log)
