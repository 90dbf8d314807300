"""A shorter run of what `make stress` does, with fewer stores, kills and steps; the same code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import effort
from tests.conftest import Catalogue
from tests.stress import overtime, scale
from tests.stress.run import SHORT, Stress
from tests.stress.scale import Scale


def test_every_writer_at_once_and_the_daemon_killed_under_it(tmp_path: Path) -> None:
    Stress(tmp_path, SHORT, print).run()


@pytest.mark.deep
def test_what_a_daemon_takes_of_the_machine(tmp_path: Path) -> None:
    Scale(tmp_path, scale.SHORT, print).run()


def test_what_was_answered_is_answered_of_then(
    tmp_path: Path, new_catalogue: Callable[[str], Catalogue], engine: str
) -> None:
    """Whatever happened since, and whatever the clock said: of every form of a reference that `--at` takes."""
    for seed, steps in ((1, effort.examples(240)),) if engine == "sqlite" else ((3, effort.examples(60)),):
        directory = tmp_path / f"{seed}"
        directory.mkdir()
        assert overtime.run(str(directory), new_catalogue, seed, steps, 4) == []
