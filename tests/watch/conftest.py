"""A catalog that a daemon follows."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import Server
from tests.watch.harness import Followed, followed


@contextlib.contextmanager
def _empty(request: pytest.FixtureRequest, directory: Path) -> Iterator[str]:
    """An empty catalog: a file, which is what a test has that does not say `on_both`, or one on a server."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield str(shutil.copy(request.getfixturevalue("empty_catalog"), directory / "catalog.db"))
        return
    server: Server = request.getfixturevalue("server")
    url = server.new_catalog()
    yield url
    server.drop(url)


@pytest.fixture
def catalog(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Followed]:
    """A catalog of the test's own with the default settling time, without a daemon yet."""
    with _empty(request, tmp_path) as db, followed(tmp_path, db) as made:
        yield made


@pytest.fixture
def quick(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Followed]:
    """One that settles in a fifth of that, for tests that take many steps."""
    with _empty(request, tmp_path) as db, followed(tmp_path, db, settle_ms=50) as made:
        yield made


@pytest.fixture
def public() -> Iterator[Followed]:
    """One that other users can reach: pytest keeps its own directories to itself."""
    with tempfile.TemporaryDirectory() as directory, followed(Path(directory), settle_ms=50) as made:
        Path(directory).chmod(0o755)
        yield made
