"""Digests below entries, and answers for a platform: as a plain scan of the layouts gives them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Catalogue
from tests.content.asking import StillContent, resolved, rightly
from tests.content.worlds import ASKED, World, make, references, worlds
from tests.effort import examples, is_short
from tests.lookup.asking import differences

New = Callable[[str], Catalogue]


def platform_differences(
    catalogue: Catalogue, oracle: StillContent, refs: Sequence[str], cwd: str, platforms: Sequence[str], *, first: bool
) -> list[str]:
    """Where the two disagree about a platform, a line each."""
    found = []
    for ref in refs:
        for platform in platforms:
            said = resolved(catalogue, ref, platform, first=first)
            right = rightly(oracle, ref, platform, first=first, cwd=cwd)
            if said != right:
                found.append(f"resolve {ref!r} --platform {platform}: {said}, by the oracle {right}")
    return found


def test_every_answer_is_that_of_a_scan(new_catalogue: New, engine: str) -> None:
    """Fewer worlds on a server, which takes six times as long for each."""

    @settings(max_examples=examples(60) if engine == "sqlite" else 2 if is_short() else 16)
    @given(world=worlds(), first=st.booleans(), platforms=st.sets(st.sampled_from(ASKED), min_size=2, max_size=3))
    def answers(world: World, first: bool, platforms: set[str]) -> None:
        with tempfile.TemporaryDirectory() as made:
            directory, before = os.path.realpath(made), os.getcwd()
            os.chdir(directory)
            catalogue = new_catalogue(directory)
            try:
                stores = make(world, catalogue, directory)
                oracle = StillContent(stores)
                refs = references(world, stores)
                assert differences(catalogue, oracle, refs, directory) == []
                assert platform_differences(catalogue, oracle, refs, directory, sorted(platforms), first=first) == []
            finally:
                catalogue.close()
                os.chdir(before)

    answers()
