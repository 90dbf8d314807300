"""No report and no view takes more than about four times as long for four times as much in the layouts.

On SQLite its steps are counted, on PostgreSQL the rows that the nodes of a plan that was run came to.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from catalog.db.recursive import MOST_MANIFESTS
from catalog.db.views import VIEWS
from catalog.engine.copy import copy
from catalog.engine.open import open_writer
from catalog.engine.postgres.placeholders import named
from catalog.reports.reports import REPORTS
from tests.conftest import Catalogue, file_of
from tests.effort import some
from tests.growth.counting import FACTOR
from tests.growth.layouts import LAYOUTS, NAME, Layout, chain
from tests.growth.test_walks import SPARE, steps
from tests.lookup.test_plans import FEW
from tests.lookup.test_plans import looked_at as plans_rows
from tests.postgres import Server, asking

SIZES = 25, 100
ROWS_SPARE = 500
"""How many more rows the larger size may visit, however large it is."""

WALKS = ("total_size", "platforms", "created")
"""Columns of `images` and `unnamed` that walk down from each row, as far as catalog.db.recursive goes."""

REPORTED = {report.name: report.statement() for report in REPORTS}
VIEWED = {
    view.name: f"SELECT {', '.join(name for name, *_ in view.columns if name not in WALKS)} FROM {view.name}"
    for view in VIEWS
}
PARAMETERS = {
    report.name: {name: "9999" if name == "older_than" else "" for name in (each.name for each in report.parameters)}
    for report in REPORTS
}


def costs(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the steps of SQLite's virtual machine for each report and view."""
    asked = [(name, text, PARAMETERS[name]) for name, text in REPORTED.items()]
    asked += [(f"view {name}", text, {}) for name, text in VIEWED.items()]
    return {
        name: steps([connection], lambda text=text, values=values: connection.execute(text, values).fetchall())  # type: ignore[misc]
        for name, text, values in asked
    }


ON_SERVER = (
    "entries of one name",
    "names of an index with a base",
    "cut tags of one list of referrers",
    "bad blobs and missing ones",
    "stores with the same blobs",
    "stores with one layer that is too short",
)
"""The shapes that are counted on PostgreSQL, because something about each of them was not linear once."""


def looked_at(session: psycopg.Connection[tuple[Any, ...]]) -> dict[str, int]:
    """Return the rows that PostgreSQL visits for each report and view, if every table counts as large."""
    session.execute("SET enable_seqscan = off")
    asked = [(each.name, each.statement("postgresql"), PARAMETERS[each.name]) for each in REPORTS]
    asked += [(f"view {name}", text, {}) for name, text in VIEWED.items()]
    found = {}
    for name, text, values in asked:
        explained = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {named(text)}"
        ((plans,),) = session.execute(explained, values).fetchall()
        found[name] = round(plans_rows(plans[0]["Plan"], FEW))
    return found


def on_server(server: Server, directory: str) -> dict[str, int]:
    """Return the costs in a new catalog of the layouts in a directory, after ANALYZE."""
    catalogue = Catalogue(server.new_catalog())
    try:
        catalogue.add(directory)
        with catalogue.writer.transaction() as connection:
            connection.exec_driver_sql("ANALYZE")
        with asking(catalogue.path) as session:
            return looked_at(session)
    finally:
        catalogue.close()


@pytest.mark.parametrize("shape", some(ON_SERVER))
def test_reports_and_views_are_linear_on_a_server(tmp_path: Path, server: Server, shape: str) -> None:
    counted = []
    for size in SIZES:
        directory = str(tmp_path / f"{size}")
        os.makedirs(directory)
        LAYOUTS[shape](directory, size)
        counted.append(on_server(server, directory))
    small, large = counted
    assert {name: (small[name], large[name]) for name in small if large[name] > small[name] * FACTOR + ROWS_SPARE} == {}


@pytest.mark.parametrize("shape", some(LAYOUTS))
def test_reports_and_views_are_linear(filled: Callable[[str, int], Catalogue], shape: str) -> None:
    counted = []
    for size in SIZES:
        catalogue = filled(shape, size)
        counted.append(costs(file_of(catalogue.reader)))
        catalogue.close()
    small, large = counted
    assert {name: (small[name], large[name]) for name in small if large[name] > small[name] * FACTOR + SPARE} == {}


WALKED = f"SELECT {', '.join(WALKS)} FROM images"


def above_a_chain(directory: str, depth: int) -> None:
    """Make an entry above a chain of `depth` indexes with an image at the end."""
    made = Layout(f"{directory}/s")
    made.add(chain(made, made.image(), depth), f"{NAME}:1")
    made.done()


DEPTHS = MOST_MANIFESTS + 20, 3 * MOST_MANIFESTS // 2


@pytest.fixture(scope="module")
def above_chains(
    tmp_path_factory: pytest.TempPathFactory, new_sqlite_catalogue: Callable[[str], Catalogue]
) -> Callable[[int], Catalogue]:
    """Gives the catalog of an entry above a chain of a depth. Tests only read it."""

    @functools.cache
    def make(depth: int) -> Catalogue:
        directory = str(tmp_path_factory.mktemp(f"chain-{depth}"))
        os.makedirs(f"{directory}/layouts")
        above_a_chain(f"{directory}/layouts", depth)
        catalogue = new_sqlite_catalogue(directory)
        catalogue.add(f"{directory}/layouts")
        return catalogue

    return make


def test_a_walk_of_a_row_goes_so_far_and_no_further(above_chains: Callable[[int], Catalogue]) -> None:
    """However long the chain, so that many entries above it do not cost their number times its length."""
    counted = []
    for depth in DEPTHS:
        connection = file_of(above_chains(depth).reader)
        for column in WALKS[1:]:
            asked = functools.partial(connection.execute, f"SELECT {column} FROM images")
            counted.append(steps([connection], lambda asked=asked: asked().fetchall()))  # type: ignore[misc]
        assert connection.execute(WALKED).fetchone()[1:] == (None, None)
    assert all(large <= small * 1.1 for small, large in zip(counted[:2], counted[2:], strict=True))


@pytest.mark.parametrize("depths", [DEPTHS[:1], pytest.param(DEPTHS, marks=pytest.mark.deep)])
def test_a_walk_of_a_row_goes_no_further_on_a_server(
    above_chains: Callable[[int], Catalogue], server: Server, depths: tuple[int, ...]
) -> None:
    """The catalogs are copies of those in files, because to read a chain takes several statements for each index of it."""
    counted = []
    for depth in depths:
        url = server.new_catalog()
        with open_writer(url) as writer:
            copy(above_chains(depth).writer, writer, lambda _what, _done, _total: None)
        with asking(url) as session:
            session.execute("SET enable_seqscan = off")
            if len(depths) > 1:  # It walks once more, and there is nothing to compare one number with.
                explained = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) SELECT platforms, created FROM images"
                ((plans,),) = session.execute(explained).fetchall()
                counted.append(plans_rows(plans[0]["Plan"], FEW))
            assert session.execute("SELECT platforms, created FROM images").fetchone() == (None, None)
    assert not counted or counted[-1] <= counted[0] * 1.1
