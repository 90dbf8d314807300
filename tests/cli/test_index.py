"""`ocicat index` makes one pass: it reads what changed, and only stats the rest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.cli import start
from tests import writers
from tests.cli.conftest import Own, retag
from tests.cli.program import by_click, called, one_error
from tests.conftest import ON_SQLITE, stamp
from tests.effort import pairs

Layout = Callable[..., str]


def test_what_changed_is_read(cli: Own, layout: Layout, tmp_path: Path) -> None:
    for name in ("images/a", "images/b", "alone"):
        layout(name, "1")
    cli.done("add", str(tmp_path / "images"), str(tmp_path / "alone"))
    digests = {name: retag(str(tmp_path / name), "1", f"new {name}") for name in ("images/b", "alone")}
    layout("images/c", "1")
    shutil.rmtree(tmp_path / "images/a")
    result = cli("--verbose", "index")
    assert (result.status, result.out) == (0, "")
    assert result.said[-1].startswith("ocicat: 4 stores, 1 of them new, 3 changed")
    assert any(line.startswith("ocicat: images/a: missing: the directory is gone") for line in result.said)
    assert {name: each["state"] for name, each in cli.stores().items()} == {
        "alone": "ok", "images/a": "missing", "images/b": "ok", "images/c": "ok",
    }  # fmt: skip
    for name, digest in digests.items():
        assert cli.done("resolve", f"oci-layout://{name}:1").out == f"{digest}\n"


def test_a_second_pass_prints_and_changes_nothing(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("a", "1"))
    broken = layout("broken", "1")
    Path(broken, "index.json").write_text("{")
    assert len(cli("add", broken).said) == 1
    assert cli.done("index").err == ""  # a new state is reported once
    assert cli.done("index").err == ""


@pytest.mark.parametrize("by", ["name", "path"])
def test_only_the_given_stores_are_indexed(cli: Own, layout: Layout, tmp_path: Path, by: str) -> None:
    for name in ("images/a", "alone", "other"):
        layout(name, "1")
    cli.done("add", *(str(tmp_path / name) for name in ("images", "alone", "other")))
    digests = {name: retag(str(tmp_path / name), "1", f"new {name}") for name in ("images/a", "alone", "other")}
    layout("images/b", "1")

    def current() -> set[str]:
        return {
            name
            for name, digest in digests.items()
            if cli.done("resolve", f"oci-layout://{name}:1").out.strip() == digest
        }

    cli.done("index", "alone" if by == "name" else str(tmp_path / "alone"))
    assert current() == {"alone"}
    assert "images/b" not in cli.stores()
    cli.done("index", "images" if by == "name" else str(tmp_path / "images"))
    assert current() == {"alone", "images/a"}
    assert "images/b" in cli.stores()
    cli.done("index", "images/a", "other")
    assert current() == set(digests)


@pytest.mark.parametrize("text", ["nope", "/nope", ""])
def test_an_unregistered_name_or_path_is_refused(cli: Own, layout: Layout, text: str) -> None:
    path = layout("a", "1")
    cli.done("add", path)
    digest = cli.done("resolve", "oci-layout://a:1").out
    retag(path, "1", "new")
    one_error(cli("index", "a", text), 2)
    assert cli.done("resolve", "oci-layout://a:1").out == digest


@ON_SQLITE
def test_full_reads_files_that_look_unchanged(cli: Own, layout: Layout) -> None:
    path = layout("a", "1")
    cli.done("add", path)
    file = Path(path, "index.json")
    before = os.stat(file)
    real = cli.done("sql", "SELECT digest FROM images").out.strip()
    # A wrong clock, or a file system without times, leaves everything that stat returns unchanged. A change time cannot be
    # set, so the test changes what the catalog has recorded instead.
    import sqlite3

    with sqlite3.connect(cli.db) as connection:
        connection.execute(
            "UPDATE content SET digest = ? WHERE id = (SELECT content_id FROM entry)", (f"sha256:{'0' * 64}",)
        )
        connection.execute("UPDATE entry SET fingerprint = NULL")
    connection.close()
    cli.done("index")
    assert cli.done("sql", "SELECT digest FROM images").out.strip() != real
    cli.done("index", "--full")
    assert cli.done("sql", "SELECT digest FROM images").out.strip() == real
    assert os.stat(file).st_mtime_ns == before.st_mtime_ns


def test_every_way_of_writing_is_noticed(cli: Own, layout: Layout) -> None:
    path = layout("a", "1")
    cli.done("add", path)
    for style in writers.WRITE_STYLES:
        index = writers.read_index(path)
        entry = writers.name_entry(writers.fake_descriptor(style), "tag", "docker.io/library/x", "1")
        writers.write_index(path, writers.retag_replace(index, entry), style)
        cli.done("index")
        assert cli.done("resolve", "oci-layout://a:1").out == f"{entry['digest']}\n", style


def test_the_stores_of_a_root_that_is_gone_are_missing(cli: Own, layout: Layout, tmp_path: Path) -> None:
    layout("images/a", "1")
    cli.done("add", str(tmp_path / "images"))
    os.rename(tmp_path / "images", tmp_path / "away")
    result = cli("index")
    assert result.status == 0
    assert any(str(tmp_path / "images") in line for line in result.said)
    assert cli.stores()["images/a"]["state"] == "missing"
    assert cli("resolve", ":1").status == 1
    os.rename(tmp_path / "away", tmp_path / "images")
    cli.done("index")
    assert cli.done("resolve", ":1").out


def test_the_rows_of_a_store_that_stays_away_go_after_the_grace_time(cli: Own, layout: Layout) -> None:
    path = layout("a", "1")
    cli.done("add", path)
    shutil.rmtree(path)
    assert len(cli("index").said) == 1
    Path(cli.config).write_text("[watch]\nsettle_ms = 0\n[retention]\ngrace_days = 0\n")
    result = cli("index")
    assert result.said == ["ocicat: a: missing for longer than the grace time, its rows are dropped"]
    assert cli.stores()["a"]["entries"] == 0


def test_an_empty_catalog(cli: Own) -> None:
    cli.done("db", "upgrade")
    cli.done("index")


def _settled(cli: Own, layout: Layout, tmp_path: Path) -> None:
    """Make a catalog of two stores that have not changed for a long time."""
    for name in ("images/a", "images/b"):
        path = layout(name, "1")
        for directory in ("blobs", "blobs/sha256"):
            stamp(f"{path}/{directory}")
    cli.done("add", str(tmp_path / "images"))
    cli.done("index")


@ON_SQLITE
@pytest.mark.parametrize(
    ("words", "change"),
    pairs(
        [["index"], ["--verbose", "index"], ["index", "--quiet"], ["--quiet", "index", "--verbose"]],
        [None, "write", "tear", "remove", "discover"],
    ),
)
def test_the_first_check_changes_no_output_and_no_result(
    cli: Own, layout: Layout, tmp_path: Path, words: list[str], change: str | None
) -> None:
    """Compared on two copies of one catalog."""
    _settled(cli, layout, tmp_path)
    copies = [f"{cli.db}.{number}" for number in range(2)]
    for db in copies:
        shutil.copyfile(cli.db, db)
        called("index", db=db)
    if change == "write":
        retag(str(tmp_path / "images/a"), "1", "new")
    elif change == "tear":
        Path(tmp_path, "images/a/index.json").write_text("{")
    elif change == "remove":
        shutil.rmtree(tmp_path / "images/b")
    elif change == "discover":
        layout("images/c", "1")
    found = []
    for db, run in zip(copies, (start.run, by_click), strict=True):
        passes = [called(*words, db=db, run=run) for _ in range(2)]
        stores = [line.split("\t")[:4] for line in called("stores", "--format", "tsv", db=db).lines]
        found.append((passes, stores))
    assert found[0] == found[1]
    assert [done.status for done in found[0][0]] == [0, 0]


@pytest.mark.parametrize(
    "words",
    [
        ["index", "a"], ["index", "--full"], ["--config", "f", "index"], ["index", "--db"], ["index", "--db", "-x"],
        ["index", "index"], ["index", "--help"], ["--debug", "index"], ["index", "--db", "a", "--db", "b"], ["--db", "index"],
        ["query", "x"], ["add", "index"], ["index", "--", "x"], ["index", "--db="], ["--verbose=1", "index"],
    ],
)  # fmt: skip
def test_any_other_index_is_left_to_click(words: list[str]) -> None:
    assert start.plain_index(words) is None


def test_a_bare_index_is_checked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCICAT_INDEX_FULL", raising=False)
    assert start.plain_index(["index"]) == ""
    assert start.plain_index(["--db", "index", "--quiet", "index", "--verbose"]) == "index"
    assert start.plain_index(["index", "--db=a"]) == "a"
    monkeypatch.setenv("OCICAT_INDEX_FULL", "1")
    assert start.plain_index(["index"]) is None
