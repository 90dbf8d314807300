"""A directory below a root, or a store, that becomes a symbolic link leads no command and no daemon out of the root."""

from __future__ import annotations

import os

import pytest

from tests.watch.harness import Followed, on_both, wait_for
from tests.writers import empty_index, fake_descriptor, make_layout, name_entry, write_blob, write_index

INSIDE, OUTSIDE = (fake_descriptor(seed)["digest"] for seed in ("inside", "outside"))
STORE = "root/team/deep/app"


def made(quick: Followed, name: str, seed: str) -> str:
    os.makedirs(quick.path(name), exist_ok=True)
    path = make_layout(quick.path(name))
    write_index(path, empty_index(name_entry(fake_descriptor(seed), "containerd", "docker.io/library/app", "1")))
    return path


def linked(quick: Followed, name: str) -> None:
    """Put a link to the same place below `outside` where the directory `name` is; that is kept aside."""
    at = quick.path(name)
    os.rename(at, quick.path("aside"))
    os.symlink(at.replace("/root", "/outside", 1), at)


def back(quick: Followed, name: str) -> None:
    os.unlink(quick.path(name))
    os.rename(quick.path("aside"), quick.path(name))


def both(quick: Followed) -> None:
    made(quick, STORE, "inside")
    made(quick, STORE.replace("root", "outside"), "outside")
    made(quick, "outside/team/deep/new", "outside")
    quick.done("add", quick.path("root"))
    assert quick("resolve", "app:1").out.strip() == INSIDE


PLACES = [STORE, "root/team"]


@pytest.mark.parametrize("place", PLACES)
@on_both("quick")
def test_neither_a_pass_nor_fresh_leaves_the_root(quick: Followed, place: str) -> None:
    both(quick)
    linked(quick, place)
    assert OUTSIDE not in quick("query", "--fresh", "*", "--format", "json").out
    assert quick("resolve", "--fresh", "app:1").status == 1
    quick("index")
    quick("index", "--full")
    (state,) = quick.stores().values()
    assert state["state"] == "missing"
    assert "symbolic link" in str(state["error"])
    assert quick("query", "*").out == ""
    for text in (f"oci-layout://{quick.path(STORE)}/new:1", f"oci:{quick.path('root/team/deep/new')}"):
        assert OUTSIDE not in quick("query", "--fresh", text).out
    back(quick, place)
    assert quick("resolve", "--fresh", "app:1").out.strip() == INSIDE


@pytest.mark.parametrize("place", PLACES)
@on_both("quick", is_long=True)
def test_the_daemon_stays_in_the_root(quick: Followed, place: str) -> None:
    both(quick)
    quick.start("--rescan", "0.2")
    linked(quick, place)
    wait_for(lambda: [each["state"] for each in quick.stores().values()] == ["missing"], 10, what=quick.log)
    write_index(
        quick.path(STORE.replace("root", "outside")),
        empty_index(name_entry(fake_descriptor("x"), "containerd", "docker.io/library/app", "1")),
    )
    assert quick("resolve", "--fresh", "app:1").status == 1
    assert len(quick.stores()) == 1
    back(quick, place)
    wait_for(lambda: quick("resolve", "app:1").out.strip() == INSIDE, 10, what=quick.log)


@pytest.mark.parametrize("place", [*PLACES, f"{STORE}/blobs", f"{STORE}/blobs/sha256"])
@on_both("quick")
def test_verify_reads_nothing_out_of_the_root(quick: Followed, place: str) -> None:
    """The link comes after the last pass, so that the catalog says that the blobs are there."""
    good = write_blob(made(quick, STORE, "inside"), b"good", "text/plain")
    both(quick)
    outside = quick.path(STORE.replace("root", "outside"))
    digest = str(good["digest"])
    with open(f"{outside}/blobs/{digest.replace(':', '/')}", "wb") as file:
        file.write(b"evil")
    assert quick("verify").status == 0
    linked(quick, place)
    ran = quick("verify", "--full", "--format", "json")
    assert "digest-differs" not in ran.out + ran.err
    problems = quick("check", "--format", "json").out
    assert "digest-differs" not in problems
    back(quick, place)
    assert quick("verify", "--full").status == 0


def test_a_store_added_by_its_path_below_a_root_is_followed_at_that_place_alone(quick: Followed) -> None:
    both(quick)
    made(quick, "real/v1", "v1")
    link = quick.path("root/team/current")
    os.symlink(quick.path("real/v1"), link)
    quick.done("add", link)
    v1 = fake_descriptor("v1")["digest"]
    assert v1 in quick("query", "--fresh", "app:1").out
    made(quick, "outside/team/current", "outside")
    linked(quick, "root/team")
    quick("index")
    assert {each["state"] for each in quick.stores().values()} == {"missing"}
    back(quick, "root/team")
    assert v1 in quick("query", "--fresh", "app:1").out
