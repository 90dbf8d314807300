"""`ocicat check`: problems, and status 1 where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests import writers
from tests.cli.conftest import Own, Shelf, objects
from tests.cli.program import one_error

Layout = Callable[..., str]


def test_no_problem_is_status_0_and_no_line(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("a", "1"))
    assert cli.done("check").out == ""
    assert cli.done("check", "a").out == ""
    assert cli.done("check", "--format", "json").out == "[]\n"


def problems(cli: Own, *arguments: str) -> list[tuple[str, str]]:
    result = cli("check", *arguments)
    assert result.err == ""
    assert result.status == (1 if result.out else 0)
    rows = [line.split("\t") for line in result.lines]
    assert {len(row) for row in rows} <= {4}
    assert all(row[2] and row[3] for row in rows), rows  # what it is about, and why
    return [(row[0], row[1]) for row in rows]


def test_invalid_and_missing_stores(cli: Own, layout: Layout) -> None:
    for name in ("good", "torn", "gone"):
        cli.done("add", layout(name, "1"))
    shutil.rmtree(Path(cli.directory, "gone"))
    Path(cli.directory, "torn", "index.json").write_text('{"manifests": [')
    assert len(cli("index").said) == 2
    assert problems(cli) == [("gone", "missing"), ("torn", "invalid")]
    assert problems(cli, "torn") == [("torn", "invalid")]
    assert problems(cli, "good") == []
    assert problems(cli, "g*") == [("gone", "missing")]
    assert problems(cli, "good", "t*n") == [("torn", "invalid")]


def test_entries_and_names_that_cannot_be_used(cli: Own, layout: Layout) -> None:
    path = layout("a")
    good = writers.make_image(path, "good")
    entries = [
        good | {"annotations": {writers.REF_NAME: ""}},
        good | {"annotations": {writers.REF_NAME: "no name at all!"}},
        good | {"annotations": {writers.IMAGE_NAME: "UPPER CASE"}},
        good | {"annotations": {writers.REF_NAME: f"alpine@sha256:{'0' * 64}"}},
        good | {"annotations": {writers.REF_NAME: "x" * 5000}},
        good | {"annotations": {"n": 1}, "size": "big"},
        {"digest": "sha256:../../../etc/passwd", "size": 1},
        {"digest": 5},
        "text",
        None,
        {},
    ]
    writers.write_index(path, {"schemaVersion": 2, "manifests": entries})
    cli.done("add", path)
    store = cli.stores()["a"]
    assert (store["state"], store["entries"]) == ("ok", 6)
    found = problems(cli)
    kinds = {kind for _, kind in found}
    assert {"unusable-name", "name-digest", "long-name", "bad-descriptor", "descriptor-field"} <= kinds
    assert sum(kind == "bad-descriptor" for _, kind in found) == 5
    assert cli("resolve", f"@{good['digest']}").status == 0


def test_a_policy_that_gives_no_repository(cli: Own, layout: Layout, tmp_path: Path) -> None:
    cli.done("add", layout("alone", "1"), "--naming", "path")
    layout("images/UPPER", "1")
    cli.done("add", str(tmp_path / "images"), "--naming", "path")
    assert problems(cli) == [("alone", "no-repository"), ("images/UPPER", "no-repository")]


def test_an_unknown_store_is_a_wrong_call(shelf: Shelf) -> None:
    one_error(shelf.ask("check", "nope"), 2, "nope", "'ocicat stores'")
    one_error(shelf.ask("check", "n*"), 2, "n*")


def test_formats(shelf: Shelf) -> None:
    result = shelf.ask("check", "images/hurt", "--format", "json")
    (problem,) = objects(result)
    assert result.status == 1
    assert list(problem) == ["store", "kind", "subject", "detail"]
    assert (problem["store"], problem["kind"], problem["subject"]) == ("images/hurt", "invalid", f"{shelf.root}/hurt")
    assert shelf.ask("check", "images/hurt", "--format", "{store}: {kind}").out == "images/hurt: invalid\n"
    assert shelf.ask("check", "images/hurt", "--format", "csv").lines[0] == "store,kind,subject,detail\r"
    one_error(shelf.ask("check", "--format", "bogus"), 2, "bogus", "jsonl")
