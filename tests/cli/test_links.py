"""Registered symbolic links: ocicat keeps the path as given, and follows that one link each time it looks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.names.paths import kept_path, registered_as
from tests.cli.conftest import Own
from tests.cli.program import one_error

Layout = Callable[..., str]


def moved(link: Path, target: str) -> None:
    """Let a link lead elsewhere, in one step (`ln -sfn` takes two)."""
    os.symlink(target, f"{link}.new")
    os.rename(f"{link}.new", link)


def paths(cli: Own) -> dict[str, str]:
    return {name: str(each["path"]) for name, each in cli.stores().items()}


def answer(cli: Own, *arguments: str) -> str:
    return cli.done("resolve", "--format", "{digest}", *arguments).out


@pytest.fixture
def versions(layout: Layout) -> list[str]:
    """Two layouts with the same tag, each for a different image."""
    return [layout(name, "1", repository="docker.io/library/app", style="containerd") for name in ("v1", "v2")]


@pytest.mark.parametrize("way", ["index", "fresh"])
def test_a_link_is_kept_and_followed(cli: Own, versions: list[str], tmp_path: Path, way: str) -> None:
    link = tmp_path / "current"
    link.symlink_to("v1")
    cli.done("add", str(link))
    assert paths(cli) == {"current": str(link)}
    first = answer(cli, "app:1")
    for target in ("v2", "v1", str(tmp_path / "v2")):
        moved(link, target)
        before = answer(cli, "app:1")
        if way == "index":
            cli.done("index")
            assert answer(cli, "app:1") != before
        else:
            assert answer(cli, "--fresh", "app:1") != before
    assert answer(cli, "app:1") != first
    assert len(cli.done("history", "app:1").lines) >= 3
    assert cli.stores()["current"]["state"] == "ok"


@pytest.mark.parametrize("form", ["oci:{}:1", "oci-layout://{}/app:1", "ocidir://{}:1", "oci-layout://{}:1"])
def test_a_link_and_its_target_are_both_found(cli: Own, layout: Layout, tmp_path: Path, form: str) -> None:
    target = layout("v1", "1", style="containerd")
    other = layout("v2", "1", style="containerd")
    link = tmp_path / "current"
    link.symlink_to("v1")
    cli.done("add", target)
    assert answer(cli, form.format(link)) == answer(cli, form.format(target)), "the target is registered"
    cli.done("add", str(link))
    assert paths(cli) == {"current": str(link), "v1": target}
    moved(link, "v2")
    cli.done("index")
    assert answer(cli, form.format(link)) != answer(cli, form.format(target))
    one_error(cli("resolve", form.format(other)), 2, "not registered")


def test_relative_with_a_slash_and_through_a_linked_parent(
    cli: Own, versions: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "current").symlink_to("v1")
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    for given in ("current", "./current/", "elsewhere/current", "v1/../current"):
        cli.done("add", given)
        assert paths(cli) == {"current": f"{tmp_path}/current"}
        assert answer(cli, f"oci-layout://./{given}/app:1")
    cli.done("add", "current/.")
    assert paths(cli) == {"current": f"{tmp_path}/current", "v1": f"{tmp_path}/v1"}
    cli.done("remove", "./elsewhere/current")
    assert paths(cli) == {"v1": f"{tmp_path}/v1"}


def test_a_link_that_dangles_is_missing(cli: Own, versions: list[str], tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to("v1")
    cli.done("add", str(link))
    moved(link, "nowhere")
    assert cli("index").status == 0
    assert cli.stores()["current"]["state"] == "missing"
    assert cli("resolve", "app:1").status == 1
    moved(link, "v2")
    assert answer(cli, "--fresh", "app:1")
    assert cli.stores()["current"]["state"] == "ok"


def test_a_root_that_is_a_link(cli: Own, layout: Layout, tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        layout(f"{version}/team/app", "1", style="tag")
        layout(f"{version}/only-{version}", "1", style="tag")
    link = tmp_path / "current"
    link.symlink_to("v1")
    cli.done("add", str(link), "--naming", "path")
    assert paths(cli) == {"current/only-v1": f"{link}/only-v1", "current/team/app": f"{link}/team/app"}
    before = answer(cli, "team/app:1")
    assert answer(cli, f"oci-layout://{link}/team/app:1") == before
    moved(link, "v2")
    assert answer(cli, "--fresh", "team/app:1") != before
    assert answer(cli, "--fresh", "only-v2:1")
    assert cli("index").status == 0
    assert cli.stores()["current/only-v1"]["state"] == "missing"


def test_a_link_below_a_root_is_followed_only_where_it_is_added(cli: Own, layout: Layout, tmp_path: Path) -> None:
    layout("R/a", "1", style="containerd", repository="docker.io/library/one")
    for version in ("v1", "v2"):
        layout(version, "1", style="containerd", repository="docker.io/library/app")
    link = tmp_path / "R/current"
    link.symlink_to("../v1")
    (tmp_path / "R/other").symlink_to("../v1")
    cli.done("add", str(tmp_path / "R"))
    assert list(paths(cli)) == ["R/a"]
    cli.done("add", str(link))
    assert paths(cli) == {"R/a": f"{tmp_path}/R/a", "R/current": str(link)}
    before = answer(cli, "app:1")
    moved(link, "../v2")
    assert answer(cli, "--fresh", "app:1") != before
    os.rename(tmp_path / "R/a", tmp_path / "moved")
    (tmp_path / "R/a").symlink_to("../moved")
    assert cli("index").status == 0
    assert {name: each["state"] for name, each in cli.stores().items()} == {"R/a": "missing", "R/current": "ok"}


def test_links_inside_a_layout_are_not_followed(cli: Own, versions: list[str], tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to("v1")
    cli.done("add", str(link))
    os.rename(f"{versions[0]}/index.json", tmp_path / "away.json")
    os.symlink(tmp_path / "away.json", f"{versions[0]}/index.json")
    assert cli("index").status == 0
    assert cli.stores()["current"]["state"] == "invalid"


def test_a_shared_directory_that_is_a_link(cli: Own, layout: Layout, tmp_path: Path) -> None:
    path = layout("a", "1")
    for version in ("s1", "s2"):
        (tmp_path / version).mkdir()
    os.rename(f"{path}/blobs/sha256", tmp_path / "s2/sha256")
    os.mkdir(f"{path}/blobs/sha256")
    link = tmp_path / "shared"
    link.symlink_to("s1")
    cli.done("add", path, "--shared-blob-dir", str(link))
    assert cli("check").status == 1
    moved(link, "s2")
    cli.done("index")
    assert cli.done("check").out == ""


def test_the_path_that_is_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v1/sub").mkdir(parents=True)
    (tmp_path / "cur").symlink_to("v1")
    (tmp_path / "up").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    top = str(tmp_path)
    assert kept_path("up/cur") == kept_path("cur/") == f"{top}/cur"
    assert kept_path("cur/sub") == f"{top}/v1/sub"
    assert kept_path("cur/..") == kept_path(".") == top
    assert kept_path("/") == "/"
    assert registered_as("v1/sub") == [f"{top}/v1/sub"]
    assert registered_as("up/cur/sub") == [f"{top}/up/cur/sub", f"{top}/cur/sub", f"{top}/v1/sub"]
    assert registered_as("cur/../v1") == [f"{top}/v1"]


def test_an_image_id_or_a_layer_gets_a_hint_at_contains(cli: Own, layout: Layout, tmp_path: Path) -> None:
    path = layout("a", "1")
    cli.done("add", path)
    with open(f"{path}/index.json") as file:
        entry = json.load(file)["manifests"][0]["digest"]
    with open(f"{path}/blobs/{entry.replace(':', '/')}") as file:
        manifest = json.load(file)
    for part in (manifest["config"]["digest"], manifest["layers"][0]["digest"]):
        for text in (part, f"app@{part}", f"oci-layout://a@{part}", part.removeprefix("sha256:")):
            one_error(cli("resolve", text), 1, f"--contains {part}")
            one_error(cli("query", text), 1, f"--contains {part}")
    assert len(cli.done("query", "--contains", part).lines) == 1


def test_a_path_through_a_link_that_cannot_be_read(cli: Own, unreadable_link: str) -> None:
    below = f"{unreadable_link}/app"
    one_error(cli("add", below), 2, "does not exist")
    for form in ("oci:{}:1", "oci-layout://{}/app:1", "ocidir://{}:1"):
        one_error(cli("resolve", form.format(below)), 2, "'ocicat add PATH' adds one")
    one_error(cli("--db", f"{below}.db", "resolve", "app:1"), 4, "there is no catalog")
    one_error(cli("--db", unreadable_link, "resolve", "app:1"), 4, "is a directory")
