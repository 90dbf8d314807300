"""No plan takes more than about four times as long for four times as much in the layouts: its own lines and SQLite's steps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.errors import OcicatError
from catalog.lookup.match import once
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
from catalog.plans.copy import CopyPlan
from catalog.plans.destination import Destination
from catalog.plans.link import links
from catalog.plans.prune import Prune
from catalog.plans.retention import Rules
from catalog.plans.stores import plan_stores
from tests.cli.program import called
from tests.conftest import Catalogue, file_of
from tests.effort import some
from tests.growth.counting import FACTOR, cost
from tests.growth.layouts import LAYOUTS
from tests.growth.test_walks import SPARE, steps

SIZES = 40, 160
RULES = {
    "prune": Rules(0, None, (), False, None),
    "prune by number": Rules(0, 1, ("app:1*", "nothing"), False, None),
    "prune by time": Rules(0, None, (), True, 0),
}


def planned(catalogue: Catalogue, directory: str) -> dict[str, Callable[[], object]]:
    reader = catalogue.reader

    def copied(ref: str) -> None:
        stores = plan_stores(reader)
        matches = list(once(Asking(reader, catalogue.lines.append).matches(parse_query(ref))))
        with (
            contextlib.suppress(OcicatError),  # what is incomplete in so many layouts
            Destination(reader, f"{directory}/new", stores) as to,
            CopyPlan(reader, stores, to, matches, referrers=True) as plan,
        ):
            plan.blobs()

    now = time.time_ns() // 1_000_000
    plans: dict[str, Callable[[], object]] = {
        name: lambda rules=rules: list(Prune(reader, None, rules, now).rows())  # type: ignore[misc]
        for name, rules in RULES.items()
    }
    plans["link"] = lambda: list(links(reader, plan_stores(reader), plan_stores(reader).keys(), hard=True))
    return plans | {f"copy {ref}": lambda ref=ref: copied(ref) for ref in ("app:1", "*")}


@pytest.mark.parametrize("shape", some(LAYOUTS, 6))
def test_plans_are_linear(tmp_path: Path, filled: Callable[[str, int], Catalogue], shape: str) -> None:
    counted: list[dict[str, int]] = []
    for size in SIZES:
        catalogue = filled(shape, size)
        called("verify", db=catalogue.path)
        found: dict[str, int] = {}
        for name, plan in planned(catalogue, str(tmp_path / f"{size}")).items():
            plan()  # what is imported and compiled at first use does not count
            lines: list[int] = []
            found[name] = steps([file_of(catalogue.reader)], lambda plan=plan, lines=lines: lines.append(cost(plan)))  # type: ignore[misc]
            found[name] += lines[0]
        counted.append(found)
        catalogue.close()
    small, large = counted
    assert {name: (small[name], large[name]) for name in small if large[name] > small[name] * FACTOR + SPARE} == {}
