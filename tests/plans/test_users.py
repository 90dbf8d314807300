"""Blobs of one store that another layout finds there: no report and no plan calls them unused, whatever way leads there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Own, objects
from tests.content.layouts import file_of, layer, layout, manifest, named, put, write

AMD64 = {"os": "linux", "architecture": "amd64"}
OLD = 1_600_000_000


class Pair:
    """A store `owner` with blobs that only the layout `user` needs, which finds them there in some way."""

    def __init__(self, tmp_path: Path, cli: Own) -> None:
        self.cli = cli
        self.owner = layout(tmp_path / "deep/er/owner")
        self.user = str(tmp_path / "user")
        self.needed = manifest(self.owner, AMD64, layer("needed"), put(self.owner, {}, data=b"of user"))
        self.junk = put(self.owner, {}, data=b"junk")["digest"]
        write(self.owner, named(manifest(self.owner, AMD64, put(self.owner, {}, data=b"of owner")), "app:1"))
        os.makedirs(self.user)
        shutil.copy(f"{self.owner}/oci-layout", self.user)
        write(self.user, named(self.needed, "user:1"))
        for name in os.listdir(f"{self.owner}/blobs/sha256"):
            os.utime(f"{self.owner}/blobs/sha256/{name}", (OLD, OLD))

    def unreferenced(self) -> set[str]:
        return {str(row["digest"]) for row in objects(self.cli("report", "unreferenced", "--format", "json"))}

    def left_out(self) -> dict[str, str]:
        """Return the subject of each store in `unjudged`, by its name."""
        rows = objects(self.cli("sql", "SELECT store, subject FROM unjudged", "--format", "json"))
        return {str(row["store"]): str(row["subject"]) for row in rows}

    def planned(self) -> set[str]:
        self.cli("index")
        return {
            str(row["digest"])
            for row in objects(self.cli("plan", "prune", "--older-than", "0s", "--format", "json", "owner"))
        }

    def assert_not_judged(self) -> None:
        assert self.unreferenced() == set()
        assert self.left_out()["owner"] == self.user
        told = self.cli("report", "unreferenced").err
        assert f"owner is left out: {self.user} finds blobs in its directory, too" in told
        assert self.cli("sql", "SELECT count(*) FROM blobs WHERE store = 'owner' AND NOT reachable").lines == ["0"]
        assert self.user in str(self.cli.stores()["owner"]["unjudged"])
        assert self.needed["digest"] not in self.planned()

    def assert_judged(self) -> None:
        assert self.left_out() == {}
        assert self.junk in self.unreferenced()


def link_to_blobs(pair: Pair) -> None:
    os.symlink("../deep/er/owner/blobs", f"{pair.user}/blobs")


def link_to_algorithm(pair: Pair) -> None:
    os.mkdir(f"{pair.user}/blobs")
    os.symlink(f"{pair.owner}/blobs/sha256", f"{pair.user}/blobs/sha256")


def link_through_a_link(pair: Pair) -> None:
    os.symlink("deep/er", f"{os.path.dirname(pair.user)}/current")
    os.symlink("../current/owner/blobs", f"{pair.user}/blobs")


def links_to_files(pair: Pair) -> None:
    os.makedirs(f"{pair.user}/blobs/sha256")
    for name in os.listdir(f"{pair.owner}/blobs/sha256"):
        os.symlink(f"../../../deep/er/owner/blobs/sha256/{name}", f"{pair.user}/blobs/sha256/{name}")


WAYS = (link_to_blobs, link_to_algorithm, link_through_a_link, links_to_files)


@pytest.fixture
def pair(tmp_path: Path, cli: Own) -> Pair:
    return Pair(tmp_path, cli)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_layout_behind_a_link(way: Callable[[Pair], None], pair: Pair) -> None:
    way(pair)
    pair.cli("add", pair.owner)
    pair.assert_judged()
    pair.cli("add", pair.user)
    pair.assert_not_judged()
    assert pair.left_out().keys() == {"owner", "user"}


def test_it_counts_whichever_was_added_first(pair: Pair) -> None:
    link_to_blobs(pair)
    pair.cli("add", pair.user)
    pair.cli("add", pair.owner)
    pair.assert_not_judged()


def test_a_removed_layout_counts_until_it_is_gone(pair: Pair) -> None:
    link_to_blobs(pair)
    pair.cli("add", pair.owner, pair.user)
    pair.cli("remove", "user")
    pair.assert_not_judged()
    pair.cli("remove", "owner")
    pair.cli("add", pair.owner)
    pair.assert_not_judged()
    shutil.rmtree(pair.user)
    pair.cli("index")
    pair.assert_judged()


def test_a_removed_root_counts_until_it_is_added_again(pair: Pair, tmp_path: Path) -> None:
    link_to_blobs(pair)
    os.mkdir(tmp_path / "root")
    os.rename(pair.user, tmp_path / "root/user")
    pair.user = str(tmp_path / "root/user")
    os.unlink(f"{pair.user}/blobs")
    os.symlink(f"{pair.owner}/blobs", f"{pair.user}/blobs")
    pair.cli("add", pair.owner, str(tmp_path / "root"))
    pair.cli("remove", "root")
    pair.assert_not_judged()
    pair.cli("add", str(tmp_path / "root"))
    pair.assert_not_judged()
    os.unlink(f"{pair.user}/blobs")  # From now on, it has blobs of its own.
    shutil.copytree(f"{pair.owner}/blobs", f"{pair.user}/blobs")
    pair.cli("index")
    pair.assert_judged()


def test_a_link_that_is_changed(pair: Pair, tmp_path: Path) -> None:
    os.mkdir(tmp_path / "other")
    os.symlink("../other", f"{pair.user}/blobs")
    pair.cli("add", pair.owner, pair.user)
    assert pair.left_out().keys() == {"user"}
    os.unlink(f"{pair.user}/blobs")
    link_to_blobs(pair)
    pair.cli("index")
    pair.assert_not_judged()


def test_a_shared_directory_that_is_a_stores_own(pair: Pair) -> None:
    pair.cli("add", pair.owner)
    pair.cli.done("add", pair.user, "--shared-blob-dir", f"{pair.owner}/blobs")
    assert pair.left_out() == {"owner": pair.user}
    pair.assert_not_judged()
    assert pair.planned() == {pair.junk}  # `plan prune` judges both together
    pair.cli("remove", "user")
    pair.assert_not_judged()


def test_two_stores_with_a_shared_directory_are_judged(pair: Pair, tmp_path: Path) -> None:
    """Their own directories are theirs alone, and blobs in the shared one belong to those that need them."""
    os.rename(f"{pair.owner}/blobs", tmp_path / "shared")
    pair.cli.done("add", pair.owner, pair.user, "--shared-blob-dir", str(tmp_path / "shared"))
    assert pair.left_out() == {}
    assert pair.unreferenced() == set()


def test_the_same_layout_at_two_paths_is_judged(pair: Pair, tmp_path: Path) -> None:
    os.symlink(pair.owner, tmp_path / "again")
    pair.cli("add", pair.owner, str(tmp_path / "again"))
    pair.assert_judged()
    pair.cli("remove", "again")
    pair.assert_judged()


@pytest.fixture
def bound(pair: Pair) -> Iterator[Pair]:
    """The pair with the owner's blobs bound into the user's layout; skipped where this process may not mount."""
    os.mkdir(f"{pair.user}/blobs")
    made = subprocess.run(["mount", "--bind", f"{pair.owner}/blobs", f"{pair.user}/blobs"], check=False)
    if made.returncode:
        pytest.skip("bind mounts need root")
    yield pair
    subprocess.run(["umount", f"{pair.user}/blobs"], check=True)


def test_a_bind_mount(bound: Pair) -> None:
    bound.cli("add", bound.owner, bound.user)
    assert bound.left_out() == {"owner": bound.user, "user": bound.owner}
    bound.assert_not_judged()
    bound.cli("remove", "user")
    bound.assert_not_judged()


def test_a_store_of_another_host(pair: Pair, engine: str) -> None:
    """On a shared catalog, a directory is known by its path if a store of another host has it as its shared one."""
    if engine == "sqlite":
        pytest.skip("a catalog in a file has one host")
    pair.cli("add", pair.owner)
    pair.cli("add", pair.user, "--shared-blob-dir", f"{pair.owner}/blobs", env={"OCICAT_HOST": "second"})
    pair.assert_not_judged()


def test_a_long_target_is_kept(pair: Pair) -> None:
    """PostgreSQL has a limit for what an index holds; the target of a link has none that matters."""
    os.symlink("../" + "/".join(f"{number:032}" for number in range(110)), f"{pair.user}/blobs")
    pair.cli("add", pair.owner, pair.user)
    assert pair.left_out().keys() == {"user"}
    assert os.path.exists(file_of(pair.owner, pair.junk))
