"""Reading the content of some stores costs what these hold, however many other stores the catalog has."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.ingest.content import ContentStage
from catalog.ingest.intake import Intake
from catalog.ingest.registry import Registry
from tests.conftest import Catalogue
from tests.growth.layouts import Layout
from tests.growth.test_walks import drivers, steps

New = Callable[[int], Catalogue]


@pytest.fixture
def new(new_sqlite_catalogue: Callable[[str], Catalogue], tmp_path: Path) -> New:
    def make(stores: int) -> Catalogue:
        directory = tmp_path / f"catalog-{stores}"
        directory.mkdir()
        return new_sqlite_catalogue(str(directory))

    return make


def with_images(path: str, images: int) -> str:
    """A layout with an index of images of its own, and one of images that all layouts have."""
    made = Layout(path)
    made.add(made.index(*(made.image(f"{path[-3:]} {number}") for number in range(images))), "app:own")
    made.add(made.index(made.image("common"), made.image("common too", platform="arm64")), "app:common")
    return made.done()


def read_names(catalogue: Catalogue) -> list[int]:
    """Read the names of all stores, and return the ids of those whose content is not read."""
    with catalogue.writer.snapshot() as connection:
        stores = Registry(connection).stores()
    intake = Intake(catalogue.writer, catalogue.settings, catalogue.lines.append)
    for store in stores:
        intake.offer(store)
    intake.look_again()
    return ContentStage(catalogue.writer, catalogue.settings).pending()


def read_content(catalogue: Catalogue, ids: list[int]) -> None:
    for _ in ContentStage(catalogue.writer, catalogue.settings).run(ids):
        pass


@pytest.mark.parametrize("apart", [1, 9], ids=["neighbours", "scattered"])
def test_it_takes_the_same_steps_in_a_larger_catalog(new: New, tmp_path: Path, apart: int) -> None:
    costs = []
    for others in (60, 360):
        root = tmp_path / f"{others}"
        catalogue = new(others)
        paths = [with_images(f"{root}/{number:03}", 2) for number in range(others)]
        catalogue.add(str(root))
        for path in paths[-6 * apart :: apart]:
            with_images(path, 4)
        ids = read_names(catalogue)
        assert len(ids) == 6
        costs.append(steps(drivers(catalogue), functools.partial(read_content, catalogue, ids)))
        assert catalogue.sql("SELECT count(*) FROM stores WHERE pending") == [(0,)]
    assert costs[1] <= costs[0] * 1.1


def test_most_questions_are_about_all_stores_that_are_read_together(new: New, tmp_path: Path) -> None:
    """Those about a single one are how many blobs it has: when it is listed, when it was read, and at its end."""
    counts = []
    for stores in (4, 24):
        catalogue = new(stores)
        for number in range(stores):
            with_images(f"{tmp_path}/{stores}/{number:03}", 2)
        catalogue.add(f"{tmp_path}/{stores}", index=False)
        ids = read_names(catalogue)
        asked: list[str] = []
        _, reading = drivers(catalogue)
        reading.set_trace_callback(asked.append)
        read_content(catalogue, ids)
        reading.set_trace_callback(None)
        counts.append(len(asked))
    assert counts[1] - counts[0] <= 4 * (24 - 4)
