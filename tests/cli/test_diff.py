"""`ocicat diff` as a command: its sides, times, statuses and formats. What differs is tested in tests/lookup/test_compare.py."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable

import pytest

from tests.cli.conftest import Own, Shelf, retag
from tests.cli.program import both_on_a_terminal, one_error

Layout = Callable[..., str]


def changes(cli: Own, *arguments: str) -> list[tuple[str, str]]:
    """What changed, and the tag of each; the status has to fit."""
    result = cli("diff", *arguments, "--format", "json")
    found = json.loads(result.out)
    assert result.status == (1 if found else 0), result
    return [(row["change"], row["tag"]) for row in found]


@pytest.fixture
def two(cli: Own, layout: Layout) -> tuple[str, str]:
    """`one` has the tags 1 and 2, `other` 2 and 3, of other images."""
    paths = layout("one", "1", "2"), layout("other", "2", "3")
    cli.done("add", *paths)
    return paths


def test_two_stores(cli: Own, two: tuple[str, str]) -> None:
    assert changes(cli, "one", "other") == [("removed", "1"), ("moved", "2"), ("added", "3")]
    assert changes(cli, "other", "one") == [("added", "1"), ("moved", "2"), ("removed", "3")]
    assert changes(cli, "one", "one") == []
    assert changes(cli, two[0], two[1]) == changes(cli, "one", "other")  # paths
    assert changes(cli, "o*", "o*") == []
    assert changes(cli, "o*", "one") == [("removed", "2"), ("removed", "3")]  # of two digests one is left


def test_one_store_at_two_times(cli: Own, two: tuple[str, str]) -> None:
    since = cli.stores()["one"]["changed_at"]
    assert isinstance(since, str)
    retag(two[0], "1", "new")
    cli.done("index")
    then = str(cli.stores()["one"]["changed_at"])
    moved = [("moved", "1")]
    assert changes(cli, "one", "--since", since) == moved
    assert changes(cli, "one", "--at", since) == moved
    assert changes(cli, "one", "--at", since, "--at", then) == moved
    assert changes(cli, "o*", "--at", since, "--at", then) == moved
    assert changes(cli, "one", "--at", then, "--at", then) == []
    assert changes(cli, "one", "--at", then) == []
    assert changes(cli, "other", "--since", since) == []
    assert changes(cli, "one", "other", "--at", since) == [
        ("removed", "1"),
        ("moved", "2"),
        ("added", "3"),
    ]


def test_a_store_that_was_not_there(cli: Own, two: tuple[str, str], layout: Layout) -> None:
    since = str(cli.stores()["other"]["changed_at"])
    cli.done("add", layout("later", "1"))
    result = cli("diff", "later", "--since", since, "--format", "{change}")
    assert (result.status, result.out) == (1, "added\n")
    assert result.said == [f"ocicat: no store is named later at {since}: that side is empty"]
    shutil.rmtree(two[0])
    cli("index")
    gone = cli("diff", "one", "--since", since, "--format", "{change} {tag}")
    assert (gone.status, gone.out) == (1, "removed 1\nremoved 2\n")
    assert gone.said[0].startswith("ocicat: store one has been missing since 20")


def test_before_the_catalog_there_was_nothing(cli: Own, two: tuple[str, str]) -> None:
    result = cli("diff", "one", "--since", "2001-01-01", "--format", "{change} {tag}")
    assert (result.status, result.out) == (1, "added 1\nadded 2\n")
    assert "before the first change" in result.err


def test_what_is_asked_wrongly(shelf: Shelf) -> None:
    one_error(shelf.ask("diff", "solo"), 2, "--since")
    one_error(shelf.ask("diff", "solo", "solo", "solo"), 2, "glob")
    one_error(shelf.ask("diff", "solo", "nosuch"), 2, "nosuch")
    one_error(shelf.ask("diff", "nosuch", "solo"), 2, "nosuch")
    one_error(shelf.ask("diff", "nosuch*", "--since", "1h"), 2, "nosuch")
    one_error(shelf.ask("diff", "solo", "--since", "1h", "--at", "1h"), 2, "--since")
    one_error(shelf.ask("diff", "solo", "solo", "--since", "1h"), 2, "--since")
    one_error(shelf.ask("diff", "solo", *["--at", "1h"] * 3), 2, "--at")
    one_error(shelf.ask("diff", "solo", "--at", "someday"), 2, "someday")
    one_error(shelf.ask("diff", "solo", "solo", "--format", "{nosuch}"), 2, "nosuch")


def test_all_formats_say_the_same(shelf: Shelf) -> None:
    tsv, csv, text, lines = (
        shelf.ask("diff", "images/*", "solo", "--format", f) for f in ("tsv", "csv", "json", "jsonl")
    )
    found = json.loads(text.out)
    assert len(found) == len(tsv.lines) == len(csv.out.split("\r\n")) - 2
    assert [json.loads(line) for line in lines.lines] == found
    assert all(line.count("\t") == 7 for line in tsv.lines)  # whatever names hold
    assert {row["change"] for row in found} == {"moved", "removed"}


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_shows_sizes_in_units_and_the_numbers_last(shelf: Shelf, width: int) -> None:
    status, lines = both_on_a_terminal("diff", "images/*", "solo", db=shelf.db, columns=width)
    assert status == 1
    assert max(map(len, lines[-3:])) <= width
    assert re.fullmatch(r"ocicat: \d+ added, \d+ removed, \d+ moved", lines[-1]), lines[-1]
    assert any(re.search(r" \d[.\d]* (B|KiB|MiB)$", line) for line in lines)
    assert both_on_a_terminal("diff", "solo", "solo", db=shelf.db, columns=width) == (0, ["ocicat: nothing differs"])


def test_a_terminal_says_that_nothing_has_changed(shelf: Shelf) -> None:
    status, lines = both_on_a_terminal("changes", "--since", "0s", db=shelf.db, columns=80)
    assert (status, lines) == (0, ["ocicat: nothing has changed since then"])
