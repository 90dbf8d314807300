"""How much of a large number of like cases the tests try: hypothesis' examples, random worlds, moments, a matrix of options.

`make test` tries a quarter of the examples, always the same ones, and leaves out the tests with the marker `deep`, each of which
repeats on other data what another test shows. `make stress` tries everything, with HYPOTHESIS_PROFILE=long, and
HYPOTHESIS_PROFILE=hunt tries other examples each time.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from typing import TypeVar

os.environ.setdefault("HYPOTHESIS_NO_PLUGINS", "1")  # that of trio, which loads it in every process of the tests

from hypothesis import HealthCheck, settings  # it looks for plugins when it is loaded

SHARE = 4
"""`make test` tries one of this many examples."""
USUAL = 100
"""The number of examples of a test that does not set one."""


def profile() -> str:
    """The profile of this run: short, long or hunt."""
    return os.environ.get("HYPOTHESIS_PROFILE", "short")


def examples(count: int) -> int:
    """Return how many examples a test tries: `count` in the long run, fewer in the short one."""
    return max(2, count // SHARE) if is_short() else count


T = TypeVar("T")
U = TypeVar("U")


def is_short() -> bool:
    """Whether this run leaves out what only repeats."""
    return profile() == "short"


def some(values: Iterable[T], share: int = SHARE) -> list[T]:
    """Return the values that a test tries: all in the long run; one of `share` in the short one, and the last."""
    every = list(values)
    return [*every[:-1:share], *every[-1:]] if is_short() else every


def pairs(first: Iterable[T], second: Iterable[U]) -> list[tuple[T, U]]:
    """Return the pairs of two kinds of values that a test tries: all in the long run; in the short one, each value once or more."""
    one, other = list(first), list(second)
    if not is_short():
        return list(itertools.product(one, other))
    return [(one[at % len(one)], other[at % len(other)]) for at in range(max(len(one), len(other)))]


def load() -> None:
    """Register the profiles and use the one of this run."""
    settings.register_profile(
        "short",
        derandomize=True,
        deadline=None,
        max_examples=USUAL // SHARE,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )
    settings.register_profile("long", settings.get_profile("short"), max_examples=USUAL)
    settings.register_profile("hunt", settings.get_profile("short"), derandomize=False, max_examples=10 * USUAL)
    settings.load_profile(profile())
