"""A command that runs inside another program's process, as in these tests, leaves nothing behind there."""

from __future__ import annotations

import os

import pytest

from tests.cli.conftest import Shelf
from tests.cli.program import called

COMMANDS = [
    ["resolve", "multi:1"], ["resolve", "nosuch"], ["resolve", "--timeout", "60", "multi:1"], ["query"], ["query", "--count"],
    ["query", "--timeout", "60"], ["query", "--store", "nosuch"], ["history", "multi:1"], ["history", "nosuch"], ["stores"],
    ["status"], ["check"], ["check", "nosuch"], ["report"], ["report", "usage"], ["report", "usage", "--store", "nosuch"],
    ["sql", "SELECT 1"], ["sql", "SELECT nosuch"], ["sql", "--schema"], ["db", "check"], ["wait", "multi:1"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_stays_open(shelf: Shelf, command: list[str]) -> None:
    """One more run leaves no open file, no thread and no limit."""
    called(*command, db=shelf.db)
    before = left()
    called(*command, db=shelf.db)
    assert left() == before


def left() -> tuple[int, int, str]:
    with open("/proc/self/limits", encoding="ascii") as limits:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), limits.read()
