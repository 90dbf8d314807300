"""A shorter run of what `make stress` does, with fewer stores and fewer kills; the same code."""

from __future__ import annotations

from pathlib import Path

from tests.stress import scale
from tests.stress.run import SHORT, Stress
from tests.stress.scale import Scale


def test_every_writer_at_once_and_the_daemon_killed_under_it(tmp_path: Path) -> None:
    Stress(tmp_path, SHORT, print).run()


def test_what_a_daemon_takes_of_the_machine(tmp_path: Path) -> None:
    Scale(tmp_path, scale.SHORT, print).run()
