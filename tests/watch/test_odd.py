"""Clocks, times that lie, files that are none, rights that come and go, and directories that become others."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.program import needs_root
from tests.conftest import file_of
from tests.watch.harness import Followed, wait_for
from tests.watch.test_slow import as_another
from tests.writers import WRITE_STYLES, dump, empty_index, fake_descriptor, make_layout, name_entry

REF = "oci-layout://root/a:t"


def tagged(seed: str) -> bytes:
    """An index.json, always of one length, in which the tag `t` is an image of `seed`."""
    return dump(empty_index(name_entry(fake_descriptor(seed.zfill(8)), "tag", "", "t")))


def put(store: str, seed: str, style: str = "skopeo") -> None:
    WRITE_STYLES[style](store, tagged(seed))


@pytest.fixture
def store(quick: Followed) -> str:
    """The layout `root/a` below a root that a daemon follows."""
    path = make_layout(quick.path("root/a"))
    put(path, "0")
    quick.add_root("root")
    quick.start()
    quick.settled()
    return path


def state(catalog: Followed, name: str = "root/a") -> str:
    found: str = catalog.stores()[name]["state"]
    return found


# Times


def test_a_time_of_tomorrow(quick: Followed, store: str) -> None:
    tomorrow = time.time_ns() + 86_400 * 10**9
    for step in range(4):
        put(store, f"{step}", "buildkit")
        os.utime(f"{store}/index.json", ns=(tomorrow, tomorrow))  # the same each time
        quick.settled()


def test_a_time_that_is_put_back_does_not_hide_a_change(quick: Followed, store: str) -> None:
    """The same inode, size and modification time: the kernel's own time of change tells."""
    for step in range(4):
        before = os.stat(f"{store}/index.json")
        put(store, f"{step}", "buildkit")
        os.utime(f"{store}/index.json", ns=(before.st_atime_ns, before.st_mtime_ns))
        after = os.stat(f"{store}/index.json")
        assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
        quick.settled()
        assert state(quick) == "ok"


def test_rewritten_within_one_tick_of_the_clock(quick: Followed, store: str) -> None:
    for step in range(5):
        for again in range(50):
            put(store, f"{step}-{again}", "buildkit")
        quick.settled()
    assert len(quick.spans()) <= 1 + 5 * 3  # what never stood still is no history: a pause of this process may be


def test_copied_over_with_its_old_time(quick: Followed, store: str, tmp_path: Path) -> None:
    """`cp -p`, and `rsync -a` where it is there, set a time of long ago after they have written."""
    tools = [["cp", "-p"]] + ([["rsync", "-a"]] if shutil.which("rsync") else [])
    for number, tool in enumerate(tools * 2):
        for step in range(2):
            source = f"{tmp_path}/{number}-{step}"
            Path(source).write_bytes(tagged(f"{number}-{step}"))
            os.utime(source, (1_000_000_000, 1_000_000_000))
            subprocess.run([*tool, source, f"{store}/index.json"], check=True)
            quick.settled()
            assert os.stat(f"{store}/index.json").st_mtime == 1_000_000_000


def test_touched_without_a_change_is_no_change(quick: Followed, store: str) -> None:
    generation = file_of(quick.reader).execute("SELECT generation FROM store").fetchone()
    os.utime(f"{store}/index.json")
    os.link(f"{store}/index.json", f"{store}/other")
    assert quick("resolve", "--fresh", REF).status == 0  # so it was noticed
    assert file_of(quick.reader).execute("SELECT generation FROM store").fetchone() == generation


# What is no file


def fifo(path: str) -> None:
    os.mkfifo(path)


