"""On PostgreSQL, querying a view by a key reads no large table completely, and a report reads each row a few times, in the plan that the server
itself chooses.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from catalog.engine.copy import copy
from catalog.engine.open import open_writer
from catalog.engine.postgres.placeholders import named
from catalog.reports.reports import REPORTS
from tests import writers
from tests.conftest import Catalogue
from tests.lookup.test_plans import FEW, looked_at, read_whole
from tests.postgres import Server, asking
from tests.reports.sizes import fill
from tests.reports.test_view_steps import IMAGE, KEYS, MIDDLE

Session = psycopg.Connection[tuple[Any, ...]]
LARGE = 10_000
"""Images. With a few thousand, the planner takes a plan for the report `missing` that looks at several times as many rows as with these."""


@pytest.fixture(scope="module")
def new_session(
    tmp_path_factory: pytest.TempPathFactory, new_sqlite_catalogue: Callable[[str], Catalogue], server: Server
) -> Iterator[Callable[[int], Session]]:
    """Returns a session on a catalog of so many images, like that of `ocicat sql`, made once."""
    with contextlib.ExitStack() as open_:

        @functools.cache
        def make(images: int) -> Session:
            url = server.new_catalog()
            catalogue = new_sqlite_catalogue(str(tmp_path_factory.mktemp("size")))
            fill(catalogue, images)
            with open_writer(url) as new:
                copy(catalogue.writer, new, lambda _what, _done, _total: None)
            return open_.enter_context(asking(url))

        yield make


@pytest.fixture
def session(new_session: Callable[[int], Session]) -> Session:
    return new_session(LARGE)


@pytest.mark.parametrize(("view", "key"), [(view, key) for view, keys in KEYS.items() for key in keys])
def test_a_key_is_an_index_search(session: Session, view: str, key: str) -> None:
    ((number,),) = session.execute("SELECT id FROM content WHERE digest = %s", (IMAGE,)).fetchall()
    values = {name: value.format(number - 1) for name, value in KEYS[view][key].items()}  # named after the original ids
    statement = f"SELECT * FROM {view} WHERE {' AND '.join(f'{name} = :{name}' for name in values)}"
    ((found,),) = session.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {named(statement)}", values).fetchall()
    plan = found[0]["Plan"]
    assert plan["Actual Rows"] > 0 or view == "unnamed"
    few = {*FEW, "store", "store_span", "blob_place", "removed_place"}  # at most a hundred of each
    assert read_whole(plan, few) == [], json.dumps(plan, indent=1)
    assert looked_at(plan, few) <= LARGE / 100


@pytest.mark.parametrize("name", [each.name for each in REPORTS])
def test_a_report_over_everything_is_linear(new_session: Callable[[int], Session], name: str) -> None:
    """Ten times as many images are ten times as many rows to look at, also where the plan is another one, and not a hundred times."""
    (report,) = (each for each in REPORTS if each.name == name)
    parameters = dict.fromkeys((each.name for each in report.parameters), "")
    seen = []
    for images in (MIDDLE, LARGE):
        explained = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {named(report.statement('postgresql'))}"
        ((found,),) = new_session(images).execute(explained, parameters).fetchall()
        seen.append(looked_at(found[0]["Plan"], set()))
    assert seen[1] <= seen[0] * LARGE / MIDDLE * 1.5


def test_duplicates_of_one_name_are_read_once(
    tmp_path_factory: pytest.TempPathFactory, new_sqlite_catalogue: Callable[[str], Catalogue], server: Server
) -> None:
    (report,) = (each for each in REPORTS if each.name == "duplicates")
    path = writers.make_layout(str(tmp_path_factory.mktemp("crowd") / "s"))
    name, many = "docker.io/library/crowd", 500
    entries = [writers.name_entry(writers.fake_descriptor(str(each)), "short", name, "1") for each in range(many)]
    writers.write_index(path, writers.empty_index(*entries))
    catalogue = Catalogue(server.new_catalog())
    catalogue.add(path)
    catalogue.close()
    with asking(catalogue.path) as made:
        ((found,),) = made.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {report.sql}").fetchall()
    plan = found[0]["Plan"]
    assert plan["Actual Rows"] == many - 1
    assert looked_at(plan, FEW) <= many * 10, json.dumps(plan, indent=1)
