"""`ocicat check`: lists problems, and ends with status 1 if there is one."""

from __future__ import annotations

import json
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
    assert all(row[2] and row[3] for row in rows), rows  # the subject, and the reason
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


def test_an_unknown_store_has_status_2(shelf: Shelf) -> None:
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


# Blobs


def subjects(cli: Own, *arguments: str) -> list[list[str]]:
    """Return the store, kind and subject of each problem."""
    return [line.split("\t")[:3] for line in cli("check", *arguments).lines]


def blob(path: str, digest: str) -> Path:
    return Path(path, "blobs", *digest.split(":"))


def test_absent_blobs(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "a"))
    images = [writers.make_image(path, str(number), layers=2) for number in range(3)]
    manifests = [json.loads(blob(path, image["digest"]).read_bytes()) for image in images]
    writers.write_index(path, writers.empty_index(*images))
    cli.done("add", path)
    assert subjects(cli) == []
    gone = [images[0]["digest"], manifests[1]["config"]["digest"], manifests[2]["layers"][1]["digest"]]
    for digest in gone:
        blob(path, digest).unlink()
    cli.done("index")
    assert subjects(cli) == [["a", "missing-blob", digest] for digest in sorted(gone)]
    details = {line.split("\t")[2]: line.split("\t")[3] for line in cli("check").lines}
    assert details == {
        gone[0]: "the manifest of an entry",
        gone[1]: f"config of {images[1]['digest']}",
        gone[2]: f"layers[1] of {images[2]['digest']}",
    }


def test_a_sparse_index_is_no_problem(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "a"))
    here = writers.make_image(path, "here") | {"platform": writers.platform("linux", "amd64")}
    elsewhere = writers.fake_descriptor("elsewhere") | {"platform": writers.platform("linux", "arm64")}
    writers.write_index(path, writers.empty_index(writers.make_index_image(path, [here, elsewhere])))
    cli.done("add", path)
    assert subjects(cli) == []


def test_bytes_that_are_not_a_manifest(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "a"))
    entry = writers.write_blob(path, b"no JSON at all", writers.MANIFEST_TYPE)
    text = writers.write_blob(path, b"nor is this, and says so", "text/plain")
    writers.write_index(path, writers.empty_index(entry, text))
    cli.done("add", path)
    assert subjects(cli) == [["a", "unusable-content", entry["digest"]]]


def test_a_manifest_that_does_not_match_its_digest_is_listed_once(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "a"))
    image = writers.make_image(path, "a")
    blob(path, image["digest"]).write_bytes(b"{}")
    writers.write_index(path, writers.empty_index(image))
    cli.done("add", path)
    assert subjects(cli) == [["a", "digest-differs", image["digest"]]]
    assert cli("verify").status == 1
    assert subjects(cli) == [["a", "digest-differs", image["digest"]]], (
        "reading and verify both found it, so there must be only one line"
    )


def test_a_layer_that_verify_found_bad(cli: Own, tmp_path: Path) -> None:
    for name in ("a", "b"):
        path = writers.make_layout(str(tmp_path / name))
        image = writers.make_image(path, "the same")
        writers.write_index(path, writers.empty_index(image))
        cli.done("add", path)
    layer = json.loads(blob(path, image["digest"]).read_bytes())["layers"][0]["digest"]
    with blob(path, layer).open("r+b") as file:
        file.write(b"x")
    assert subjects(cli) == []
    assert cli("verify").status == 1
    assert subjects(cli) == [["b", "digest-differs", layer]]
    assert subjects(cli, "a") == []
