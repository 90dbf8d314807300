"""Tests of catalog.names: what a text means, against the answers of the field's own libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

PROJECT = Path(__file__).parents[2]


def own_vectors(name: str) -> list[dict[str, Any]]:
    """The project's own, smaller set: rows of the shared one, copied as they are."""
    return _rows(PROJECT / "tests" / "vectors" / name)


def shared_vectors(name: str) -> list[dict[str, Any]]:
    """The full set, which lies beside the project where it is developed; skips the test where it does not."""
    path = PROJECT.parent / "shared" / "vectors" / name
    if not path.exists():
        pytest.skip(f"the full set of vectors is not here: {path}")
    return _rows(path)


def _rows(path: Path) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", json.loads(path.read_text(encoding="utf-8")))
