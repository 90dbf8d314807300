"""A daemon follows symbolic links that are registered, and notices when they are moved."""

from __future__ import annotations

import os

import pytest

from tests.watch.harness import Followed, on_both, wait_for
from tests.writers import empty_index, fake_descriptor, make_layout, name_entry, write_index


def image(seed: str) -> dict[str, object]:
    return name_entry(fake_descriptor(seed), "containerd", "docker.io/library/app", "1")


def made(quick: Followed, name: str, seed: str) -> str:
    path = make_layout(quick.path(name))
    write_index(path, empty_index(image(seed)))
    return path


def moved(link: str, target: str) -> None:
    os.symlink(target, f"{link}.new")
    os.rename(f"{link}.new", link)


def answers(quick: Followed, seed: str, ref: str = "app:1") -> None:
    wait_for(lambda: quick("resolve", ref).out.strip() == fake_descriptor(seed)["digest"], 10, what=quick.log)


@on_both("quick", is_long=True)
def test_a_link_is_moved(quick: Followed) -> None:
    """By events alone: no sweep comes in time."""
    link = quick.path("current")
    for name in ("v1", "v2"):
        made(quick, name, name)
    os.symlink("v1", link)
    quick.done("add", link)
    quick.start("--rescan", "3600")
    answers(quick, "v1")
    for target in ("v2", "v1", "v2"):
        moved(link, target)
        answers(quick, target)
    write_index(quick.path("v2"), empty_index(image("later")))  # what it leads to now is watched
    answers(quick, "later")
    write_index(quick.path("v1"), empty_index(image("none")))
    os.unlink(link)
    wait_for(lambda: quick.stores()["current"]["state"] == "missing", 10, what=quick.log)
    os.symlink("v1", link)
    answers(quick, "none")
    moved(link, "nowhere")
    wait_for(lambda: quick.stores()["current"]["state"] == "missing", 10, what=quick.log)
    moved(link, "v2")
    answers(quick, "later")
    moved(link, "v1")
    assert quick("resolve", "--fresh", "app:1").out.strip() == fake_descriptor("none")["digest"]


@pytest.mark.parametrize("below", [False, True])
def test_a_link_that_becomes_a_directory_and_a_link_again(quick: Followed, below: bool) -> None:
    made(quick, "v1", "v1")
    os.mkdir(quick.path("R"))
    if below:
        quick.done("add", quick.path("R"))
    link = quick.path("R/current")
    os.symlink("../v1", link)
    quick.done("add", link)
    quick.start("--rescan", "3600")
    answers(quick, "v1")
    os.unlink(link)
    os.rename(made(quick, "fresh", "v2"), link)
    answers(quick, "v2")
    os.rename(link, quick.path("away"))
    os.symlink("../v1", link)
    answers(quick, "v1")
    write_index(quick.path("v1"), empty_index(image("v3")))
    answers(quick, "v3")


def test_a_root_that_is_a_link(quick: Followed) -> None:
    link = quick.path("current")
    for name in ("v1", "v2"):
        made(quick, f"{name}/app", name)
    made(quick, "v2/deep/other", "other")
    os.symlink("v1", link)
    quick.done("add", link)
    quick.start("--rescan", "3600")
    answers(quick, "v1", "oci-layout://current/app/app:1")
    moved(link, "v2")
    answers(quick, "v2", "oci-layout://current/app/app:1")
    answers(quick, "other", "oci-layout://current/deep/other/app:1")
    made(quick, "v2/later", "later")
    answers(quick, "later", "oci-layout://current/later/app:1")
    write_index(quick.path("v2/app"), empty_index(image("changed")))
    answers(quick, "changed", "oci-layout://current/app/app:1")


def test_links_without_events(quick: Followed) -> None:
    link = quick.path("current")
    for name in ("v1", "v2"):
        made(quick, name, name)
    os.symlink("v1", link)
    quick.done("add", link)
    quick.start("--poll", "0.2")
    answers(quick, "v1")
    moved(link, "v2")
    answers(quick, "v2")
