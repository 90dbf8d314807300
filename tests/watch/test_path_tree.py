"""The paths at and below a path, found without a look at all others."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from catalog.watch.path_tree import PathTree


def test_it_equals_a_plain_set() -> None:
    chosen = random.Random(1)
    names = [b"a", b"b", b"ab", b"c"]
    paths = [b"/" + b"/".join(chosen.choices(names, k=chosen.randint(0, 4))) for _ in range(200)]
    tree, plain = PathTree(), set[bytes]()
    for _ in range(3_000):
        path = chosen.choice(paths)
        if chosen.random() < 0.5:
            tree.add(path)
            plain.add(path)
        else:
            tree.discard(path)
            plain.discard(path)
        at = chosen.choice(paths)
        below = {each for each in plain if each == at or each.startswith(at.rstrip(b"/") + b"/")}
        found = tree.at_and_below(at)
        assert len(found) == len(set(found))
        assert set(found) == below
    for path in plain.copy():
        tree.discard(path)
    assert tree.at_and_below(b"/") == []
    assert tree._below == {}  # nothing is kept of what is gone


def lines(work: Callable[[], object]) -> int:
    """How many lines of Python run."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_what_one_directory_costs_does_not_depend_on_how_many_there_are() -> None:
    counted = []
    for size in (100, 10_000):
        tree = PathTree()
        for number in range(size):
            tree.add(b"/root/%d" % number)
        tree.add(b"/root/7/below")
        counted.append(lines(lambda tree=tree: (tree.at_and_below(b"/root/7"), tree.discard(b"/root/7/below"))))  # type: ignore[misc]
    assert counted[0] == counted[1]
