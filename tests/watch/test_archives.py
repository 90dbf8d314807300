"""A daemon follows layouts in tar archives: by close-after-write and rename, alone and below a root."""

from __future__ import annotations

import gzip
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
    alone, odd, zipped = quick.path("alone.tar"), quick.path("no-suffix"), quick.path("zipped.tgz")
    for path, name in ((alone, "alone"), (odd, "odd"), (zipped, "zipped")):
        data = packed(quick, name, "first")[0]
        in_place(path, gzip.compress(data) if path == zipped else data)
        quick.done("add", path)
    quick.done("add", quick.path("R"), "--archives")
    quick.start("--rescan", "3600")
    for number, write in enumerate((in_place, by_rename, in_place, by_rename)):
        new, newer = quick.path("R/sub/new.tar"), quick.path("R/sub/newer.tar.gz")
        for path, name in (
            (alone, "alone"), (odd, "odd"), (zipped, "zipped"), (new, "new"), (newer, "newer")
        ):  # fmt: skip
            os.makedirs(quick.path("R/sub"), exist_ok=True)
            data, digest = packed(quick, name, str(number))
            write(path, gzip.compress(data) if path in (zipped, newer) else data)
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


def test_others_are_noticed_while_a_large_archive_is_read(quick: Followed) -> None:
    """It inflates to half a gigabyte, which takes ten turns; another one has more members than are read in one turn."""
    layout = make_layout(quick.path("small"))
    quick.done("add", layout)
    data, digest = packed(quick, "large", "1")
    first = tarfile.TarInfo(f"blobs/sha256/{0:064x}")
    first.size = 512 << 20
    zeros = gzip.compress(bytes(16 << 20))
    packed_large = gzip.compress(first.tobuf()) + zeros * (first.size >> 24) + gzip.compress(data)
    with open(quick.config, "a") as file:
        file.write("[limits]\narchive_ratio = 2000\n")
    quick.start("--rescan", "3600")
    os.mkdir(quick.path("R"))
    quick.done("add", quick.path("R"), "--archives")
    by_rename(quick.path("R/many.tar"), b"".join(
        tarfile.TarInfo(f"blobs/sha256/{number:064x}").tobuf() for number in range(15_000)
    ) + data)  # fmt: skip
    by_rename(quick.path("R/large.tgz"), packed_large)
    stores = quick.stores
    wait_for(lambda: {"R/large.tgz", "R/many.tar"} <= stores().keys(), what=quick.log)
    image = name_entry(make_image(layout, "small"), "containerd", "docker.io/library/small", "1")
    write_index(layout, empty_index(image))
    answers(quick, "small", str(image["digest"]))
    assert stores()["R/large.tgz"]["entries"] == 0
    wait_for(lambda: stores()["R/large.tgz"]["entries"] == 1, what=quick.log)
    answers(quick, "large", digest)
    wait_for(lambda: quick("query", "large:1", "--platform", "linux/amd64").status == 0, what=quick.log)
    wait_for(lambda: stores()["R/many.tar"]["error"] is None, what=quick.log)
