"""The same layouts, in catalogs of both engines, give the same rows in every view, report and listing."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from catalog.db.views import VIEWS
from catalog.engine.open import open_reader
from catalog.lookup.match import Match
from catalog.reports.gate import statements_of
from catalog.reports.reports import REPORTS
from tests import writers
from tests.conftest import Catalogue, Place
from tests.postgres import Server
from tests.reports import worlds
from tests.reports.conftest import FIXTURES, fixtures

NOW = {
    "indexed_at",
    "changed_at",
    "state_since",
    "since",
    "until",
    "at",
    "day",
    "first",
    "last",
    "verified_at",
    "took_ms",
}
"""Columns with the time at which something was read, which differs between the two."""


def rows(catalogue: Catalogue, statement: str, parameters: dict[str, str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the columns, and the rows without the times of reading, as sorted text."""
    reader = open_reader(catalogue.path)  # a reader of its own, because a gate restricts it for good
    try:
        columns, found = statements_of(reader).run(statement, parameters)
        kept = [number for number, column in enumerate(columns) if column not in NOW]
        return columns, sorted(str([row[number] for number in kept]) for row in found)
    finally:
        reader.close()


def entries(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return everything that `query --format json` prints, in its order."""
    reader = catalogue.reader
    stores = [row[0] for row in reader.rows("STORES", {})]
    found = [
        Match(reader, row).as_object() for id_ in stores for row in reader.rows("STORE_ENTRIES", {"store_id": id_})
    ]
    return [{field: value for field, value in entry.items() if field not in NOW} for entry in found]


@pytest.fixture
def both(
    tmp_path_factory: pytest.TempPathFactory, sqlite_place: Place, server: Server
) -> Iterator[Callable[[dict[str, str]], list[Catalogue]]]:
    made: list[Catalogue] = []

    def make(paths: dict[str, str]) -> list[Catalogue]:
        made[:] = Catalogue(sqlite_place(str(tmp_path_factory.mktemp("both")))), Catalogue(server.new_catalog())
        for catalogue in made:
            for name, path in paths.items():
                catalogue.add(path, name=name)
        return made

    yield make
    for catalogue in made:
        catalogue.close()


def same(made: list[Catalogue]) -> int:
    """Compare both catalogs; return how many rows were compared."""
    one, other = made
    compared = 0
    for view in VIEWS:
        columns, expected = rows(one, f"SELECT * FROM {view.name}", {})
        assert columns == tuple(name for name, *_ in view.columns)
        assert rows(other, f"SELECT * FROM {view.name}", {}) == (columns, expected), view.name
        compared += len(expected)
    for report in REPORTS:
        parameters = dict.fromkeys((parameter.name for parameter in report.parameters), "")
        found = rows(other, report.statement("postgresql"), parameters)
        assert found == rows(one, report.statement(), parameters), report.name
    expected_entries = entries(one)
    assert entries(other) == expected_entries
    return compared + len(expected_entries)


def test_the_fixtures(both: Callable[[dict[str, str]], list[Catalogue]]) -> None:
    if not FIXTURES.exists():
        pytest.skip(f"{FIXTURES} is not there: the shared fixtures are not part of the repository")
    assert same(both(fixtures())) > 300


@pytest.mark.parametrize("seed", range(3))
def test_random_layouts(both: Callable[[dict[str, str]], list[Catalogue]], tmp_path: Any, seed: int) -> None:
    paths = worlds.at_random(str(tmp_path), random.Random(seed))
    assert os.path.isdir(next(iter(paths.values())))
    assert same(both(paths)) > 50


def test_unusual_spellings(both: Callable[[dict[str, str]], list[Catalogue]], tmp_path: Any) -> None:
    path = writers.make_layout(str(tmp_path / "strange"))
    odd = ["\\0", "a\\u0000b", "\\ud800", "\\u202e", "é" * 600, "%s", "%%", "'; DROP TABLE store; --", "\\\\", "?"]
    elements = []
    for number, text in enumerate(odd):
        each = writers.fake_descriptor(f"{number}")
        each["annotations"] = {"org.opencontainers.image.ref.name": text, text or "k": text}
        elements.append(each)
    writers.write_index(path, writers.empty_index(*elements))
    made = both({"strange": path})
    assert made[0].sql("SELECT entries FROM stores") == [(len(odd),)]
    same(made)
