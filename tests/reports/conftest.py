"""Catalogs of the worlds, and what their files say: made once, only read by the tests that share them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import Catalogue
from tests.reports import worlds
from tests.reports.disk import Disk

FIXTURES = (Path(__file__).parents[2].parent / "shared" / "fixtures").resolve()
RANDOM_WORLDS = 12


class World(NamedTuple):
    """Layouts, what they say, and the catalog of them."""

    disk: Disk
    catalogue: Catalogue


def fixtures() -> dict[str, str]:
    """The layouts that other projects test with: all that count as one."""
    found = sorted(os.path.dirname(each) for each in FIXTURES.rglob("index.json"))
    paths = [path for path in found if os.path.exists(f"{path}/oci-layout") or os.path.isdir(f"{path}/blobs")]
    return {os.path.relpath(path, FIXTURES): path for path in paths}


@pytest.fixture(scope="session", params=["by hand", "fixtures", *range(RANDOM_WORLDS)], ids=str)
def world(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    new_catalogue: Callable[[str], Catalogue],
) -> Iterator[World]:
    directory = str(tmp_path_factory.mktemp("world"))
    if request.param == "fixtures":
        if not FIXTURES.exists():
            pytest.skip(f"{FIXTURES} is not there: the shared fixtures are not part of the repository")
        paths = fixtures()
    elif request.param == "by hand":
        paths = worlds.by_hand(directory)
    else:
        paths = worlds.at_random(directory, random.Random(request.param))
    catalogue = new_catalogue(directory)
    for name, path in paths.items():
        catalogue.add(path, name=name)
    catalogue.index()
    assert catalogue.sql("SELECT count(*) FROM stores WHERE pending") == [(0,)]
    yield World(Disk(paths), catalogue)
    catalogue.close()
