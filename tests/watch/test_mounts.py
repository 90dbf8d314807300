"""File systems that tell of no changes: found in mountinfo's text, and looked at more often by a real daemon."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from catalog.watch.mounts import Mounts
from tests.watch.harness import Followed, wait_for
from tests.watch.test_config import said_of
from tests.watch.test_daemon import tag
from tests.writers import make_layout

TEXT = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 27 0:30 / /srv/nfs rw,relatime shared:5 master:2 - nfs4 server:/export rw,vers=4.2
31 30 0:31 / /srv/nfs/local rw - xfs /dev/vdb rw
32 27 0:32 / /srv/with\040space\134and\011tab rw - cifs //server/share rw
33 27 0:33 / /mnt/fuse rw master:3 propagate_from:2 unbindable - fuse.sshfs me@host: rw
34 27 0:34 / /mnt/disk rw - fuseblk /dev/vdc rw
35 27 0:35 / /mnt/auto rw - autofs systemd-1 rw
36 35 0:36 / /mnt/auto rw - nfs server:/auto rw
37 27 0:37 / /mnt/over rw - nfs server:/over rw
38 37 0:38 / /mnt/over rw - ext4 /dev/vdd rw
39 27 0:39 / /srv/builds/share rw - 9p host rw
40 27 0:40 / /srv/builds/.hidden/share rw - 9p host rw
41 27 0:41 / /srv/builds/a/blobs rw - nfs server:/blobs rw
42 27 0:42 / /mnt/odd rw -
43 27
44 27 0:44 / /mnt/dash-in-name/-/x rw - ceph mon:/ rw
""".lstrip()

MOUNTS = Mounts(TEXT)


@pytest.mark.parametrize(
    ("path", "point", "kind", "silent"),
    [
        ("/", "/", "ext4", False),
        ("/srv", "/", "ext4", False),
        ("/srv/nfs", "/srv/nfs", "nfs4", True),
        ("/srv/nfs/x/y", "/srv/nfs", "nfs4", True),
        ("/srv/nfsx", "/", "ext4", False),
        ("/srv/nfs/local/x", "/srv/nfs/local", "xfs", False),
        ("/srv/with space\\and\ttab/x", "/srv/with space\\and\ttab", "cifs", True),
        ("/mnt/fuse/x", "/mnt/fuse", "fuse.sshfs", True),
        ("/mnt/disk/x", "/mnt/disk", "fuseblk", False),
        ("/mnt/auto/x", "/mnt/auto", "nfs", True),
        ("/mnt/over/x", "/mnt/over", "ext4", False),
        ("/mnt/odd/x", "/", "ext4", False),
        ("/mnt/dash-in-name/-/x", "/mnt/dash-in-name/-/x", "ceph", True),
    ],
)
def test_the_mount_that_a_path_lies_on(path: str, point: str, kind: str, silent: bool) -> None:
    found = MOUNTS.of(path)
    assert found is not None
    assert (found.point, found.kind, found.silent) == (point, kind, silent)


def test_what_is_looked_at_more_often() -> None:
    assert MOUNTS.silent(["/srv/builds", "/mnt/disk"], ["/opt/lone"]) == ["/srv/builds/share"]
    assert MOUNTS.silent(["/srv/nfs", "/srv/nfs/x"], []) == ["/srv/nfs"]  # the one search comes to the other
    assert MOUNTS.silent(["/srv/nfs", "/srv/nfs/.hidden/x"], []) == ["/srv/nfs", "/srv/nfs/.hidden/x"]
    assert MOUNTS.silent([], ["/mnt/fuse/lone", "/srv/lone", "/srv/nfs/lone"]) == ["/mnt/fuse/lone", "/srv/nfs/lone"]
    assert MOUNTS.silent(["/"], []) == [
        "/mnt/auto", "/mnt/dash-in-name/-/x", "/mnt/fuse", "/srv/builds/share", "/srv/nfs", "/srv/with space\\and\ttab",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "\n", "nonsense", "1 2 3 4 5 6 7 8", "1 2 0:1 / /x rw - "])
def test_nothing_is_known_of_an_odd_text(text: str) -> None:
    mounts = Mounts(text)
    assert mounts.silent(["/x"], ["/y"]) == []
    assert not (mount := mounts.of("/x")) or not mount.silent


def test_this_process_has_mounts(tmp_path: Path) -> None:
    mount = Mounts.of_this_process().of(os.path.realpath(tmp_path))
    assert mount is not None
    assert mount.kind


needs_namespaces = pytest.mark.skipif(
    subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode != 0,
    reason="user namespaces are not allowed here",
)

# No event comes, since no watch may be set, and everything is looked at but once an hour: what is seen is seen since the
# kernel says that the root lies on a network file system. That it says so is all that is not real.
_SCRIPT = """
echo 0 > /proc/sys/user/max_inotify_watches
cp /proc/$DAEMON/mountinfo "$1" && echo "$2" >> "$1" && mount --bind "$1" /proc/$DAEMON/mountinfo
"""


def start(quick: Followed, *mounts: str, settings: str = "silent_seconds = 0.2") -> None:
    with open(quick.config, "a") as file:
        file.write(f"{settings}\n")
    lines = "\n".join(f"99{number} 1 0:99 / {point} rw - nfs4 server:/ rw" for number, point in enumerate(mounts))
    quick.start_apart(_SCRIPT, quick.path("mountinfo"), lines)


@needs_namespaces
def test_a_root_on_a_network_file_system_is_looked_at_by_itself(quick: Followed) -> None:
    with open(quick.config, "w") as file:
        file.write("[watch]\nsettle_ms = 50\n")
    a = make_layout(quick.path("root/a"))
    root = quick.add_root("root")
    start(quick, root)
    wait_for(lambda: said_of(quick)["polled"] == 1)
    (line,) = [line for line in quick.said() if "there are no file events there" in line]
    assert line.startswith(f"info: checking {root} every 0.2 seconds, because ")
    for step in range(3):
        tag(a, "1", f"x{step}")
        tag(make_layout(quick.path(f"root/deep/new{step}")), f"new{step}", "y")
        quick.settled()
    os.rename(quick.path("root/deep/new1"), quick.path("root/deep/moved"))
    quick.settled()
    assert quick.stop() == 0


@needs_namespaces
def test_a_lone_store_and_a_mount_below_a_root(quick: Followed) -> None:
    with open(quick.config, "w") as file:
        file.write("[watch]\nsettle_ms = 50\n")
    lone, far = make_layout(quick.path("lone")), make_layout(quick.path("root/mount/far"))
    make_layout(quick.path("root/near"))
    quick.add_root("root")
    quick.add_store(lone)
    start(quick, lone, quick.path("root/mount"))
    wait_for(lambda: said_of(quick)["polled"] == 2)
    for step in range(2):
        tag(lone, "1", f"x{step}")
        tag(far, "2", f"y{step}")
        make_layout(quick.path(f"root/mount/new{step}"))
        quick.settled()


def test_nothing_is_polled_where_events_tell(quick: Followed) -> None:
    make_layout(quick.path("root/a"))
    quick.add_root("root")
    quick.start()
    assert said_of(quick)["polled"] == 0