def listening(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(os.path.dirname(path))  # the name of a socket is short
        try:
            made.bind("index.json")
        finally:
            os.chdir(here)


def link(path: str) -> None:
    Path(f"{path}.target").write_bytes(tagged("never"))
    os.symlink(f"{path}.target", path)


@pytest.mark.parametrize(
    "make", [fifo, os.mkdir, link, listening, lambda _: None], ids=["fifo", "directory", "link", "socket", "nothing"]
)
def test_index_json_becomes_something_else(quick: Followed, store: str, make: Callable[[str], None]) -> None:
    """The store still answers with its last good list, and is read again as soon as the file is back."""
    path = f"{store}/index.json"
    for step in range(2):
        os.unlink(path)
        make(path)
        wait_for(lambda: state(quick) == "invalid", what=quick.log)
        quick.settled()
        assert quick.ask(REF).status == 0
        if os.path.lexists(path):
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        Path(f"{path}.target").unlink(missing_ok=True)
        put(store, f"back {step}")
        wait_for(lambda: state(quick) == "ok", what=quick.log)
        quick.settled()


@needs_root
def test_rights_are_taken_and_given_back(public: Followed) -> None:
    """Beside a daemon of another user. No event tells of writing; that of the attributes does."""
    path = make_layout(public.path("root/a"))
    put(path, "0")
    public.add_root("root")
    as_another(public)
    public.stop()
    as_another(public, "--rescan", "3600")
    public.settled()
    for place in (f"{path}/index.json", path):
        mode = os.stat(place).st_mode & 0o777
        for step in range(2):
            lines = len(unreadable(public)) + 1
            os.chmod(place, 0)
            wait_for(lambda: state(public) == "unreadable", what=lambda: [public.log(), public.stores()])
            wait_for(lambda: len(unreadable(public)) == lines, what=public.log)  # noqa: B023  it is logged after the commit
            assert public.ask(REF).status == 0
            public.send(signal.SIGHUP)
            os.chmod(place, mode)
            wait_for(lambda: state(public) == "ok", what=lambda: [public.log(), public.stores()])
            assert len(unreadable(public)) == lines, public.log()
            put(path, f"{len(place)}{step}")
            public.settled()


def unreadable(catalog: Followed) -> list[str]:
    """The lines of the daemon's log that say that something is unreadable."""
    return [line for line in catalog.log() if "unreadable" in line]


# Directories that become others


def test_a_store_becomes_a_link(quick: Followed, store: str) -> None:
    """Links are not followed: the store is missing, and the target of the link is not part of the root."""
    for step in range(2):
        os.rename(store, quick.path("elsewhere"))
        os.symlink(quick.path("elsewhere"), store)
        wait_for(lambda: state(quick) == "missing", what=quick.log)
        assert quick.ask(REF).status == 1
        assert quick("resolve", "--fresh", REF).status == 1
        put(quick.path("elsewhere"), f"{step}")
        os.unlink(store)
        os.rename(quick.path("elsewhere"), store)
        quick.settled()
        assert quick.ask(REF).status == 0


def test_the_root_goes_away_and_comes_back_as_a_mount_does(quick: Followed, store: str) -> None:
    """Its stores are missing and not deleted: back again, their rows are the same. Only their spans ended, and began again."""
    lone = make_layout(quick.path("lone"))
    put(lone, "lone")
    quick.add_store(lone)
    other = make_layout(quick.path("root/x/b"))
    put(other, "b")
    quick.settled()
    spans = quick.spans()
    before = file_of(quick.reader).execute("SELECT id, generation FROM store").fetchall()
    for times in (2, 3):
        for path in (quick.path("root"), lone):
            os.rename(path, f"{path}-away")
        wait_for(lambda: {row["state"] for row in quick.stores().values()} == {"missing"}, what=quick.log)
        assert quick.ask(REF).status == 1
        assert [row["entries"] for row in quick.stores().values()] == [1, 1, 1]
        for path in (quick.path("root"), lone):
            os.rename(f"{path}-away", path)
        quick.settled()
        wait_for(lambda: {row["state"] for row in quick.stores().values()} == {"ok"}, what=quick.log)
        assert file_of(quick.reader).execute("SELECT id, generation FROM store").fetchall() == before
        told = quick.spans()
        assert sorted(span[:4] for span in told) == sorted([span[:4] for span in spans] * times)
        assert {span[:4] for span in told if span[5] is None} == {span[:4] for span in spans}
    for step in range(2):  # and it is followed again, deep down too
        put(store, f"{step}")
        put(other, f"b{step}")
        put(lone, f"l{step}")
        quick.settled()


def test_another_directory_stands_where_the_root_was(quick: Followed, store: str) -> None:
    """As when a file system is mounted over it: the old directory lives on, and is none of ours."""
    root = quick.path("root")
    fresh = make_layout(quick.path("fresh/c"))
    put(fresh, "c")
    os.rename(root, quick.path("old"))
    os.rename(quick.path("fresh"), root)
    quick.settled()
    put(f"{root}/c", "d")
    put(quick.path("old/a"), "nobody looks")
    quick.settled()
    assert set(quick.stores()) == {"root/a", "root/c"}


def test_what_is_above_the_root_is_renamed(quick: Followed) -> None:
    """No event tells of it: nothing watches up there."""
    path = make_layout(quick.path("above/root/a"))
    put(path, "0")
    quick.add_root("above/root")
    quick.start()
    quick.settled()
    os.rename(quick.path("above"), quick.path("renamed"))
    wait_for(lambda: state(quick) == "missing", what=quick.log)
    put(make_layout(quick.path("above/root/b")), "b")
    quick.settled()
    put(quick.path("renamed/root/a"), "not ours")
    put(quick.path("above/root/b"), "c")
    quick.settled()


def test_the_root_is_deleted_and_made_again(quick: Followed, store: str) -> None:
    for step in range(3):
        shutil.rmtree(quick.path("root"))
        if step:
            wait_for(lambda: state(quick) == "missing")
        put(make_layout(quick.path("root/a")), f"again {step}")
        put(make_layout(quick.path(f"root/new{step}")), "x")
        quick.settled()
        put(store, f"and then {step}")
        quick.settled()


def test_what_is_hidden_or_a_blob_is_no_store(quick: Followed, store: str) -> None:
    for place in ("root/.hidden/b", "root/a/blobs/sha256/c", "root/a/.git/d", "root/blobs/e"):
        put(make_layout(quick.path(place)), "x")
    put(make_layout(quick.path("root/last")), "y")
    quick.settled()
    assert set(quick.stores()) == {"root/a", "root/last"}
    put(quick.path("root/.hidden/b"), "z")
    os.rename(quick.path("root/.hidden"), quick.path("root/shown"))
    quick.settled()
    assert "root/shown/b" in quick.stores()
    os.rename(quick.path("root/shown"), quick.path("root/.hidden"))
    quick.settled()


def test_a_store_in_a_hidden_directory_that_was_added_by_name(quick: Followed, store: str) -> None:
    hidden = make_layout(quick.path("root/.cache/b"))
    quick.done("add", hidden)
    wait_for(lambda: quick.state()["daemon_watched"] == 4)  # the directory that it lies in too
    for step in range(3):
        put(hidden, f"{step}")
        digest = fake_descriptor(f"{step}".zfill(8))["digest"]
        wait_for(lambda digest=digest: quick.ask("oci-layout://root/.cache/b:t").digest == digest, what=quick.log)  # type: ignore[misc]


def test_paths_of_any_bytes(quick: Followed, store: str) -> None:
    raw = quick.path("root/") + os.fsdecode(b"\xff\xfe b")
    put(make_layout(raw), "raw")
    wait_for(lambda: len(quick.stores()) == 2)
    (name,) = set(quick.stores()) - {"root/a"}
    for step in range(2):
        put(raw, f"raw{step}")
        digest = fake_descriptor(f"raw{step}".zfill(8))["digest"]
        wait_for(lambda digest=digest: quick.ask(f"oci-layout://{name}:t").digest == digest, what=quick.log)  # type: ignore[misc]
    shutil.rmtree(raw)
    wait_for(lambda: state(quick, name) == "missing")
