"""Filters that start from an index, in any combination, find what asking about one entry after another finds, in that order."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.cli import lines
from catalog.lookup import filters as limits
from catalog.lookup import listing, starts
from catalog.lookup.filters import EntryFilters
from catalog.lookup.match import Match
from catalog.names.query import parse_query
from tests import writers
from tests.cli.program import called
from tests.conftest import Catalogue
from tests.effort import examples
from tests.reports.conftest import World

NUMBER = examples(60)


def values(catalogue: Catalogue) -> dict[str, list[str]]:
    """Return what each filter could be given: what occurs, patterns that match it, and what does not occur."""
    sql = catalogue.sql
    pairs = {
        "annotations": sql("SELECT key, value FROM annotations")
        + sql("SELECT 'org.opencontainers.image.ref.name', ref_name FROM images"),
        "labels": sql("SELECT key, value FROM labels"),
    }
    found = {
        "artifact_type": [
            row[0] for row in sql("SELECT DISTINCT artifact_type FROM manifests WHERE artifact_type IS NOT NULL")
        ],
        "media_type": [row[0] for row in sql("SELECT DISTINCT media_type FROM images WHERE media_type IS NOT NULL")],
        "tag": [row[0] for row in sql("SELECT DISTINCT tag FROM images WHERE tag IS NOT NULL")],
        "repository": [row[0] for row in sql("SELECT DISTINCT repository FROM images WHERE repository IS NOT NULL")],
        "platform": ["linux/amd64", "linux/arm64", "linux/arm/v7", "windows/amd64"],
        "since": ["1970-01-02T00:00:00Z", "1h", "2999-01-01T00:00:00Z"],
    }
    for name, each in found.items():
        if name not in ("platform", "since"):
            each += [
                *("?" + one[1:] for one in each[:3]),
                *(one[: len(one) // 2] + "*" for one in each[:3]),
                "*",
                "no-such",
            ]
    for name, some in pairs.items():
        whole = [(key, value) for key, value in some if value is not None and "\0" not in value]
        found[name] = [
            *(f"{key}={value}" for key, value in whole), *(key for key, _ in whole), *(f"{key[:-1]}*" for key, _ in whole[:5]),
            *(f"{key}={value[:2]}*" for key, value in whole[:9]), *(f"*={value}" for _, value in whole[:5]), "no-such", "no-such=*",
        ]  # fmt: skip
    return found


def some(chance: random.Random, known: dict[str, list[str]]) -> dict[str, Any]:
    """Return one to three filters."""
    given: dict[str, Any] = {}
    for name in chance.sample([*known, "unnamed"], chance.choice((1, 1, 2, 2, 3))):
        if name == "unnamed":
            given[name] = True
        else:
            value = chance.choice(known[name])
            given[name] = (value,) if name in ("annotations", "labels") else value
    return given


def told(matches: list[Match]) -> list[tuple[int, str | None]]:
    return [(match.entry_id, match.name) for match in matches]


def test_any_filters_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are set to 0 for every second question, because no world has so many entries that a set is made."""
    known = values(world.catalogue)
    chance = random.Random(len(world.disk.layouts))
    everything = list(listing.without_ref(world.catalogue.asking(), None))
    for number in range(NUMBER):
        given = some(chance, known)
        monkeypatch.setattr(starts, "TRIED", 1 << 60)
        monkeypatch.setattr(limits, "FEW", 1_000)
        plain = EntryFilters(**given).narrowing(world.catalogue.asking())
        expected = [match for match in everything if any(plain(match))]
        if number % 2:
            monkeypatch.setattr(starts, "TRIED", 0)
            monkeypatch.setattr(limits, "FEW", 0)
        asking = world.catalogue.asking()
        narrowing = EntryFilters(**given).narrowing(asking)
        found = list(listing.narrowed(listing.without_ref(asking, narrowing), narrowing))
        if given.keys() & {"tag", "repository"}:  # which come in an order of their own
            found.sort(key=lambda match: (match.entry_id, match.name))
            expected.sort(key=lambda match: (match.entry_id, match.name))
            assert [match.entry_id for match in found] == [match.entry_id for match in expected], given
        else:
            assert told(found) == told(expected), given
        count = listing.counted(asking, EntryFilters(**given).narrowing(asking))
        assert count in (None, len(expected)), given
        by_name = world.catalogue.asking()
        narrowing = EntryFilters(**given).narrowing(by_name)
        named = {match.entry_id for match in listing.narrowed(by_name.matches(parse_query("*")), narrowing)}
        expected_named = {match.entry_id for match in expected if match.names}
        assert given.keys() & {"since"} or named == expected_named, given


def test_everything_is_counted(world: World) -> None:
    asking = world.catalogue.asking()
    assert listing.counted(asking, None) == len(list(listing.without_ref(asking, None)))


ROW = r"{store}\t{name}\t{tag}\t{ref_name}\t{digest}\t{media_type}\t{size}"
"""A template that prints, row by row, what the list of everything prints in blocks."""


def test_everything_as_lines(world: World) -> None:
    db = world.catalogue.path
    rows = called("query", "--format", ROW, db=db)
    assert rows.out
    assert called("query", db=db) == rows
    for limit in ("0", "1", "7"):
        assert called("query", "--limit", limit, db=db) == called("query", "--limit", limit, "--format", ROW, db=db)
    store = world.disk.layouts[-1].name
    assert called("query", "--store", store, db=db) == called("query", "--store", store, "--format", ROW, db=db)


def test_lines_of_hostile_text(
    tmp_path: Path, new_catalogue: Callable[[str], Catalogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell with a tab, a line end, a backslash or a control character is escaped, wherever a block begins or ends."""
    odd = ("a\tb", "a\nb", "a\\b", "\x1b[31m", "\u202e", "\u2028", "\t", "plain", "é", "")
    entries = [
        writers.fake_descriptor(str(number)) | {"annotations": {writers.REF_NAME: text}, "mediaType": f"a/{text}"}
        for number, text in enumerate(odd)
    ]
    for name in ("one", "two\ttabs"):
        writers.write_index(writers.make_layout(f"{tmp_path}/{name}"), writers.empty_index(*entries))
    catalogue = new_catalogue(str(tmp_path))
    catalogue.add(str(tmp_path))
    monkeypatch.setattr(lines, "_BLOCK", 3)  # which no world is large enough to fill
    rows = called("query", "--format", ROW, db=catalogue.path)
    assert rows.out.count("\n") == 2 * len(odd)
    assert called("query", db=catalogue.path) == rows
