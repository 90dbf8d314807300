"""No walk through what layouts say takes more than about four times as long for four times as much of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from catalog.engine.sqlite.writer import SqliteWriter
from catalog.errors import OcicatError
from catalog.names.query import parse_query
from tests import writers
from tests.conftest import Catalogue, file_of
from tests.effort import pairs, some
from tests.growth.counting import FACTOR, cost
from tests.growth.layouts import LAYOUTS

SIZES = 40, 160
SPARE = 2_000
"""How many more steps the larger size may take, however large it is."""


STEPS = 4
"""SQLite calls back once in so many steps, because a call takes longer than a step. No statement takes fewer."""


def steps(connections: Sequence[sqlite3.Connection], do: Callable[[], object]) -> int:
    """Steps of SQLite's virtual machine in `connections` that `do` takes."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    for connection in connections:
        connection.set_progress_handler(step, STEPS)
    try:
        do()
    finally:
        for connection in connections:
            connection.set_progress_handler(None, 0)
    return count * STEPS


def drivers(catalogue: Catalogue) -> list[sqlite3.Connection]:
    """The connections that a catalog is written by, and read by meanwhile."""
    writer = catalogue.writer
    assert isinstance(writer, SqliteWriter)
    return [each for each in (writer._driver, writer._keeper) if each is not None]


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


@pytest.mark.parametrize("shape", some(LAYOUTS, 3))
def test_reading_a_layout_is_linear(made: Callable[[str, int], tuple[Catalogue, list[str]]], shape: str) -> None:
    costs = []
    for size in SIZES:
        catalogue, _ = made(shape, size)
        directory = os.path.dirname(catalogue.path)
        catalogue.add(f"{directory}/layouts", index=False)
        costs.append(steps(drivers(catalogue), catalogue.index))
        assert catalogue.sql("SELECT count(*) FROM stores WHERE pending OR state NOT IN ('ok', 'empty')") == [(0,)]
    assert costs[1] <= costs[0] * FACTOR + SPARE


@pytest.mark.parametrize(("place", "part"), pairs(["", "/", "./"], ["a/", "/", "./", "../", "a/../"]))
def test_a_place_with_many_slashes_is_soon_answered(
    tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue], place: str, part: str
) -> None:
    catalogue = new_sqlite_catalogue(str(tmp_path))
    catalogue.add(writers.make_layout(str(tmp_path / "a")))

    def ask(scheme: str, slashes: int) -> int:
        def do() -> None:
            with pytest.raises(OcicatError):
                catalogue.asking().resolve(parse_query(f"{scheme}{place}{part * slashes}b"))

        lines: list[int] = []
        return steps([file_of(catalogue.reader)], lambda: lines.append(cost(do))) + lines[0]

    for scheme in ("oci-layout://", "oci:", "ocidir://"):
        # No path is longer than 4,096 bytes, so the beginnings of a text up to there are all that is looked for.
        assert ask(scheme, 50_000) <= ask(scheme, 2_000) * 2 + 25_000  # reading the text itself is linear
    catalogue.close()
