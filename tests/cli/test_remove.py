"""`ocicat remove`: stores and roots, by name and by path; what is left out afterwards, and how it comes back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Own
from tests.cli.program import one_error

Layout = Callable[..., str]


@pytest.mark.parametrize("by", ["name", "path", "relative", "slash", "link"])
def test_a_store_by_name_or_path(cli: Own, layout: Layout, tmp_path: Path, by: str) -> None:
    path = layout("alpine", "1")
    layout("other", "1")
    os.symlink(path, tmp_path / "link")
    cli.done("add", path, "--name", "x")
    cli.done("add", str(tmp_path / "other"))
    text = {
        "name": "x",
        "path": path,
        "relative": os.path.relpath(path),
        "slash": f"{path}/",
        "link": f"{tmp_path}/link",
    }
    cli.done("remove", text[by])
    assert list(cli.stores()) == ["other"]
    assert cli("resolve", "oci-layout://x:1").status == 2
    assert os.path.exists(f"{path}/index.json")
    cli.done("index")
    assert list(cli.stores()) == ["other"]


def test_a_name_takes_precedence_over_a_path(
    cli: Own, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x", "other", "third", "r/one"):
        layout(name, "1")
    cli.done("add", str(tmp_path / "x"), "--name", "y")
    cli.done("add", str(tmp_path / "other"), "--name", "x")
    cli.done("add", str(tmp_path / "r"), "--name", "images")
    cli.done("add", str(tmp_path / "third"), "--name", "r")
    monkeypatch.chdir(tmp_path)
    assert "1 store," in cli("--verbose", "index", "x").err
    cli.done("remove", "x")
    assert list(cli.stores()) == ["images/one", "r", "y"]
    cli.done("remove", "r")
    assert list(cli.stores()) == ["images/one", "y"]
    cli.done("remove", "x", "./r")  # no name any more: paths
    assert cli.stores() == {}


@pytest.mark.parametrize("by", ["name", "path"])
def test_a_root_is_removed_with_all_its_stores(cli: Own, layout: Layout, tmp_path: Path, by: str) -> None:
    for name in ("images/a", "images/b/c", "alone"):
        layout(name, "1")
    cli.done("add", str(tmp_path / "images"), str(tmp_path / "alone"))
    cli.done("remove", {"name": "images", "path": str(tmp_path / "images")}[by])
    assert list(cli.stores()) == ["alone"]
    assert cli.done("query").out.count("\n") == 1
    cli.done("index")
    assert list(cli.stores()) == ["alone"]


def test_a_store_below_a_root_is_left_out_until_it_is_added_again(cli: Own, layout: Layout, tmp_path: Path) -> None:
    for name in ("a", "b"):
        layout(f"images/{name}", "1")
    cli.done("add", str(tmp_path / "images"))
    cli.done("remove", "images/a")
    for again in (("index",), ("index", "images")):
        cli.done(*again)
        assert list(cli.stores()) == ["images/b"]
    (said,) = cli("add", str(tmp_path / "images")).said
    assert (
        said == f"ocicat: {tmp_path}/images/a was removed, so it is left out: 'ocicat add' with its path brings it back"
    )
    assert list(cli.stores()) == ["images/b"]
    cli.done("add", str(tmp_path / "images/a"))
    cli.done("add", str(tmp_path / "images"))
    assert list(cli.stores()) == ["images/a", "images/b"]
    cli.done("remove", "images/b", "images")
    cli.done("add", str(tmp_path / "images"))
    assert list(cli.stores()) == ["images/a", "images/b"]  # removing the root also forgets what was left out


def test_a_store_that_is_gone_from_disk(cli: Own, layout: Layout) -> None:
    path = layout("alpine", "1")
    cli.done("add", path)
    shutil.rmtree(path)
    cli("index")
    assert cli.stores()["alpine"]["state"] == "missing"
    cli.done("remove", path)
    assert cli.stores() == {}


def test_several_are_removed_or_none(cli: Own, layout: Layout) -> None:
    for name in ("a", "b", "c"):
        cli.done("add", layout(name, "1"))
    one_error(cli("remove", "a", "nope"), 2, "nope", "'ocicat stores'")
    assert list(cli.stores()) == ["a", "b", "c"]
    cli.done("remove", "a", "c")
    assert list(cli.stores()) == ["b"]


@pytest.mark.parametrize("text", ["", "nope", "/nope", "alpine/", "a*", "alpin", "images/alpine", "\x1b"])
def test_an_unregistered_name_or_path_is_refused(cli: Own, layout: Layout, text: str) -> None:
    cli.done("add", layout("alpine", "1"))
    one_error(cli("remove", text), 2)
    assert list(cli.stores()) == ["alpine"]


def test_the_rows_of_a_removed_store_are_deleted(cli: Own, layout: Layout) -> None:
    path = layout("alpine", "1", style="short")
    cli.done("add", path)
    digest = cli.done("resolve", "app:1").out.strip()
    cli.done("remove", "alpine")
    assert cli("resolve", "app:1").status == 1
    assert cli("resolve", digest).status in (1, 4)
    assert cli.done("sql", "SELECT count(*) FROM images").out == "0\n"
    assert cli.done("db", "check").out == ""
