"""What a plan costs, counted: steps of SQLite and lines of Python, at two sizes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
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


@pytest.mark.parametrize("make", [one_store, many_stores])
@pytest.mark.parametrize("rules", [Rules(0), Rules(0, keep_last=1, unnamed=True, untagged=0, keep=("x*",))])
def test_a_plan_is_linear(
    make: Callable[[str, int], None],
    rules: Rules,
    tmp_path: Path,
    new_sqlite_catalogue: Callable[[str], Catalogue],
) -> None:
    lines, counted, rows = [], [], []
    for size in SIZES:
        directory = str(tmp_path / f"{size}")
        os.makedirs(directory)
        make(f"{directory}/root", size)
        catalogue = new_sqlite_catalogue(directory)
        try:
            catalogue.add(f"{directory}/root")
            reader = catalogue.reader
            connections: list[sqlite3.Connection] = [file_of(reader)]

            def plan(reader: Reader = reader) -> int:
                return len(list(Prune(reader, None, rules, 1 << 50).rows()))

            rows.append(plan())
            lines.append(cost(plan))
            counted.append(steps(connections, plan))
        finally:
            catalogue.close()
    assert rows[1] > 2 * rows[0] > 0
    assert lines[1] <= lines[0] * FACTOR + SPARE
    assert counted[1] <= counted[0] * FACTOR + SPARE


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
    lines, counted, rows = [], [], []
    for size in SIZES_TO_LINK:
        directory = str(tmp_path / f"{size}")
        os.makedirs(directory)
        make(f"{directory}/root", size)
        catalogue = new_sqlite_catalogue(directory)
        try:
            catalogue.add(f"{directory}/root")
            assert called("verify", db=catalogue.path).status == 0
            reader = catalogue.reader

            def plan(reader: Reader = reader) -> int:
                stores = plan_stores(reader)
                return len(list(links(reader, stores, stores.keys(), hard=False)))

            rows.append(plan())
            lines.append(cost(plan))
            counted.append(steps([file_of(reader)], plan))
        finally:
            catalogue.close()
    assert 0 < rows[0] <= rows[1]
    assert lines[1] <= lines[0] * FACTOR + SPARE
    assert counted[1] <= counted[0] * FACTOR + SPARE


def test_one_store_costs_the_same_among_many(tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue]) -> None:
    """Beside a look at each store for directories that it may share: of others no blob is read or looked at."""
    counted = []
    for size in SIZES:
        directory = str(tmp_path / f"{size}")
        os.makedirs(directory)
        many_stores(f"{directory}/root", size)
        catalogue = new_sqlite_catalogue(directory)
        try:
            catalogue.add(f"{directory}/root")

            stores = plan_stores(catalogue.reader).values()
            chosen = frozenset(each.id for each in stores if each.name == "root/7")

            def one(catalogue: Catalogue = catalogue, chosen: frozenset[int] = chosen) -> None:
                assert len(list(Prune(catalogue.reader, chosen, Rules(0), 1 << 50).rows())) == 3

            one()
            counted.append(cost(one))
        finally:
            catalogue.close()
    assert counted[1] - counted[0] <= 70 * (SIZES[1] - SIZES[0])
