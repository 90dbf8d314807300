"""A store that is watched by itself and replaced by another directory, and stores that share one `index.json` by hard links.

Events alone have to do: the sweep never comes.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.layout.files import FileState, stat_index
from catalog.watch.inodes import Inodes
from tests.watch.harness import Followed, on_both, wait_for
from tests.writers import empty_index, fake_descriptor, make_layout, name_entry, write_index

_EXCHANGE = 2


def exchange(first: str, second: str) -> None:
    """Let two directories change places in one step, renameat2(2)."""
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    if renameat2(-100, os.fsencode(first), -100, os.fsencode(second), _EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def put(path: str, seed: str, style: str = "regctl") -> None:
    """Give the layout at `path`, which is made where there is none, another `index.json`, by rename."""
    if not os.path.isdir(path):
        make_layout(path)
    entry = name_entry(fake_descriptor(seed), "containerd", "docker.io/library/app", "1")
    write_index(path, empty_index(entry), style)


def in_place(path: str, seed: str) -> None:
    """Rewrite the file that is there."""
    put(path, seed, "skopeo")


def says(quick: Followed, store: str, seed: str) -> None:
    """Wait until `store` answers with what was put there under `seed`."""
    expected = fake_descriptor(seed)["digest"]
    wait_for(lambda: quick.ask(f"oci-layout://{store}:1").digest == expected, 10, what=quick.log)


def _aside(path: str, new: str) -> None:
    os.rename(path, f"{path}.old")
    os.rename(new, path)
    shutil.rmtree(f"{path}.old")


def _deleted(path: str, new: str) -> None:
    shutil.rmtree(path)
    os.rename(new, path)


def _over_an_empty_one(path: str, new: str) -> None:
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY)  # so the old directory lives on, and its watch with it
    shutil.rmtree(path)
    os.mkdir(path)
    os.rename(new, path)
    os.close(held)


def _exchanged(path: str, new: str) -> None:
    exchange(path, new)
    shutil.rmtree(new)


def _above(path: str, new: str) -> None:
    """Its parent is replaced."""
    parent = os.path.dirname(path)
    os.mkdir(f"{parent}.new")
    os.rename(new, f"{parent}.new/{os.path.basename(path)}")
    exchange(parent, f"{parent}.new")
    shutil.rmtree(f"{parent}.new")


def _far_above(path: str, new: str) -> None:
    """The parent of its parent is: nothing watches what is further up, but it is looked at now and then."""
    top = os.path.dirname(os.path.dirname(path))
    inner = f"{top}.new/{os.path.basename(os.path.dirname(path))}"
    os.makedirs(inner)
    os.rename(new, f"{inner}/{os.path.basename(path)}")
    exchange(top, f"{top}.new")
    shutil.rmtree(f"{top}.new")


WAYS: list[Callable[[str, str], None]] = [_aside, _deleted, _over_an_empty_one, _exchanged, _above, _far_above]


@pytest.mark.parametrize("place", ["far/near/app", "root/.hidden/app"])
def test_a_store_by_itself_is_replaced_and_then_changed(quick: Followed, place: str) -> None:
    path = quick.path(place)
    os.makedirs(quick.path("root"))
    put(path, "first")
    quick.done("add", quick.path("root"))
    quick.done("add", path, "--name", "app")
    quick.start()
    says(quick, "app", "first")
    for way in WAYS:
        if way is _far_above and place.startswith("root"):
            continue  # that is the directory of the test
        put(quick.path("next"), f"{way.__name__} new")
        way(path, quick.path("next"))
        says(quick, "app", f"{way.__name__} new")
        for step in range(2):
            put(path, f"{way.__name__} {step}")
            says(quick, "app", f"{way.__name__} {step}")


def test_it_goes_and_comes_back(quick: Followed) -> None:
    path = quick.path("near/app")
    put(path, "first")
    quick.done("add", path)
    quick.start()
    for step in range(3):
        os.rename(path, quick.path("elsewhere"))
        wait_for(lambda: quick.stores()["app"]["state"] == "missing", 10, what=quick.log)
        os.rename(quick.path("elsewhere"), path)
        wait_for(lambda: quick.stores()["app"]["state"] == "ok", 10, what=quick.log)
        put(path, f"{step}")
        says(quick, "app", f"{step}")
        os.rename(path, quick.path("elsewhere"))  # too quickly to be seen missing
        os.rename(quick.path("elsewhere"), path)
        put(path, f"{step} again")
        says(quick, "app", f"{step} again")


def test_what_else_is_in_its_directory_is_not_looked_at(quick: Followed) -> None:
    put(quick.path("near/app"), "first")
    quick.done("add", quick.path("near/app"))
    quick.start()
    wait_for(lambda: quick.state()["daemon_watched"] == 2)
    put(quick.path("near/other"), "other")
    put(quick.path("near/app"), "second")
    says(quick, "app", "second")
    assert quick.state()["daemon_watched"] == 2
    assert set(quick.stores()) == {"app"}


def _linked(source: str, path: str) -> None:
    """A copy whose files are hard links, as `cp -al` makes it."""
    os.makedirs(f"{path}/blobs/sha256")
    for name in ("oci-layout", "index.json"):
        os.link(f"{source}/{name}", f"{path}/{name}")


@on_both("quick", is_long=True)
def test_two_stores_with_one_file(quick: Followed) -> None:
    root = quick.path("root")
    put(f"{root}/a", "first")
    _linked(f"{root}/a", f"{root}/b")
    _linked(f"{root}/a", quick.path("lone"))
    quick.done("add", root)
    quick.done("add", quick.path("lone"))
    quick.start()
    everywhere = {"root/a": f"{root}/a", "root/b": f"{root}/b", "lone": quick.path("lone")}
    for name, path in everywhere.items():
        in_place(path, f"through {name}")
        for each in everywhere:
            says(quick, each, f"through {name}")
    put(f"{root}/a", "alone")  # from now on it has a file of its own
    says(quick, "root/a", "alone")
    says(quick, "root/b", "through lone")
    in_place(quick.path("lone"), "two of them")
    says(quick, "root/b", "two of them")
    says(quick, "root/a", "alone")
    os.link(f"{root}/a/index.json", f"{root}/b/index.json.new")
    os.rename(f"{root}/b/index.json.new", f"{root}/b/index.json")
    says(quick, "root/b", "alone")
    in_place(f"{root}/a", "joined again")
    says(quick, "root/b", "joined again")
    says(quick, "lone", "two of them")
    _linked(f"{root}/b", f"{root}/c")
    says(quick, "root/c", "joined again")
    in_place(f"{root}/c", "a third one")
    for each in ("root/a", "root/b", "root/c"):
        says(quick, each, "a third one")


def test_a_change_that_somebody_else_has_taken_is_a_change_of_the_others(quick: Followed) -> None:
    """`index` of one store takes it before the daemon has looked."""
    for step in range(5):
        if step == 0:
            put(quick.path("root/a"), "first")
            _linked(quick.path("root/a"), quick.path("root/b"))
            quick.done("add", quick.path("root"))
            quick.start()
        in_place(quick.path("root/a"), f"{step}")
        quick.done("index", "root/a")
        says(quick, "root/b", f"{step}")


def test_which_stores_a_change_concerns(tmp_path: Path) -> None:
    paths = [f"{tmp_path}/{name}" for name in "abc"]
    put(paths[0], "one")
    put(paths[2], "other")
    _linked(paths[0], paths[1])

    def look(*which: int) -> set[str]:
        for number in which:
            inodes.saw(paths[number], stat_index(paths[number]))
        return inodes.concerned()

    inodes = Inodes()
    assert look(0, 1, 2) == {paths[0], paths[1]}
    assert look(0, 1, 2) == set()
    in_place(paths[1], "two")
    assert look(1) == {paths[0], paths[1]}
    assert look(0) == {paths[0], paths[1]}  # What the look at the other one found is returned once more.
    assert look(0, 1) == set()
    in_place(paths[2], "nobody else's")
    assert look(2) == set()
    inodes.saw(paths[0], None)
    assert inodes.concerned() == {paths[1]}
    inodes.keep([paths[2]])
    inodes.saw(paths[2], FileState(0, 0, 0, 0, 0))
    assert inodes.concerned() == set()


def test_the_inode_of_a_deleted_file_that_the_next_file_has_is_not_shared() -> None:
    """ext4 gives it away at once: the store whose file was replaced would come after all others."""
    inodes = Inodes()
    inodes.saw("/good", FileState(1, 1, 0, 0, 0))
    inodes.saw("/other", FileState(1, 1, 0, 1, 1))
    assert not inodes.shares("/good")
    assert not inodes.shares("/other")
    inodes.saw("/link", FileState(1, 1, 0, 1, 1))
    assert inodes.shares("/other")
    inodes.keep(["/other"])
    assert not inodes.shares("/other")


@pytest.mark.parametrize("stores", [1000, 4000])
def test_a_thousand_links_cost_what_a_thousand_files_do(stores: int) -> None:
    inodes = Inodes()
    looks = 0
    pending = {f"/{number}" for number in range(stores)}
    for change in range(3):
        while pending:
            for path in pending:
                inodes.saw(path, FileState(1, 1, change, 0, 0))
            looks += len(pending)
            pending = inodes.concerned()
        pending = {"/0"}
    assert looks <= 6 * stores + 2
