"""Catalogs of the worlds, and the contents of their files. They are made once, and the tests that share them only read them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from catalog.engine.open import is_url
from tests.conftest import Catalogue
from tests.effort import examples, some
from tests.reports import worlds
from tests.reports.disk import Disk

T = TypeVar("T")
FIXTURES = (Path(__file__).parents[2].parent / "shared" / "fixtures").resolve()
RANDOM_WORLDS = examples(12)


def pytest_itemcollected(item: pytest.Item) -> None:
    """A server reads the same rows as a file: two worlds show that its statements find the same, and the files do the rest."""
    values: dict[str, object] = (
        item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    )
    if values.get("engine") == "postgresql" and values.get("world", 0) not in ("by hand", 0):
        item.add_marker("deep")


class World(NamedTuple):
    """Layouts, their contents, and a catalog of them.

    `is_asked_fully` is false where a short run asks a part of the questions: over random worlds, and over a server, which takes
    ten times as long to begin an answer. The world that was made by hand has one of everything, and lies in a file, too.
    """

    disk: Disk
    catalogue: Catalogue
    is_asked_fully: bool = True

    def some(self, values: Iterable[T]) -> list[T]:
        """Return what a test asks for, of all that it could."""
        return list(values) if self.is_asked_fully else some(values)


def fixtures() -> dict[str, str]:
    """The layouts that other projects use in their tests, as far as ocicat accepts them as layouts."""
    found = sorted(os.path.dirname(each) for each in FIXTURES.rglob("index.json"))
    paths = [path for path in found if os.path.exists(f"{path}/oci-layout") or os.path.isdir(f"{path}/blobs")]
    return {os.path.relpath(path, FIXTURES): path for path in paths}


@pytest.fixture(scope="session")
def worlds_made() -> dict[tuple[str, str], World]:
    """The worlds, by engine and name, each made when a test first asks for it; several test files use them."""
    return {}


@pytest.fixture(scope="session")
def world_of(
    tmp_path_factory: pytest.TempPathFactory,
    new_catalogue: Callable[[str], Catalogue],
    engine: str,
    worlds_made: dict[tuple[str, str], World],
) -> Callable[[str | int], World]:
    """Gives the world with this name or number in a catalog of the engine under test."""

    def find(which: str | int) -> World:
        key = engine, str(which)
        if key not in worlds_made:
            worlds_made[key] = make_world(which, tmp_path_factory, new_catalogue)
        return worlds_made[key]

    return find


@pytest.fixture(scope="session", params=["by hand", "fixtures", *range(RANDOM_WORLDS)], ids=str)
def world(request: pytest.FixtureRequest, world_of: Callable[[str | int], World]) -> World:
    return world_of(request.param)


def make_world(
    which: str | int, tmp_path_factory: pytest.TempPathFactory, new_catalogue: Callable[[str], Catalogue]
) -> World:
    """Return the world with this name or number, with its catalog."""
    directory = str(tmp_path_factory.mktemp("world"))
    if which == "fixtures":
        if not FIXTURES.exists():
            pytest.skip(f"{FIXTURES} is not there: the shared fixtures are not part of the repository")
        paths = fixtures()
    elif which == "by hand":
        paths = worlds.by_hand(directory)
    else:
        paths = worlds.at_random(directory, random.Random(which))
    catalogue = new_catalogue(directory)
    for name, path in paths.items():
        catalogue.add(path, name=name)
    catalogue.index()
    assert catalogue.sql("SELECT count(*) FROM stores WHERE pending") == [(0,)]
    return World(Disk(paths), catalogue, which == "by hand" and not is_url(catalogue.path))
