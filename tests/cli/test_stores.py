"""`ocicat stores`: one line per store, in the order in which they answer."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable

import pytest

from tests.cli.conftest import SHOWN, TAGS, Own, Shelf, objects, retag
from tests.cli.program import one_error

Layout = Callable[..., str]
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_one_line_per_store_with_name_path_state_entries_last_change(shelf: Shelf) -> None:
    result = shelf.ask("stores")
    assert (result.status, result.err) == (0, "")
    rows = [line.split("\t") for line in result.lines]
    assert {len(row) for row in rows} == {5}
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["images/alpine"][:3] == [f"{shelf.root}/alpine", "ok", str(len(TAGS))]
    assert by_name["images/hurt"][1:3] == ["invalid", "3"]
    assert by_name["images/void"][1:3] == ["empty", "0"]
    assert all(RFC3339.fullmatch(row[4]) for row in rows)


def test_in_the_order_of_priority_and_name(shelf: Shelf) -> None:
    names = [line.split("\t")[0] for line in shelf.ask("stores").lines]
    assert names[-1] == "solo"  # priority 5
    assert names[:-1] == sorted(names[:-1])


def test_odd_paths_are_escaped_and_bytes_percent_encoded(shelf: Shelf) -> None:
    lines = shelf.ask("stores").lines
    assert any(f"{shelf.root}/odd{SHOWN}\t" in line for line in lines)
    (line,) = [line for line in lines if "%FF" in line]
    assert line.split("\t")[1] == f"{shelf.root}/%FF%25%FE"


@pytest.mark.parametrize(
    ("states", "names"),
    [
        (("empty",), ["images/void"]),
        (("invalid",), ["images/hurt"]),
        (("invalid", "empty"), ["images/hurt", "images/void"]),
        (("missing",), []),
        (("unreadable",), []),
    ],
)
def test_state_filters(shelf: Shelf, states: tuple[str, ...], names: list[str]) -> None:
    options = [word for state in states for word in ("--state", state)]
    result = shelf.ask("stores", *options)
    assert (result.status, result.err) == (0, "")
    assert [line.split("\t")[0] for line in result.lines] == names


def test_all_states_together_are_all_stores(shelf: Shelf) -> None:
    every = [f"--state={state}" for state in ("ok", "empty", "invalid", "unreadable", "missing")]
    assert shelf.ask("stores", *every) == shelf.ask("stores")


def test_the_object_of_a_store(shelf: Shelf) -> None:
    found = objects(shelf.ask("stores", "--format", "json"))
    for each in found:
        assert list(each) == [
            "name", "path", "state", "error", "entries", "naming", "priority", "indexed_at", "changed_at",
            "shared_blob_dir", "host", "shared_as", "sparse", "archive", "unjudged",
        ]  # fmt: skip
        assert (each["error"] is None) == (each["state"] in ("ok", "empty"))
        assert isinstance(each["entries"], int)
        assert isinstance(each["priority"], int)
        for time in (each["indexed_at"], each["changed_at"]):
            assert isinstance(time, str)
            assert RFC3339.fullmatch(time)
    hurt = next(each for each in found if each["name"] == "images/hurt")
    assert "trailing" in str(hurt["error"])
    assert next(each for each in found if each["name"] == "solo")["priority"] == 5


def test_changed_at_moves_with_a_change_and_indexed_at_with_a_reading(cli: Own, layout: Layout) -> None:
    path = layout("alpine", "1")
    cli.done("add", path)
    first = cli.stores()["alpine"]
    cli.done("index")
    assert cli.stores()["alpine"] == first
    cli.done("index", "--full")
    second = cli.stores()["alpine"]
    assert second["changed_at"] == first["changed_at"]
    retag(path, "1", "new")
    cli.done("index")
    third = cli.stores()["alpine"]
    assert str(third["changed_at"]) > str(first["changed_at"])
    shutil.rmtree(path)
    cli("index")
    gone = cli.stores()["alpine"]
    assert (gone["state"], gone["entries"], gone["changed_at"]) == ("missing", 1, third["changed_at"])
    assert "gone" in str(gone["error"])
    assert cli("query").out == ""


def test_unreadable_and_back(cli: Own, layout: Layout) -> None:
    path = layout("alpine", "1")
    cli.done("add", path)
    os.rename(f"{path}/index.json", f"{path}/kept")
    cli("index")
    assert cli.stores()["alpine"]["state"] == "invalid"
    assert cli.stores()["alpine"]["error"] == "no index.json"
    os.rename(f"{path}/kept", f"{path}/index.json")
    cli.done("index")
    assert cli.stores()["alpine"]["state"] == "ok"


def test_an_empty_catalog_has_no_lines(cli: Own) -> None:
    cli.done("db", "upgrade")
    assert cli.done("--quiet", "stores").out == ""
    assert cli.done("--quiet", "stores", "--format", "json").out == "[]\n"
    assert cli.done("--quiet", "stores", "--format", "jsonl").out == ""


def test_a_template(shelf: Shelf) -> None:
    lines = shelf.ask("stores", "--format", "{name}={entries}").lines
    assert "images/alpine=3" in lines
    one_error(shelf.ask("stores", "--format", "{bogus}"), 2, "bogus", "name")
