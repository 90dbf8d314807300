"""Which tests run where: the lists of those that `make test` leaves out on a server and `make quick` everywhere."""

from __future__ import annotations

import re

from tests.order import REPEATED_ON_SERVER, SLOW, slow
from tests.repeated import HERE, repeated


def test_each_test_on_the_lists_exists() -> None:
    """A test that was renamed has to be renamed there, too, or it would run where it was not to run."""
    by_file: dict[str, set[str]] = {}
    for each in REPEATED_ON_SERVER | SLOW:
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


def test_slow_is_what_takes_long_on_a_file_in_the_rooms_of_make_quick() -> None:
    seconds = {
        "tests/db/test_a.py::test_one[x-sqlite]": 0.9,
        "tests/db/test_a.py::test_one[y-sqlite]": 0.1,
        "tests/db/test_a.py::test_two[postgresql]": 9.0,
        "tests/db/test_a.py::test_three": 0.4,
        "tests/watch/test_a.py::test_four": 9.0,
    }
    assert slow(seconds) == ["db/test_a.py::test_one"]
