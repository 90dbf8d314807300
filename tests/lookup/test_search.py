"""`find` in a catalog with more repositories and tags than it looks at in one go finds what a plain scan finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from catalog.engine.interface import Reader
from catalog.engine.names import Name
from catalog.engine.postgres.reader import PostgresReader
from catalog.lookup.search import TextSearch
from catalog.names.limits import MOST_TAGS
from tests import writers
from tests.conftest import Catalogue
from tests.lookup.test_past_steps import FACTOR, counted, counted_rows

REPOSITORIES = 5_000
"""More than twice the number up to which a word is looked up in all repositories at once."""


def pairs(repositories: int = REPOSITORIES) -> Iterator[tuple[str, str]]:
    """The repositories, each with one tag, and one repository with more tags than are skipped through one by one."""
    for number in range(repositories):
        yield f"docker.io/team-{number % 7}/tool-{number:04}{'/tool' if number == 4_900 else ''}", f"v{number % 13}"
    for number in range(MOST_TAGS + 200):
        yield "quay.io/only/one", f"c{number:05}-x{number % 31}"


def write(layout: str, repositories: int = REPOSITORIES) -> None:
    one = writers.fake_descriptor("one")
    elements = (writers.name_entry(one, "canonical", *pair) for pair in pairs(repositories))
    writers.write_index(layout, writers.empty_index(*elements))


Asked = dict[str, tuple[int, int, list[Name]]]
"""By its text, what a search took: steps or rows, what it found, and the statements that it asked for."""


class Crowded(NamedTuple):
    """A catalog of all the pairs, and what it took to search it for SEVERAL when it had half of the repositories, and then all."""

    catalogue: Catalogue
    half: Asked
    whole: Asked


@pytest.fixture(scope="module")
def crowded(new_catalogue: Callable[[str], Catalogue], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowded]:
    """Tests only read it."""
    directory = str(tmp_path_factory.mktemp("crowded"))
    layout = writers.make_layout(f"{directory}/crowd")
    catalogue = new_catalogue(directory)
    write(layout, REPOSITORIES // 2)
    catalogue.add(layout)
    half = asked(catalogue.reader)
    write(layout)
    catalogue.index()
    yield Crowded(catalogue, half, asked(catalogue.reader))
    catalogue.close()


WORDS = (
    "tool", "tool team-3", "docker v7", "team-5 4999", "tool v1 499", "x30", "-x7 c051", "0520", "one x3", "crowd tool-4998",
    "nowhere", "tool x3",
)  # fmt: skip


def test_words_in_many_repositories_and_tags_lose_nothing(crowded: Crowded) -> None:
    reader = crowded.catalogue.reader
    for text in WORDS:
        words = text.split()
        expected = {pair for pair in pairs() if all(any(word in each for each in (*pair, "crowd")) for word in words)}
        found = [(match.repository, match.tag) for match in TextSearch(reader, words).matches(None)]
        assert len(found) == len(set(found)), text
        assert set(found) == expected, text
        some = [(match.repository, match.tag) for match in TextSearch(reader, words).matches(50)]
        assert len(some) == min(50, len(expected)), text
        assert set(some) <= expected, text
    # The best match for a common word comes first, although thousands that have it come before it in the order of names.
    first = next(TextSearch(reader, ["tool"]).matches())
    assert (first.repository, first.tag) == ("docker.io/team-0/tool-4900/tool", "v12")


class Listening:
    """A reader that keeps the names of the statements that it was asked for."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.asked: list[Name] = []

    def rows(self, name: Name, parameters: dict[str, object]) -> Iterator[tuple[Any, ...]]:
        self.asked.append(name)
        return self._reader.rows(name, parameters)

    def row(self, name: Name, parameters: dict[str, object]) -> tuple[Any, ...] | None:
        self.asked.append(name)
        return self._reader.row(name, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


SEVERAL = {
    "tool-2499 v1 docker team": 1,
    "team-3 tool docker": 1,
    "c00050 quay only x": 1,
    "tool nowhere-at-all v1": 1,
    "docker io tool": 4,  # a page for each word, and another one for that which is looked for
}
"""How often each reads repositories that have a word. In all but the last, one word is rare."""


def asked(reader: Reader) -> Asked:
    """Search for each of SEVERAL."""
    found: Asked = {}
    for text in SEVERAL:
        listening = Listening(reader)
        with counted_rows(reader) if isinstance(reader, PostgresReader) else counted(reader) as counter:
            matches = list(TextSearch(listening, text.split()).matches())  # type: ignore[arg-type]
        found[text] = counter.steps, len(matches), listening.asked
    return found


def test_all_repositories_are_looked_at_for_few_of_the_words(crowded: Crowded) -> None:
    """Once if there is a rare word, at any size; and the results are read with one statement."""
    for at in (crowded.half, crowded.whole):
        for text, pages in SEVERAL.items():
            _, found, statements = at[text]
            assert statements.count("REPOSITORIES_WITH_COMPONENT") == (pages > 1), text
            assert statements.count("REPOSITORIES_WITH") == pages, text
            assert statements.count("BY_KEYS") == (1 if found else 0), text
    for text in SEVERAL:
        assert crowded.whole[text][0] <= FACTOR * 2 * crowded.half[text][0], (text, crowded)


def test_a_registry_in_capitals_is_found_in_any_case(catalogue: Catalogue, tmp_path: Path) -> None:
    """Only the registry of a repository may have capitals. PostgreSQL finds such repositories by an index of their own."""
    layout = writers.make_layout(str(tmp_path / "crowd"))
    one = writers.fake_descriptor("one")
    capitals = [("Acme/tool", "1"), ("Registry.ACME:5000/tool/x", "2"), ("zZ/x", "3")]
    elements = [writers.name_entry(one, "canonical", *pair) for pair in (*pairs(2_200), *capitals)]
    writers.write_index(layout, writers.empty_index(*elements))
    catalogue.add(layout)

    def found(*words: str) -> list[tuple[str | None, str | None]]:
        matches = list(TextSearch(catalogue.reader, words).matches(None))
        assert len({match.entry_id for match in matches}) == len(matches)
        return [(match.repository, match.tag) for match in matches]

    assert sorted(found("ACME")) == sorted(found("acme")) == sorted(capitals[:2])
    assert found("acme/tool:1") == found("Acme/TOOL:1") == found("me/tool:1") == capitals[:1]
    assert found("tool", "acme:5") == capitals[1:2]
    assert found("zz/") == found("zz") == capitals[2:]
    assert set(found("tool")) >= set(capitals[:2]), "a word in more repositories than a page has"
    assert len(found("tool")) == 2_202
