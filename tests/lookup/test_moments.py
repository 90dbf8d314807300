"""Which moment a time means, although clocks are set while moments are noted."""

from __future__ import annotations

import random

import pytest

from catalog.db.labels import mended

Label = tuple[int, int, str | None, int | None]

YEAR = 365 * 86_400_000
NOW, RAN = 1_800_000_000_000, 5_000_000
AGO = (9000, 8000, 7000, 6000, 5000)
"""How long before NOW each moment really was, in milliseconds."""


def labels(wrong: dict[int, int], *, boot: str | None = "this") -> list[Label]:
    """Moments of which some were noted while the clock was wrong by so much."""
    return [(n + 1, NOW - ago + wrong.get(n, 0), boot, RAN - ago) for n, ago in enumerate(AGO)]


@pytest.mark.parametrize("wrong", [{}, {2: YEAR}, {2: -YEAR}, {0: YEAR}, {4: YEAR}, {4: -YEAR},
                                   {1: YEAR, 3: -YEAR}, {1: YEAR, 2: YEAR, 3: YEAR}])  # fmt: skip
def test_by_how_long_the_machine_ran_each_gets_the_time_that_it_was(wrong: dict[int, int]) -> None:
    assert mended(labels(wrong), NOW, "this", RAN) == [NOW - ago for ago in AGO]


@pytest.mark.parametrize("by", [YEAR, -YEAR])
@pytest.mark.parametrize("which", range(1, 5))
def test_on_another_run_of_the_machine_the_others_are_believed(which: int, by: int) -> None:
    """One that is wrong is then put beside one of its neighbours, and decides nothing for the others."""
    found = mended(labels({which: by}, boot=None), NOW, "this", RAN)
    right = [NOW - ago for ago in AGO]
    assert [at for n, at in enumerate(found) if n != which] == [at for n, at in enumerate(right) if n != which]
    assert found == sorted(found)
    assert found[which] <= NOW


def test_times_that_rise_are_left_alone() -> None:
    """A machine that stood still for an hour, and was then put right: its run does not tell, its clock does."""
    given: list[Label] = [(1, NOW - 4_000_000, "this", RAN - 400_000), (2, NOW - 100, "this", RAN - 100)]
    assert mended(given, NOW, "this", RAN) == [at for _, at, _, _ in given]


@pytest.mark.parametrize("seed", range(50))
def test_it_never_falls_and_ends_now(seed: int) -> None:
    rng = random.Random(seed)
    given: list[Label] = [
        (n + 1, NOW + rng.randrange(-100, 20) * rng.choice((1, YEAR)), rng.choice((None, "this", "that")), rng.randrange(RAN))
        for n in range(rng.randrange(1, 40))
    ]  # fmt: skip
    found = mended(given, NOW, "this", RAN)
    assert len(found) == len(given)
    assert found == sorted(found)
    assert found[-1] <= NOW
