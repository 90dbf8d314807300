"""No walk through what layouts say takes more than about four times as long for four times as much of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.errors import OcicatError
from catalog.names.query import parse_query
from tests import writers
from tests.conftest import Catalogue
from tests.growth.counting import FACTOR, cost
from tests.growth.layouts import LAYOUTS

SIZES = 25, 100
SPARE = 20_000


def steps(connection: sqlite3.Connection, do: Callable[[], object]) -> int:
    """Steps of SQLite's virtual machine in `connection`, and lines of Python, that `do` takes."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    connection.set_progress_handler(step, 1)
    try:
        lines = cost(do)
    finally:
        connection.set_progress_handler(None, 0)
    return count + lines


def driver(catalogue: Catalogue) -> sqlite3.Connection:
    with catalogue.writer.snapshot():
        found = catalogue.writer._driver
    assert isinstance(found, sqlite3.Connection)
    return found


@pytest.fixture
def made(
    tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue]
) -> Iterator[Callable[[str, int], tuple[Catalogue, list[str]]]]:
    """Makes an empty catalog, and the layouts of a shape at a size."""
    opened: list[Catalogue] = []

    def make(shape: str, size: int) -> tuple[Catalogue, list[str]]:
        directory = str(tmp_path / f"{size}")
        os.makedirs(f"{directory}/layouts")
        opened.append(new_sqlite_catalogue(directory))
        return opened[-1], LAYOUTS[shape](f"{directory}/layouts", size)

    yield make
    for each in opened:
        each.close()


@pytest.mark.parametrize("shape", LAYOUTS)
def test_reading_a_layout_is_linear(made: Callable[[str, int], tuple[Catalogue, list[str]]], shape: str) -> None:
    costs = []
    for size in SIZES:
        catalogue, _ = made(shape, size)
        directory = os.path.dirname(catalogue.path)
        catalogue.add(f"{directory}/layouts", index=False)
        costs.append(steps(driver(catalogue), catalogue.index))
        assert catalogue.sql("SELECT count(*) FROM stores WHERE pending OR state NOT IN ('ok', 'empty')") == [(0,)]
    assert costs[1] <= costs[0] * FACTOR + SPARE


@pytest.mark.parametrize("place", ["", "/", "./"])
def test_a_place_with_many_slashes_is_soon_answered(
    tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue], place: str
) -> None:
    catalogue = new_sqlite_catalogue(str(tmp_path))
    catalogue.add(writers.make_layout(str(tmp_path / "a")))

    def ask(scheme: str, slashes: int) -> int:
        def do() -> None:
            with pytest.raises(OcicatError):
                catalogue.asking().resolve(parse_query(f"{scheme}{place}{'a/' * slashes}b"))

        return steps(catalogue.reader.connection, do)

    for scheme in ("oci-layout://", "oci:", "ocidir://"):
        # No path is longer than 4,096 bytes, so the beginnings of a text up to there are all that is looked for.
        assert ask(scheme, 50_000) <= ask(scheme, 2_000) * 2 + 10_000
    catalogue.close()
