"""`find` in a catalog with more repositories and tags than it looks at in one go finds what a plain scan finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.lookup.search import TextSearch
from catalog.names.limits import MOST_TAGS
from tests import writers
from tests.conftest import Catalogue

REPOSITORIES = 5_000
"""More than twice the number up to which a word is looked up in all repositories at once."""


def pairs() -> Iterator[tuple[str, str]]:
    """The repositories, each with one tag, and one repository with more tags than are skipped through one by one."""
    for number in range(REPOSITORIES):
        yield f"docker.io/team-{number % 7}/tool-{number:04}{'/tool' if number == 4_900 else ''}", f"v{number % 13}"
    for number in range(MOST_TAGS + 200):
        yield "quay.io/only/one", f"c{number:05}-x{number % 31}"


@pytest.fixture
def crowded(catalogue: Catalogue, tmp_path: Path) -> Catalogue:
    layout = writers.make_layout(str(tmp_path / "crowd"))
    one = writers.fake_descriptor("one")
    writers.write_index(layout, writers.empty_index(*(writers.name_entry(one, "canonical", *pair) for pair in pairs())))
    catalogue.add(layout)
    return catalogue


WORDS = (
    "tool", "tool team-3", "docker v7", "team-5 4999", "tool v1 499", "x30", "-x7 c051", "0520", "one x3", "crowd tool-4998",
    "nowhere", "tool x3",
)  # fmt: skip


def test_words_in_many_repositories_and_tags_lose_nothing(crowded: Catalogue) -> None:
    for text in WORDS:
        words = text.split()
        expected = {pair for pair in pairs() if all(any(word in each for each in (*pair, "crowd")) for word in words)}
        found = [(match.repository, match.tag) for match in TextSearch(crowded.reader, words).matches(None)]
        assert len(found) == len(set(found)), text
        assert set(found) == expected, text
        some = [(match.repository, match.tag) for match in TextSearch(crowded.reader, words).matches(50)]
        assert len(some) == min(50, len(expected)), text
        assert set(some) <= expected, text
    # The best match for a common word comes first, although thousands that have it come before it in the order of names.
    first = next(TextSearch(crowded.reader, ["tool"]).matches())
    assert (first.repository, first.tag) == ("docker.io/team-0/tool-4900/tool", "v12")
