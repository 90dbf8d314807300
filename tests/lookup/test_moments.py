"""Which moment a time means, even if clocks are set between moments."""

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
    """Return moments, some of which were recorded while the clock was wrong by this much."""
    return [(n + 1, NOW - ago + wrong.get(n, 0), boot, RAN - ago) for n, ago in enumerate(AGO)]


@pytest.mark.parametrize("wrong", [{}, {2: YEAR}, {2: -YEAR}, {0: YEAR}, {4: YEAR}, {4: -YEAR},
                                   {1: YEAR, 3: -YEAR}, {1: YEAR, 2: YEAR, 3: YEAR}])  # fmt: skip
def test_times_are_corrected_by_uptime(wrong: dict[int, int]) -> None:
    assert mended(labels(wrong), NOW, "this", RAN) == [NOW - ago for ago in AGO]


@pytest.mark.parametrize("by", [YEAR, -YEAR])
@pytest.mark.parametrize("which", range(1, 5))
def test_after_a_reboot_the_other_times_are_trusted(which: int, by: int) -> None:
    """A wrong one then gets the time of a neighbour, and does not affect the others."""
    found = mended(labels({which: by}, boot=None), NOW, "this", RAN)
    right = [NOW - ago for ago in AGO]
    assert [at for n, at in enumerate(found) if n != which] == [at for n, at in enumerate(right) if n != which]
    assert found == sorted(found)
    assert found[which] <= NOW


def test_times_that_rise_are_left_alone() -> None:
    """A machine was suspended for an hour and its clock then corrected: its uptime is wrong, its clock is right."""
    given: list[Label] = [(1, NOW - 4_000_000, "this", RAN - 400_000), (2, NOW - 100, "this", RAN - 100)]
    assert mended(given, NOW, "this", RAN) == [at for _, at, _, _ in given]


@pytest.mark.parametrize("seed", range(50))
def test_times_never_decrease_and_end_now(seed: int) -> None:
    rng = random.Random(seed)
    given: list[Label] = [
        (n + 1, NOW + rng.randrange(-100, 20) * rng.choice((1, YEAR)), rng.choice((None, "this", "that")), rng.randrange(RAN))
        for n in range(rng.randrange(1, 40))
    ]  # fmt: skip
    found = mended(given, NOW, "this", RAN)
    assert len(found) == len(given)
    assert found == sorted(found)
    assert found[-1] <= NOW
