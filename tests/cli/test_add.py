"""`ocicat add`: what becomes a store, what a root, their names and settings (docs/scripts.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import NASTY, Own, retag
from tests.cli.program import common_directory, needs_root, one_error, ran, ran_as_nobody

Layout = Callable[..., str]


def test_a_layout_becomes_a_store_named_after_its_directory(cli: Own, layout: Layout) -> None:
    path = layout("images/alpine", "3.16")
    cli.done("add", path)
    found = cli.stores()
    assert list(found) == ["alpine"]
    assert found["alpine"]["path"] == path
    assert found["alpine"]["state"] == "ok"
    assert found["alpine"]["entries"] == 1
    assert cli.done("resolve", "oci-layout://alpine:3.16").out.startswith("sha256:")


def test_a_directory_becomes_a_root_with_every_layout_below(cli: Own, layout: Layout, tmp_path: Path) -> None:
    for name in ("alpine", "team/app", "team/app/nested", ".hidden/x", "alpine/blobs/y", "loose"):
        layout(f"images/{name}", "1")
    os.symlink(tmp_path / "images/loose", tmp_path / "images/link")
    cli.done("add", str(tmp_path / "images"))
    assert list(cli.stores()) == ["images/alpine", "images/loose", "images/team/app", "images/team/app/nested"]
    layout("images/later", "1")
    cli.done("index")
    assert "images/later" in cli.stores()


def test_an_empty_root_is_noted(cli: Own, tmp_path: Path, layout: Layout) -> None:
    (tmp_path / "images").mkdir()
    result = cli("add", str(tmp_path / "images"))
    assert (result.status, result.out) == (0, "")
    assert result.said == [f"ocicat: no layout below {tmp_path}/images yet"]
    assert cli("--quiet", "add", str(tmp_path / "images")).err == ""
    layout("images", "1")  # it becomes a layout itself, and stays a root: now a store with its name exists too
    cli.done("add", str(tmp_path / "images"))
    assert list(cli.stores()) == ["images"]
    layout("images/below", "1")
    cli.done("index")
    assert list(cli.stores()) == ["images", "images/below"]


def test_several_paths_at_once(cli: Own, layout: Layout, tmp_path: Path) -> None:
    one, two = layout("one", "1"), layout("roots/two", "1")
    cli.done("add", one, str(tmp_path / "roots"))
    assert list(cli.stores()) == ["one", "roots/two"]
    assert cli.stores()["roots/two"]["path"] == two


def test_a_relative_path_and_a_slash_at_its_end_mean_the_same(cli: Own, layout: Layout, tmp_path: Path) -> None:
    path = layout("images/alpine", "1")
    before = os.getcwd()
    os.chdir(tmp_path / "images")
    try:
        cli.done("add", "alpine")
        cli.done("add", "./alpine/")
        cli.done("add", ".././images/alpine", "--priority", "2")
    finally:
        os.chdir(before)
    assert [(name, each["path"], each["priority"]) for name, each in cli.stores().items()] == [("alpine", path, 2)]


@pytest.mark.parametrize("path", ["nowhere", "file", "dangling", "loop", "", "\x1b[31m\n"])
@pytest.mark.without_catalog
def test_a_path_that_is_not_a_directory_is_refused(cli: Own, tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    os.symlink("nowhere", tmp_path / "dangling")
    os.symlink("loop", tmp_path / "loop")
    result = cli("add", path if path == "" else str(tmp_path / path))
    one_error(result, 2)
    assert not os.path.exists(cli.db)


@pytest.mark.without_catalog
def test_nothing_is_added_if_one_path_is_wrong(cli: Own, layout: Layout, tmp_path: Path) -> None:
    one_error(cli("add", layout("one", "1"), str(tmp_path / "nowhere")), 2, "nowhere")
    assert not os.path.exists(cli.db)


@needs_root
def test_a_directory_without_permission_is_refused() -> None:
    with common_directory() as directory:
        closed = directory / "closed"
        closed.mkdir(mode=0o700)
        result = ran_as_nobody("add", str(closed), db=str(directory / "c.db"))
    one_error(result, 2, "cannot be read", "give this user permission")


# Names


def test_name_gives_another_name(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("images/alpine", "1"), "--name", "base/alpine")
    assert list(cli.stores()) == ["base/alpine"]


def test_the_name_of_a_root_precedes_those_of_its_stores(cli: Own, layout: Layout, tmp_path: Path) -> None:
    layout("images/alpine", "1")
    cli.done("add", str(tmp_path / "images"), "--name", "lab")
    assert list(cli.stores()) == ["lab/alpine"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a:b",
        "a@b",
        "a b",
        "a\tb",
        "a\nb",
        "a\x1bb",
        "a\x9bb",
        "a\u2028b",
        "/a",
        ".a",
        "./a",
        "a\u202eb",
        "a\udcffb",
    ],
)
def test_names_that_could_not_be_used_again_are_refused(cli: Own, layout: Layout, name: str) -> None:
    one_error(cli("add", layout("alpine", "1"), "--name", name), 2, "name")
    assert cli("stores").out == ""


@pytest.mark.parametrize("name", ["a", "A", "a/b", "a.b", "a~2", "ä", "a%20b", "-a", "a=b", "a*"])
def test_other_names_are_accepted(cli: Own, layout: Layout, name: str) -> None:
    cli.done("add", layout("alpine", "1"), f"--name={name}")
    assert list(cli.stores()) == [name]
    assert cli.done("resolve", f"oci-layout://{name}:1").out
    cli.done("remove", "--", name)


def test_name_takes_one_path(cli: Own, layout: Layout) -> None:
    one_error(cli("add", layout("one", "1"), layout("two", "1"), "--name", "x"), 2, "--name")


def test_a_name_that_is_taken_is_refused(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("a/alpine", "1"))
    one_error(cli("add", layout("b/alpine", "1")), 2, "alpine", "--name")
    one_error(cli("add", layout("c/fedora", "1"), "--name", "alpine"), 2, "alpine", "--name")
    cli.done("add", layout("b/alpine", "1"), "--name", "alpine2")
    assert list(cli.stores()) == ["alpine", "alpine2"]


def test_a_discovered_name_that_is_taken_gets_a_number_and_a_line(cli: Own, layout: Layout, tmp_path: Path) -> None:
    cli.done("add", layout("elsewhere", "1"), "--name", "images/alpine")
    cli.done("add", layout("elsewhere2", "1"), "--name", "images/alpine~2")
    layout("images/alpine", "1")
    layout("images/fedora", "1")
    result = cli("add", str(tmp_path / "images"))
    assert (result.status, result.out) == (0, "")
    assert len(result.said) == 1
    assert "images/alpine~3" in result.err
    assert str(tmp_path / "images/alpine") in result.err
    assert {"images/alpine", "images/alpine~2", "images/alpine~3", "images/fedora"} == set(cli.stores())
    assert cli.done("index").err == ""  # reported once
    assert cli.done("resolve", "oci-layout://images/alpine~3:1").out


def test_a_discovered_name_is_percent_encoded(cli: Own, tmp_path: Path) -> None:
    writers.make_layout(str(tmp_path / f"images/x:y@z%1 {NASTY}"))
    cli("add", str(tmp_path / "images"))
    (name,) = cli.stores()
    assert name == "images/x%3Ay%40z%251%20t%09n%0Ar%0Db\\e%1B[31mc%C2%9Bd%7Fu%E2%80%AEl%E2%80%A8p%E2%80%8F"
    assert cli.done("remove", name).out == ""


def test_a_directory_that_begins_with_a_dot_can_be_asked_for(cli: Own, layout: Layout) -> None:
    cli.done("add", layout(".cache", "1"))
    (name,) = cli.stores()
    assert not name.startswith(".")
    assert cli.done("resolve", f"oci-layout://{name}:1").out


# Settings


def test_naming_path_prefix_and_priority(cli: Own, layout: Layout, tmp_path: Path) -> None:
    layout("images/library/alpine", "3.16")
    cli.done("add", str(tmp_path / "images"), "--naming", "path")
    digest = cli.done("resolve", "alpine:3.16").out
    cli.done("add", str(tmp_path / "images"), "--prefix", "registry.example.com")
    assert cli.done("resolve", "registry.example.com/library/alpine:3.16").out == digest
    assert cli("resolve", "alpine:3.16").status == 1
    cli.done("add", str(tmp_path / "images"), "--prefix", "")
    assert cli.done("resolve", "alpine:3.16").out == digest
    cli.done("add", str(tmp_path / "images"), "--priority", "-7")
    (store,) = cli.stores().values()
    assert (store["naming"], store["priority"]) == ("path", -7)
    cli.done("add", str(tmp_path / "images"), "--naming", "fixed=example.com/base")
    assert cli.done("resolve", "example.com/base:3.16").out == digest
    cli.done("add", str(tmp_path / "images"), "--naming", "annotations")
    assert cli("resolve", "example.com/base:3.16").status == 1
    assert cli.done("resolve", ":3.16").out == digest


def test_adding_again_changes_only_what_is_given(cli: Own, layout: Layout) -> None:
    path = layout("alpine", "1")
    cli.done("add", path, "--naming", "fixed=alpine", "--priority", "4", "--name", "x")
    cli.done("add", path)
    assert [(name, each["naming"], each["priority"]) for name, each in cli.stores().items()] == [
        ("x", "fixed=docker.io/library/alpine", 4)
    ]
    cli.done("add", path, "--name", "y")
    cli.done("add", path, "--name", "y")
    assert list(cli.stores()) == ["y"]


def test_a_store_below_a_root_can_have_settings_of_its_own(cli: Own, layout: Layout, tmp_path: Path) -> None:
    layout("images/a", "1")
    layout("images/b", "1")
    cli.done("add", str(tmp_path / "images"), "--naming", "path")
    cli.done("add", str(tmp_path / "images/a"), "--naming", "fixed=special", "--name", "special")
    cli.done("add", str(tmp_path / "images"), "--priority", "3")
    found = cli.stores()
    assert found["special"]["naming"] == "fixed=docker.io/library/special"
    assert found["images/b"]["naming"] == "path"
    assert found["images/b"]["priority"] == 3
    assert cli.done("resolve", "special:1").out


@pytest.mark.parametrize(
    "naming", ["", "bogus", "fixed", "fixed=", "fixed=UPPER", "fixed=a:b", "fixed=a@b", "PATH", "path=x"]
)
@pytest.mark.without_catalog
def test_a_bad_naming_policy_is_refused(cli: Own, layout: Layout, naming: str) -> None:
    message = one_error(cli("add", layout("alpine", "1"), "--naming", naming), 2)
    assert "fixed=" in message
    assert not os.path.exists(cli.db)


@pytest.mark.parametrize("prefix", ["reg/UPPER", "a b", "x:y:z", "http://registry", "/", "a@b", "reg\x1b"])
def test_a_bad_prefix_is_refused(cli: Own, layout: Layout, prefix: str) -> None:
    one_error(cli("add", layout("images/alpine", "1"), "--naming", "path", "--prefix", prefix), 2, "registry")


def test_a_prefix_without_a_path_policy_is_refused(cli: Own, layout: Layout, tmp_path: Path) -> None:
    layout("images/alpine", "1")
    for naming in ((), ("--naming", "annotations"), ("--naming", "fixed=x")):
        one_error(cli("add", str(tmp_path / "images"), "--prefix", "registry.example.com", *naming), 2, "--naming path")
    assert cli("stores").out == ""


@pytest.mark.parametrize("priority", ["x", "1.5", "99999999999999999999", ""])
def test_a_bad_priority_is_refused(cli: Own, layout: Layout, priority: str) -> None:
    one_error(cli("add", layout("alpine", "1"), "--priority", priority), 2, "--priority")


# Indexing


def test_no_index_registers_only(cli: Own, layout: Layout, tmp_path: Path) -> None:
    path = layout("alpine", "1")
    layout("images/b", "1")
    cli.done("add", path, str(tmp_path / "images"), "--no-index")
    (store,) = cli.stores().values()
    assert store["state"] == "invalid"
    assert store["entries"] == 0
    assert "'ocicat index'" in str(store["error"])
    assert store["indexed_at"] is None
    cli.done("index")
    assert {each["state"] for each in cli.stores().values()} == {"ok"}
    assert list(cli.stores()) == ["alpine", "images/b"]


def test_broken_layouts_below_get_a_line_each_and_are_no_failure(cli: Own, layout: Layout, tmp_path: Path) -> None:
    layout("images/good", "1")
    for name, text in (("torn", "{"), ("text", "hello"), ("array", "[]")):
        Path(layout(f"images/{name}"), "index.json").write_text(text)
    os.unlink(Path(layout("images/none"), "index.json"))
    result = cli("add", str(tmp_path / "images"))
    assert (result.status, result.out) == (0, "")
    assert len(result.said) == 4
    for name in ("torn", "text", "array", "none"):
        (line,) = [each for each in result.said if each.startswith(f"ocicat: images/{name}: invalid: ")]
        assert str(tmp_path / "images" / name) in line
    states = {name: each["state"] for name, each in cli.stores().items()}
    assert states == {
        "images/array": "invalid", "images/good": "ok", "images/none": "invalid", "images/text": "invalid",
        "images/torn": "invalid",
    }  # fmt: skip
    assert cli("check").status == 1


def test_adding_again_reads_what_has_changed(cli: Own, layout: Layout) -> None:
    path = layout("alpine", "1")
    cli.done("add", path)
    digest = retag(path, "1", "other")
    cli.done("add", path)
    assert cli.done("resolve", "oci-layout://alpine:1").out == f"{digest}\n"


def test_add_waits_for_a_file_that_was_just_written(tmp_path: Path, layout: Layout) -> None:
    """With the default settling time, the program waits a quarter of a second and then reads the file."""
    path = layout("alpine", "1")
    result = ran("add", path, db=str(tmp_path / "c.db"))
    assert (result.status, result.err) == (0, "")
    assert ran("resolve", "oci-layout://alpine:1", db=str(tmp_path / "c.db")).status == 0


def test_nothing_is_written_into_a_layout(cli: Own, layout: Layout, tmp_path: Path) -> None:
    path = layout("images/alpine", "1")

    def state() -> list[tuple[str, list[str], list[str], int]]:
        return [(at, dirs, files, os.stat(at).st_mtime_ns) for at, dirs, files in os.walk(path)]

    before = state()
    cli.done("add", str(tmp_path / "images"))
    cli.done("index", "--full")
    assert state() == before
