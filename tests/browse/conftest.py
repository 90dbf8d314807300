"""Layouts, their catalog and a running `ocicat browse`, made once and only read; a browser; and layouts of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.browse.served import Place, Site, browsing, build, chromium
from tests.programs import skip_without


@pytest.fixture(scope="package")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The layouts and the catalog that `site` shows."""
    return build(str(tmp_path_factory.mktemp("browse")))


@pytest.fixture(scope="package")
def site(shown: Place) -> Iterator[Site]:
    """A running `ocicat browse` of `shown`."""
    with browsing(shown.db) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Place:
    """Layouts and a catalog that a test may change."""
    return build(str(tmp_path))


@pytest.fixture(scope="package")
def browser() -> Iterator[Chrome]:
    """A headless Chromium."""
    skip_without("chromium", "chromedriver")
    with chromium() as driver:
        yield driver
