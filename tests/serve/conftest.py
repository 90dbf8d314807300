"""Layouts and a running `ocicat serve` of them, made once and only read; and layouts of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.served import Layouts, Registry, build, serving


@pytest.fixture(scope="package")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    """The layouts and the catalog that `site` serves."""
    return build(str(tmp_path_factory.mktemp("serve")))


@pytest.fixture(scope="package")
def site(layouts: Layouts) -> Iterator[Registry]:
    """A running `ocicat serve` of `layouts`."""
    with serving(layouts.db) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Layouts:
    """Layouts and a catalog that a test may change."""
    return build(str(tmp_path))
