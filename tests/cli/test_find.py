"""`ocicat find`: what a plain scan of all names finds, the best match first."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable

import pytest

from tests import writers
from tests.cli.conftest import Own, Shelf, objects
from tests.cli.program import by_click, called
from tests.effort import some


def found(shelf: Shelf | Own, *arguments: str) -> list[tuple[object, object]]:
    run = shelf.ask if isinstance(shelf, Shelf) else shelf
    return [
        (each["store"], each["name"] or each["tag"]) for each in objects(run("find", *arguments, "--format", "json"))
    ]


def scanned(rows: list[dict[str, object]], words: list[str]) -> set[tuple[object, object]]:
    """The entries in which every word occurs, as a scan of the answer of `query` tells."""
    return {
        (row["store"], row["digest"])
        for row in rows
        if all(
            any(
                word.lower() in str(text).lower()
                for text in (row["store"], row["repository"] or "", row["tag"] or "", *list(row["names"]))  # type: ignore[call-overload]
            )
            for word in words
        )
    }


WORDS = (
    "alp",
    "ALPINE",
    "3.1",
    "busy",
    "latest",
    "box:3",
    "library/c",
    "images",
    "solo",
    "docker.io",
    "_",
    "%",
    "\\",
    "7",
    "ctr:3.16",
)


@pytest.mark.parametrize("count", [1, 2])
def test_it_finds_what_a_scan_of_all_names_finds(shelf: Shelf, count: int) -> None:
    everything = objects(shelf.ask("query", "--format", "json"))
    for words in some(itertools.combinations(WORDS, count), 1 if count == 1 else 4):
        rows = shelf.ask("find", *words, "--limit", "1000", "--format", "jsonl")
        assert rows.status in (0, 1), rows
        objects_ = [json.loads(line) for line in rows.out.splitlines()]
        assert len({(each["store"], each["name"], each["tag"], each["digest"]) for each in objects_}) == len(objects_)
        assert {(each["store"], each["digest"]) for each in objects_} == scanned(everything, list(words)), words


def test_the_best_match_comes_first(cli: Own, layout: Callable[..., str]) -> None:
    for name, repository in (
        ("one", "docker.io/library/tool-extra"),
        ("two", "docker.io/library/tool"),
        ("three", "quay.io/team/tool"),
        ("four", "quay.io/team/mytool"),
    ):
        cli.done("add", layout(name, "1.0", style="canonical", repository=repository))
    cli.done("add", layout("tool", "2.0"))
    cli.done("add", layout("tagged", "tool", "retool"))
    assert [store for store, _ in found(cli, "tool")] == ["two", "tagged", "tool", "three", "one", "four", "tagged"]
    assert found(cli, "TOOL", "1", "--store", "t*")[0] == ("two", "docker.io/library/tool:1.0")
    assert [store for store, _ in found(cli, "tool", "--limit", "2")] == ["two", "tagged"]
    assert "best 2" in cli("find", "tool", "--limit", "2").err
    assert cli("find", "tool", "--limit", "7").err == ""


def test_titles_of_entries_manifests_labels_and_files_are_found(cli: Own, layout: Callable[..., str]) -> None:
    title = "org.opencontainers.image.title"
    path = writers.make_layout(f"{cli.directory}/titled")
    labelled = writers.make_image(path, "labelled", labels={title: "Äpfel & 100% Birnen"})
    entry = writers.make_image(path, "entry")
    entry["annotations"] = {title: "The Grand_Tool"}
    writers.write_index(path, writers.empty_index(writers.name_entry(labelled, "tag", "x", "labelled"), entry))
    cli.done("add", path)
    assert found(cli, "grand_tool") == [("titled", None)]
    assert found(cli, "äPFEL") == [("titled", "labelled")]
    assert found(cli, "100% birnen", "LABELLED") == [("titled", "labelled")]
    assert cli("find", "grandxtool").status == 1


def test_a_word_that_occurs_nowhere_is_named_with_the_nearest_one(shelf: Shelf) -> None:
    result = shelf.ask("find", "Alpnie")
    assert (result.status, result.out) == (1, "")
    assert "no entry has 'alpnie'; did you mean 'alpine'?" in result.err
    assert "'buzybox' does not occur anywhere: did you mean 'busybox'?" in shelf.ask("find", "buzybox", "3.16").err
    assert "each word occurs, but no entry has all of them" in shelf.ask("find", "alpine", "busybox").err
    assert shelf.ask("find", "x", "--store", "nowhere").status == 2
    assert shelf.ask("find", " ").status == 2
    assert shelf.ask("find").status == 2


def test_a_catalog_without_stores_says_how_to_begin(cli: Own, layout: Callable[..., str]) -> None:
    cli.done("add", layout("gone", "1"))
    cli.done("remove", "gone")
    assert "no stores yet: 'ocicat add PATH'" in cli("find", "x").err


def test_stores_that_are_missing_are_not_found(cli: Own, layout: Callable[..., str]) -> None:
    path = layout("gone", "1.0")
    cli.done("add", path)
    shutil.rmtree(path)
    cli("index")
    assert cli("find", "gone").status == 1


@pytest.mark.parametrize(
    "words",
    [
        ("alpine",),
        ("alpine", "3.16", "--format", "{store} {tag}"),
        ("nope",),
        ("-",),
        ("alpine", "--store", "solo"),
        ("--", "-x"),
    ],
)
def test_with_and_without_click_the_answer_is_the_same(shelf: Shelf, words: tuple[str, ...]) -> None:
    assert called("find", *words, db=shelf.db) == called("find", *words, db=shelf.db, run=by_click)


@pytest.mark.parametrize("format_", ["tsv", "csv", "table"])
def test_names_from_layouts_are_escaped(shelf: Shelf, format_: str) -> None:
    assert "\x1b" not in shelf.ask("find", "odd", "--format", format_).out
