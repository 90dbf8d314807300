"""The same layouts, in catalogs of both engines, give the same rows in every view, report, listing, filter, and statement of the cookbook."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from catalog.db.views import VIEWS
from catalog.engine.postgres import gate
from catalog.engine.postgres.connect import connect
from catalog.engine.postgres.placeholders import named
from catalog.engine.postgres.settings import settings
from catalog.lookup import listing
from catalog.lookup.filters import EntryFilters
from catalog.lookup.match import Match
from catalog.reports.gate import statements_of
from catalog.reports.reports import REPORTS
from tests import writers
from tests.conftest import Catalogue, Place
from tests.effort import examples
from tests.postgres import Server
from tests.reports import worlds
from tests.reports.conftest import FIXTURES, fixtures
from tests.reports.test_starts import values
from tests.test_cookbook import QUESTIONS, fill

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
    "gone",
}
"""Columns with the time at which something was read, which differs between the two."""


Ask = Callable[[str, dict[str, str]], tuple[tuple[str, ...], Iterable[tuple[object, ...]]]]
"""Runs a statement with its parameters, and returns its columns and rows."""


@contextmanager
def one_session(url: str) -> Iterator[Ask]:
    """What asks a server as `ocicat sql` does, but in one session: to log in and to plan with empty caches takes ten times as long."""
    with connect(url) as session:
        session.autocommit, session.read_only = False, True

        def ask(statement: str, parameters: dict[str, str]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
            session.execute(*settings())
            cursor = session.execute(named(statement), parameters)
            columns = tuple(column.name for column in cursor.description or ())
            found = [tuple(map(gate.plain, row)) for row in cursor.fetchall()]
            session.rollback()
            return columns, found

        yield ask


def rows(ask: Ask, statement: str, parameters: dict[str, str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the columns, and the rows without the times of reading, as sorted text."""
    columns, found = ask(statement, parameters)
    kept = [number for number, column in enumerate(columns) if column not in NOW]
    return columns, sorted(str([row[number] for number in kept]) for row in found)


