"""A plan that is carried out breaks nothing: layouts are generated, damaged, pruned, and what is left is whole.

`tests.content.test_reach` knows from the documents that it writes what each reader of a layout could need.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.cli.conftest import Own
from tests.content.test_reach import Grown, file_of
from tests.plans.played import AT_ONCE, paths, planned, unjudged


@pytest.mark.parametrize("seed", range(2))
def test_what_is_left_is_whole(seed: int, cli: Own, tmp_path: Path) -> None:
    rng = random.Random(1000 + seed)
    layouts = {f"root/{n}": Grown(str(tmp_path / "root" / str(n)), rng) for n in range(60)}
    assert cli("--quiet", "add", str(tmp_path / "root")).status == 0
    result = cli("plan", "prune", *AT_ONCE, "--format", "paths0")
    assert result.status == 0
    left_out = unjudged(result)
    before = {
        name: {each for each in layout.needed if os.path.lexists(file_of(layout.path, each))}
        for name, layout in layouts.items()
    }
    listed = paths(result)
    for path in listed:
        os.unlink(path)
    for name, layout in layouts.items():
        assert all(os.path.lexists(file_of(layout.path, each)) for each in before[name]), name
        own = {path for path in listed if path.startswith(f"{layout.path}/")}
        if name in left_out:
            assert not own
        else:
            assert {file_of(layout.path, each) for each in layout.garbage} <= own
        if layout.damaged:
            assert name in left_out
    assert 5 < len(left_out) < 55
    assert len(listed) > 10
    cli("--quiet", "index")
    assert planned(cli, status=1) == []


def test_a_store_that_cannot_be_judged_is_named(cli: Own, tmp_path: Path) -> None:
    rng = random.Random(7)
    while not (grown := Grown(str(tmp_path / f"{rng.random()}"), rng)).damaged:
        pass
    cli("--quiet", "add", grown.path)
    result = cli("plan", "prune", *AT_ONCE)
    assert (result.status, result.out, len(unjudged(result))) == (1, "", 1)
    assert cli("plan", "prune", *AT_ONCE, "--strict").status == 4
