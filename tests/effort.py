"""How many examples hypothesis makes up, and how many random worlds and moments other tests try.

`make test` tries a quarter of them, always the same ones. `make stress` tries all, with HYPOTHESIS_PROFILE=long, and
HYPOTHESIS_PROFILE=hunt tries others each time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SHARE = 4
"""`make test` tries one of this many examples."""
USUAL = 100
"""The number of examples of a test that does not set one."""


def profile() -> str:
    """The profile of this run: short, long or hunt."""
    return os.environ.get("HYPOTHESIS_PROFILE", "short")


def examples(count: int) -> int:
    """Return how many examples a test tries: `count` in the long run, fewer in the short one."""
    return max(2, count // SHARE) if profile() == "short" else count


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
