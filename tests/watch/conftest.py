"""A catalog that a daemon follows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import Server
from tests.watch.harness import Followed, followed


def _url(request: pytest.FixtureRequest) -> str | None:
    """None for a file, which is what a test has that does not say ON_BOTH."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return None
    server: Server = request.getfixturevalue("server")
    return server.new_catalog()


@pytest.fixture
def catalog(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Followed]:
    """A catalog of the test's own with the default settling time, without a daemon yet."""
    with followed(tmp_path, _url(request)) as made:
        yield made


@pytest.fixture
def quick(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Followed]:
    """One that settles in a fifth of that, for tests that take many steps."""
    with followed(tmp_path, _url(request), settle_ms=50) as made:
        yield made


@pytest.fixture
def public() -> Iterator[Followed]:
    """One that other users can reach: pytest keeps its own directories to itself."""
    with tempfile.TemporaryDirectory() as directory, followed(Path(directory), settle_ms=50) as made:
        Path(directory).chmod(0o755)
        yield made
