"""Which tests run where: the list of those that `make test` leaves out on a server, and how they are chosen."""

from __future__ import annotations

import re

from tests.order import REPEATED_ON_SERVER
from tests.repeated import HERE, repeated


def test_each_test_on_the_list_exists() -> None:
    """A test that was renamed has to be renamed there, too, or it would run twice as often as before."""
    by_file: dict[str, set[str]] = {}
    for each in REPEATED_ON_SERVER:
        file, _, name = each.partition("::")
        by_file.setdefault(file, set()).add(name)
    for file, names in by_file.items():
        there = set(re.findall(r"^def (test_\w+)", (HERE / file).read_text(encoding="utf-8"), re.MULTILINE))
        assert names <= there, file
        assert names, file


def test_a_text_that_one_test_asks_alone_keeps_it() -> None:
    asked = {
        "plans/test_a.py::test_dear": {"one", "two"},
        "plans/test_a.py::test_cheap": {"one"},
        "plans/test_a.py::test_same": {"one"},
        "plans/test_b.py::test_nothing_new": {"two"},
        "plans/test_b.py::test_nothing": set(),
        "reports/test_limits.py::test_of_the_server": set(),
    }
    seconds = dict.fromkeys(asked, 1.0) | {"plans/test_a.py::test_cheap": 0.1}
    assert repeated(asked, seconds) == ["plans/test_a.py::test_same", "plans/test_b.py::test_nothing"]
