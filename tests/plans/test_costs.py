"""What a plan costs, counted: steps of SQLite and lines of Python, at two sizes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.engine.interface import Reader
from catalog.plans.link import links
from catalog.plans.prune import Prune
from catalog.plans.retention import Rules
from catalog.plans.stores import plan_stores
from tests import writers
from tests.cli.program import called
from tests.conftest import Catalogue, file_of
from tests.growth.counting import FACTOR, cost
from tests.growth.test_walks import SPARE, steps

SIZES = 30, 120
SIZES_TO_LINK = 35, 140


def one_store(path: str, size: int) -> None:
    """A store with so many images, half of them unlisted, and two that all others are about."""
    store = writers.make_layout(f"{path}/store")
    layer = writers.write_blob(store, b"layer", writers.LAYER_TYPE)
    subjects = [writers.make_image(store, f"subject-{number}") for number in range(2)]
    entries = [subjects[0]]
    for number in range(size):
        config = writers.write_blob(store, writers.dump({"n": number}), writers.CONFIG_TYPE)
        document = {"schemaVersion": 2, "mediaType": writers.MANIFEST_TYPE, "config": config, "layers": [layer]}
        if number % 3 == 0:
            document["subject"] = subjects[number % 2]
        image = writers.write_blob(store, writers.dump(document), writers.MANIFEST_TYPE)
        if number % 2:
            entries.append(writers.name_entry(image, "canonical", "docker.io/library/app", f"{number}"))
    writers.write_index(store, writers.empty_index(*entries))


def many_stores(path: str, size: int) -> None:
    """Make `count` stores with an image and garbage."""
    for number in range(size):
        store = writers.make_layout(f"{path}/{number}")
        writers.make_image(store, "garbage")
        writers.write_index(store, writers.empty_index(writers.make_image(store, f"{number}")))


def at_sizes(
    sizes: tuple[int, int], make: Callable[[str, int], None], directory: Path, new: Callable[[str], Catalogue]
) -> Iterator[Catalogue]:
    """Yield a catalog of what `make` makes, for each size."""
    for size in sizes:
        below = str(directory / f"{size}")
        os.makedirs(below)
        make(f"{below}/root", size)
        catalogue = new(below)
        try:
            catalogue.add(f"{below}/root")
            yield catalogue
        finally:
            catalogue.close()


class Counted:
    """What a plan with some rows cost at each size."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self._lines: list[int] = []
        self._steps: list[int] = []

    def count(self, plan: Callable[[], int], reader: Reader) -> None:
        self.rows.append(plan())
        self._lines.append(cost(plan))
        self._steps.append(steps([file_of(reader)], plan))

    def is_linear(self) -> bool:
        return all(large <= small * FACTOR + SPARE for small, large in (self._lines, self._steps))


@pytest.mark.parametrize("make", [one_store, many_stores])
@pytest.mark.parametrize("rules", [Rules(0), Rules(0, keep_last=1, unnamed=True, untagged=0, keep=("x*",))])
def test_a_plan_is_linear(
    make: Callable[[str, int], None],
    rules: Rules,
    tmp_path: Path,
    new_sqlite_catalogue: Callable[[str], Catalogue],
) -> None:
    counted = Counted()
    for catalogue in at_sizes(SIZES, make, tmp_path, new_sqlite_catalogue):
        reader = catalogue.reader
        counted.count(lambda reader=reader: len(list(Prune(reader, None, rules, 1 << 50).rows())), reader)  # type: ignore[misc]
    assert counted.rows[1] > 2 * counted.rows[0] > 0
    assert counted.is_linear()


def same_images(path: str, size: int) -> None:
    """Make `count` stores with the same image."""
    for number in range(size):
        store = writers.make_layout(f"{path}/{number}")
        writers.write_index(store, writers.empty_index(writers.make_image(store, "same")))


def one_file(path: str, size: int) -> None:
    """Make `count` stores with the same image as hard links to one file, and one store with a copy of its own."""
    same_images(path, size)
    for blob in os.listdir(f"{path}/0/blobs/sha256"):
        for number in range(1, size - 1):
            os.unlink(f"{path}/{number}/blobs/sha256/{blob}")
            os.link(f"{path}/0/blobs/sha256/{blob}", f"{path}/{number}/blobs/sha256/{blob}")


def two_stores(path: str, size: int) -> None:
    """Two stores with the same images, so many."""
    for number in range(2):
        store = writers.make_layout(f"{path}/{number}")
        writers.write_index(store, writers.empty_index(*(writers.make_image(store, f"{each}") for each in range(size))))


@pytest.mark.parametrize("make", [same_images, one_file, two_stores])
def test_a_plan_to_link_is_linear(
    make: Callable[[str, int], None], tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue]
) -> None:
    """More stores than are kept open (catalog.plans.link)."""
    counted = Counted()
    for catalogue in at_sizes(SIZES_TO_LINK, make, tmp_path, new_sqlite_catalogue):
        assert called("verify", db=catalogue.path).status == 0

        def plan(reader: Reader = catalogue.reader) -> int:
            stores = plan_stores(reader)
            return len(list(links(reader, stores, stores.keys(), hard=False)))

        counted.count(plan, catalogue.reader)
    assert 0 < counted.rows[0] <= counted.rows[1]
    assert counted.is_linear()


def test_one_store_costs_the_same_among_many(tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue]) -> None:
    """Beside a look at each store for directories that it may share: of others no blob is read or looked at."""
    counted = []
    for catalogue in at_sizes(SIZES, many_stores, tmp_path, new_sqlite_catalogue):
        stores = plan_stores(catalogue.reader).values()
        chosen = frozenset(each.id for each in stores if each.name == "root/7")

        def one(catalogue: Catalogue = catalogue, chosen: frozenset[int] = chosen) -> None:
            assert len(list(Prune(catalogue.reader, chosen, Rules(0), 1 << 50).rows())) == 3

        one()
        counted.append(cost(one))
    assert counted[1] - counted[0] <= 70 * (SIZES[1] - SIZES[0])
