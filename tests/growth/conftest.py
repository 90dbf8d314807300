"""Catalogs of the shapes of layouts.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Catalogue
from tests.growth.layouts import LAYOUTS


@pytest.fixture
def filled(tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue]) -> Callable[[str, int], Catalogue]:
    """Makes a catalog of the layouts of a shape at a size, in the directory of that size."""

    def make(shape: str, size: int) -> Catalogue:
        directory = str(tmp_path / f"{size}")
        os.makedirs(f"{directory}/layouts")
        LAYOUTS[shape](f"{directory}/layouts", size)
        catalogue = new_sqlite_catalogue(directory)
        catalogue.add(f"{directory}/layouts")
        return catalogue

    return make