def asked(catalogue: Catalogue) -> list[dict[str, str]]:
    """Return values for the parameters of reports: those that say nothing, and some image."""
    images = [row[0] for row in catalogue.sql("SELECT DISTINCT digest FROM manifests ORDER BY digest")]
    some = images[:: max(len(images) // 3, 1)]
    return [
        {"image": "", "older_than": "2999-01-01T00:00:00Z"},
        *({"image": image, "older_than": ""} for image in some),
    ]


def filters(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return each filter with some of its values, and with one of another filter beside it."""
    chance = random.Random(0)
    known = values(catalogue)
    digests = [row[0] for row in catalogue.sql("SELECT digest FROM blobs UNION SELECT digest FROM images ORDER BY 1")]
    known |= dict.fromkeys(("digest", "contains"), digests)
    known["referrers_of"] = [row[0] for row in catalogue.sql("SELECT DISTINCT subject FROM referrers ORDER BY subject")]
    found: list[dict[str, Any]] = [{}, {"unnamed": True}]
    for name, some in known.items():
        for value in chance.sample(some, min(len(some), examples(8))):
            other = chance.choice([each for each in known if known[each] and each not in (name, "referrers_of")])
            given = {name: value, other: chance.choice(known[other])} if chance.random() < 0.3 else {name: value}
            found.append({key: (each,) if key in ("annotations", "labels") else each for key, each in given.items()})
    return found


def passing(catalogue: Catalogue, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what `query` with these filters prints, in its order."""
    asking = catalogue.asking()
    narrowing = EntryFilters(**given).narrowing(asking)
    matches = listing.narrowed(listing.without_ref(asking, narrowing), narrowing)
    return [{key: value for key, value in match.as_object().items() if key not in NOW} for match in matches]


def known_to(catalogue: Catalogue) -> dict[str, str]:
    """Return a value for each parameter of the cookbook that occurs, if anything does."""

    def some(statement: str) -> str:
        found = catalogue.sql(f"SELECT {statement} LIMIT 1")
        return str(found[0][0]) if found else "no such"

    pairs = "(SELECT key, value FROM labels UNION SELECT key, value FROM annotations) AS each ORDER BY key, value"
    return {
        "digest": some("digest FROM images ORDER BY digest"),
        "layer": some("digest FROM layers ORDER BY digest"),
        "name": some("name FROM images WHERE name IS NOT NULL ORDER BY name"),
        "key": some(f"key FROM {pairs}"),
        "value": some(f"value FROM {pairs}"),
        "title": some("value FROM annotations WHERE key = 'org.opencontainers.image.title' ORDER BY value"),
        "since": "2020-01-01",
        "until": "2999-01-01",
        "before": "2025-01-01",
        "platform": "linux/arm64",
    }


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
        new = [Catalogue(sqlite_place(str(tmp_path_factory.mktemp("both")))), Catalogue(server.new_catalog())]
        made.extend(new)
        for catalogue in new:
            for name, path in paths.items():
                catalogue.add(path, name=name)
        return new

    yield make
    for catalogue in made:
        catalogue.close()


def same(made: list[Catalogue], known: dict[str, str] | None = None) -> Counter[str]:
    """Compare both catalogs; return how many rows each view, report, question and filter had. Questions are about `known`."""
    one, other = made
    with one_session(other.path) as ask:
        compared = same_statements(one, ask, known or known_to(one))
    for given in filters(one):
        expected_matches = passing(one, given)
        assert passing(other, given) == expected_matches, given
        compared["--" + next(iter(given), "everything")] += len(expected_matches)
    expected_entries = entries(one)
    assert entries(other) == expected_entries
    compared["listing"] = len(expected_entries)
    return compared


def same_statements(one: Catalogue, ask: Ask, known: dict[str, str]) -> Counter[str]:
    """Compare the views, reports and questions of a catalog with those of the other one; return how many rows each had."""
    compared: Counter[str] = Counter()
    ours = statements_of(one.reader).run

    def compare(what: str, statement: str, theirs: str, parameters: dict[str, str]) -> tuple[str, ...]:
        expected = rows(ours, statement, parameters)
        assert rows(ask, theirs, parameters) == expected, (what, parameters)
        compared[what] += len(expected[1])
        return expected[0]

    for view in VIEWS:
        statement = f"SELECT * FROM {view.name}"
        columns = compare(view.name, statement, statement, {})
        assert columns == tuple(name for name, *_ in view.columns)
    for report in REPORTS:
        names = [parameter.name for parameter in report.parameters]
        for given in asked(one) if names else [{}]:
            parameters = {name: given[name] for name in names}
            compare(f"report {report.name}", report.statement(), report.statement("postgresql"), parameters)
    for question in QUESTIONS:
        parameters = {name: known[name] for name in re.findall(r"(?<!:):([a-z]+)", question.sql)}
        compare(question.asked, question.sql, question.sql, parameters)
    return compared


def test_one_of_everything(both: Callable[[dict[str, str]], list[Catalogue]], tmp_path: Any) -> None:
    """In one of two worlds, each view, report, question and filter has an answer, so that none is compared in vain."""
    found = same(both(worlds.by_hand(f"{tmp_path}/by-hand")))
    made = both({})
    known = fill(f"{tmp_path}/cookbook", [catalogue.path for catalogue in made])
    found.update(same(made, known))
    assert [what for what, number in found.items() if not number] == []


def test_the_fixtures(both: Callable[[dict[str, str]], list[Catalogue]]) -> None:
    if not FIXTURES.exists():
        pytest.skip(f"{FIXTURES} is not there: the shared fixtures are not part of the repository")
    assert same(both(fixtures())).total() > 300


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.deep)])
def test_random_layouts(both: Callable[[dict[str, str]], list[Catalogue]], tmp_path: Any, seed: int) -> None:
    paths = worlds.at_random(str(tmp_path), random.Random(seed))
    assert os.path.isdir(next(iter(paths.values())))
    assert same(both(paths)).total() > 50


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
