"""`--store` accepts names, paths and globs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.errors import InvalidReference, UnknownStore
from catalog.lookup.stores import store_ids
from tests.conftest import Catalogue
from tests.ingest.test_policies import entry, layout


@pytest.fixture(scope="module")
def stood(
    tmp_path_factory: pytest.TempPathFactory, new_catalogue: Callable[[str], Catalogue]
) -> Iterator[tuple[Catalogue, Path]]:
    """A catalog of three stores in a directory, which tests only read."""
    directory = tmp_path_factory.mktemp("three")
    made = new_catalogue(str(directory))
    for place in ("R/a", "R/b", "c"):
        layout(directory / place, entry("a", "1"))
    made.add(f"{directory}/R")
    made.add(f"{directory}/c")
    yield made, directory
    made.close()


@pytest.fixture
def three(stood: tuple[Catalogue, Path], monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """That catalog, with its directory as the working directory."""
    made, directory = stood
    monkeypatch.chdir(directory)
    return made


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["R/a"], "R/a"),
        (["R/a", "c"], "R/a c"),
        (["R/*"], "R/a R/b"),
        (["*"], "R/a R/b c"),
        (["[ab]", "c"], None),
        (["?"], "c"),
        (["R/[!a]"], "R/b"),
        (["./R/a"], "R/a"),
        (["R/a/"], None),
        (["./R/a/"], "R/a"),
        (["."], None),
        (["R"], None),
        ([""], None),
        (["R/A"], None),
        (["\udcff"], None),
        (["*\udcff"], None),
        (["./\udcff"], None),
        (["/"], None),
    ],
)
def test_a_scope_is_names_paths_and_globs(three: Catalogue, texts: list[str], names: str | None) -> None:
    if names is None:
        with pytest.raises(UnknownStore):
            store_ids(three.reader, tuple(texts))
        return
    found = store_ids(three.reader, tuple(texts))
    assert sorted(name for id_, name in three.sql("SELECT id, name FROM store") if id_ in found) == names.split()


def test_a_path_is_matched_through_links(three: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(Path.cwd() / "R")
    monkeypatch.chdir(tmp_path)
    assert store_ids(three.reader, ("./link/a",)) == store_ids(three.reader, ("R/a",))
    with pytest.raises(InvalidReference):
        store_ids(three.reader, ("/\0",))


def test_a_name_that_looks_like_a_glob_is_a_name(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.add(layout(tmp_path / "a", entry("a", "1")), name="[ab]")
    catalogue.add(layout(tmp_path / "b", entry("b", "1")), name="a")
    assert [match.store for match in catalogue.matches(":1", ["[ab]"])] == ["[ab]"]
