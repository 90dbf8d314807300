"""Directories of blobs that several layouts use: what one of them needs is planned for none."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import Own
from tests.content.layouts import digest_of, file_of
from tests.effort import examples
from tests.plans.played import AT_ONCE, digests, planned, play, unjudged


def image_in(shared: str, path: str, seed: str, *, tag: str = "", **more: object) -> set[str]:
    """Write an image into a shared directory, and list it in the layout at `path` if it gets a tag; its digests."""
    stage = writers.make_layout(f"{path}-stage-{seed}")
    manifest = writers.make_image(stage, seed, layers=2)
    document = json.loads(Path(file_of(stage, str(manifest["digest"]))).read_bytes())
    if more:
        os.unlink(file_of(stage, str(manifest["digest"])))
        manifest = writers.write_blob(stage, writers.dump(document | more), writers.MANIFEST_TYPE)
    os.makedirs(f"{shared}/sha256", exist_ok=True)
    for name in os.listdir(f"{stage}/blobs/sha256"):
        os.rename(f"{stage}/blobs/sha256/{name}", f"{shared}/sha256/{name}")
    subprocess.run(["rm", "-r", stage], check=True)
    if tag:
        entries = writers.entries_of(writers.read_index(path))
        writers.write_index(path, writers.empty_index(*entries, writers.name_entry(manifest, "tag", "", tag)))
    return {str(manifest["digest"]), document["config"]["digest"], *(each["digest"] for each in document["layers"])}


def empty(path: Path | str) -> str:
    """A layout without an entry or a directory of blobs."""
    made = writers.make_layout(str(path))
    writers.write_index(made, writers.empty_index())
    os.rmdir(f"{made}/blobs/sha256")
    os.rmdir(f"{made}/blobs")
    return made


@pytest.fixture
def shared(tmp_path: Path) -> str:
    return str(tmp_path / "shared")


@pytest.fixture
def pair(cli: Own, tmp_path: Path, shared: str) -> tuple[set[str], set[str], set[str]]:
    """Two layouts with a shared directory, `a` and `b`: the digests of each, and of garbage there."""
    a, b = empty(tmp_path / "a"), empty(tmp_path / "b")
    first = image_in(shared, a, "first", tag="1")
    second = image_in(shared, b, "second", tag="1")
    garbage = image_in(shared, a, "garbage")
    cli.done("add", a, b, "--shared-blob-dir", shared)
    return first, second, garbage


def test_garbage_of_a_shared_directory(cli: Own, pair: tuple[set[str], ...], shared: str, tmp_path: Path) -> None:
    first, second, garbage = pair
    for stores in ((), ("a",), ("b",), ("a", "b")):
        rows = planned(cli, *stores)
        assert digests(rows) == garbage
        assert {row["store"] for row in rows} == {stores[0] if stores else "a"}
    assert play(cli) == {f"{shared}/{each.replace(':', '/')}" for each in garbage}
    assert {f"sha256:{each}" for each in os.listdir(f"{shared}/sha256")} == first | second
    writers.write_index(str(tmp_path / "a"), writers.empty_index())
    cli.done("index")
    assert digests(planned(cli)) == first


def test_what_another_store_needs_is_not_given_up(cli: Own, pair: tuple[set[str], ...], tmp_path: Path) -> None:
    _, second, garbage = pair
    entry = writers.entries_of(writers.read_index(str(tmp_path / "b")))[0]
    writers.write_index(str(tmp_path / "a"), writers.empty_index({k: entry[k] for k in entry if k != "annotations"}))
    cli.done("index")
    rows = planned(cli, "a", "--unnamed")
    assert not digests(rows) & second
    assert garbage <= digests(rows)


def test_one_that_cannot_be_judged_keeps_all(cli: Own, pair: tuple[set[str], ...], tmp_path: Path) -> None:
    assert pair
    with open(tmp_path / "b" / "index.json", "ab") as file:
        file.write(b" ")
    result = cli("plan", "prune", *AT_ONCE, "a")
    assert (result.status, result.out) == (1, "")
    assert list(unjudged(result)) == ["a"]
    assert "shares a directory of blobs with b: index.json has changed" in result.err
    cli.done("index")
    assert digests(planned(cli, "a")) == pair[2]
    os.rename(tmp_path / "b", tmp_path / "elsewhere")
    cli("--quiet", "index")
    result = cli("plan", "prune", *AT_ONCE, "a")
    assert (result.status, result.out) == (1, ""), "a store that is away may come back"


def test_an_unlisted_signature_in_a_shared_directory(
    cli: Own, pair: tuple[set[str], ...], shared: str, tmp_path: Path
) -> None:
    first, second, garbage = pair
    manifest = str(writers.entries_of(writers.read_index(str(tmp_path / "b")))[0]["digest"])
    subject = {"mediaType": writers.MANIFEST_TYPE, "digest": manifest, "size": 1}
    image_in(shared, str(tmp_path / "a"), "signature", subject=subject)
    assert digests(planned(cli, "a")) == garbage
    (lost,) = (each for each in garbage if each == _manifest_of(shared, garbage))
    about_garbage = image_in(shared, str(tmp_path / "a"), "other", subject=subject | {"digest": lost})
    assert digests(planned(cli, "b")) == garbage | about_garbage
    Path(shared, "sha256", digest_of(b"x").partition(":")[2]).write_bytes(
        b'{"mediaType": "?", "a": "sha256:' + b"0" * 64 + b'"}'
    )
    result = cli("plan", "prune", *AT_ONCE)
    assert (result.status, set(unjudged(result))) == (1, {"a", "b"}), "nobody can tell what that is about"
    assert first
    assert second


def _manifest_of(shared: str, image: set[str]) -> str:
    return next(each for each in image if b'"layers"' in Path(shared, each.replace(":", "/")).read_bytes())


def test_a_blob_that_came_after_its_entry_was_read(cli: Own, shared: str, tmp_path: Path) -> None:
    """It is needed although the catalog does not say that it lies there."""
    path = empty(tmp_path / "a")
    image = image_in(shared, path, "one", tag="1")
    some = min(image - {_manifest_of(shared, image)})
    file = Path(shared, some.replace(":", "/"))
    data = file.read_bytes()
    file.unlink()
    cli("--quiet", "add", path, "--shared-blob-dir", shared)
    file.write_bytes(data)
    assert planned(cli, status=1) == []


@pytest.mark.parametrize("how", ["link", "link to sha256", "layout link", "mount"])
def test_a_directory_by_another_path(how: str, cli: Own, tmp_path: Path) -> None:
    """The other layout lists what this one does not: by a link, a second path or a bind mount it is the same directory."""
    one = writers.make_layout(str(tmp_path / "x" / "one"))
    own = writers.make_image(one, "own")
    theirs = writers.make_image(one, "theirs")
    writers.write_index(one, writers.empty_index(writers.name_entry(own, "tag", "", "1")))
    two = str(tmp_path / "y" / "two")
    os.makedirs(os.path.dirname(two))
    if how == "layout link":
        os.symlink(one, two)
    else:
        empty(two)
        writers.write_index(two, writers.empty_index(writers.name_entry(theirs, "tag", "", "1")))
    if how == "link":
        os.symlink(f"{one}/blobs", f"{two}/blobs")
    elif how == "link to sha256":
        os.mkdir(f"{two}/blobs")
        os.symlink(f"{one}/blobs/sha256", f"{two}/blobs/sha256")
    elif how == "mount":
        os.mkdir(f"{two}/blobs")
        done = subprocess.run(["mount", "--bind", f"{one}/blobs", f"{two}/blobs"], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("only root can mount")
    try:
        cli("--quiet", "add", one)
        alone = digests(planned(cli))
        assert theirs["digest"] in alone
        cli("--quiet", "add", two)
        if how == "layout link":
            rows = planned(cli)
            assert len(rows) == len(alone), "a file is planned once, by one path"
            assert {row["path"] for row in rows} == {file_of(one, each) for each in alone}
        else:
            result = cli("plan", "prune", *AT_ONCE, "one", "--format", "json")
            assert theirs["digest"] not in digests(json.loads(result.out))
            if how == "mount":
                assert (result.status, result.said) == (1, ["ocicat: nothing to remove: everything is in use"])
            else:
                assert "it shares a directory of blobs with two" in result.err
    finally:
        if how == "mount":
            subprocess.run(["umount", f"{two}/blobs"], check=True)


@pytest.mark.parametrize("how", ["shared", "link", "same", "removed", "own"])
def test_a_layout_outside_the_catalog(how: str, cli: Own, tmp_path: Path) -> None:
    one = writers.make_layout(str(tmp_path / "one"))
    theirs = writers.make_image(one, "theirs")
    writers.write_index(one, writers.empty_index())
    cli.done("add", one)
    lies = digests(planned(cli))
    two = empty(tmp_path / "two")
    if how in ("shared", "removed"):
        writers.write_index(two, writers.empty_index(writers.name_entry(theirs, "tag", "", "1")))
    if how == "link":
        os.symlink(f"{one}/blobs", f"{two}/blobs")
    if how == "same":
        os.rename(two, tmp_path / "gone")
        os.symlink(one, two)
    if how == "own":
        writers.make_image(writers.make_layout(two), "theirs")
        writers.write_index(two, writers.empty_index(writers.name_entry(theirs, "tag", "", "1")))
    if how == "removed":
        os.makedirs(tmp_path / "far" / "root")
        os.rename(two, tmp_path / "far" / "root" / "two")
        cli("--quiet", "add", str(tmp_path / "far" / "root"))
        cli.done("remove", "root/two")
    if how in ("same", "own"):
        assert digests(planned(cli)) == lies
    else:
        result = cli("plan", "prune", *AT_ONCE)
        assert (result.status, result.out) == (1, "")
        assert "not in the catalog" in unjudged(result)["one"]


@pytest.mark.parametrize("seed", range(examples(4)))
def test_random_pools(seed: int, cli: Own, tmp_path: Path, shared: str) -> None:
    """Layouts that share a directory and have one of their own: what is listed is needed by none, garbage is all listed."""
    rng = random.Random(seed)
    needed: set[str] = set()
    everything: set[str] = set()
    paths = [empty(tmp_path / f"s{number}") for number in range(rng.randint(2, 4))]
    for number in range(rng.randint(3, 9)):
        path = rng.choice(paths)
        is_listed = rng.random() < 0.6
        image = image_in(shared, path, f"i{rng.randint(0, 5)}", tag=f"t{number}" if is_listed else "")
        everything |= image
        needed |= image if is_listed else set()
    cli("--quiet", "add", *paths, "--shared-blob-dir", shared)
    asked = [os.path.basename(each) for each in rng.sample(paths, rng.randint(0, len(paths)))]
    play(cli, *asked)
    assert {f"sha256:{each}" for each in os.listdir(f"{shared}/sha256")} == needed
    cli("--quiet", "index")
    assert cli("check").out == ""
    assert everything
