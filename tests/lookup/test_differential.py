"""For generated layouts and every reference, the catalog answers as the plain linear scan does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Catalogue
from tests.effort import examples, some
from tests.lookup.asking import PLAIN, Options, Still, differences, references
from tests.lookup.worlds import World, make, worlds

New = Callable[[str], Catalogue]

options = st.builds(
    Options, st.sampled_from([None, "reg/*", "lot*", "*", "solo", "nosuch", "in"]), st.booleans(), st.booleans()
)


SHM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where a commit costs least


def test_every_answer_is_that_of_a_linear_scan(new_catalogue: New, engine: str) -> None:
    """Fewer worlds on a server: there each statement is a round trip, and the names mean what they mean on SQLite.

    In some the indexes are missing, as during a first index.
    """

    @settings(max_examples=examples(30 if engine == "sqlite" else 6))
    @given(world=worlds(), options=options, bulk=st.booleans())
    def compare(world: World, options: Options, bulk: bool) -> None:
        with tempfile.TemporaryDirectory(dir=SHM) as made:
            directory, before = os.path.realpath(made), os.getcwd()
            os.chdir(directory)
            catalogue = new_catalogue(directory)
            try:
                oracle = Still(make(world, catalogue, directory))
                if bulk:
                    catalogue.writer.begin_bulk()
                refs = references(oracle, directory)
                if engine == "postgresql":
                    refs = some(refs)
                assert differences(catalogue, oracle, refs, directory, [PLAIN]) == []
                assert differences(catalogue, oracle, refs[::3], directory, [options]) == []
            finally:
                catalogue.close()
                os.chdir(before)

    compare()
