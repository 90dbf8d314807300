"""Tests of catalog.names: what a text means, compared with the answers of the reference libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

PROJECT = Path(__file__).parents[2]


def own_vectors(name: str) -> list[dict[str, Any]]:
    """Return the vectors in this repository: a copy of some rows of the full set."""
    return _rows(PROJECT / "tests" / "vectors" / name)


def shared_vectors(name: str) -> list[dict[str, Any]]:
    """Return the full set of vectors. Skips the test if it is not beside the project's directory."""
    path = PROJECT.parent / "shared" / "vectors" / name
    if not path.exists():
        pytest.skip(f"the full set of vectors is missing: {path}")
    return _rows(path)


def _rows(path: Path) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", json.loads(path.read_text(encoding="utf-8")))
