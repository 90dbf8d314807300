"""Reading the images of many entries at once gives what reading each by itself gives, and costs few statements."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from catalog.cli import objects
from catalog.cli.formats import Objects
from catalog.db.recursive import MOST_PARTS
from catalog.engine.names import Name
from catalog.lookup import blocks
from catalog.lookup.listing import in_order, of_content, without_ref
from catalog.lookup.match import FIELDS, Match
from tests import writers
from tests.conftest import Catalogue
from tests.content.worlds import World, make, worlds
from tests.effort import examples, some
from tests.growth.layouts import LAYOUTS

New = Callable[[str], Catalogue]


class Kept(Objects):
    """A format that keeps the objects."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def objects(self, texts: Iterable[str]) -> None:
        self.texts += texts


def forgetful(catalogue: Catalogue, match: Match) -> dict[str, object]:
    """What a match says if nothing was read before."""
    catalogue.reader.known.clear()
    return match.as_object()


def compare(catalogue: Catalogue) -> None:
    """Each entry several times, so that there are enough for a block."""
    matches = list(without_ref(catalogue.asking(), None))
    alone = [forgetful(catalogue, match) for match in matches]
    catalogue.reader.known.clear()
    often = [match for match in matches for _ in range(blocks._FEW)]
    together = [match.as_object() for match in of_content(catalogue.reader, often)]
    assert together == [each for each in alone for _ in range(blocks._FEW)]
    catalogue.reader.known.clear()
    assert written(catalogue) == alone


def written(catalogue: Catalogue) -> list[Any]:
    kept = Kept()
    objects.write_all(catalogue.asking(), None, kept)
    return [json.loads(text) for text in kept.texts]


def test_shapes(tmp_path: Path, catalogue: Catalogue, engine: str) -> None:
    """All in one catalog, so that a block has entries of several stores; fewer of them on a server."""
    for number, shape in enumerate(some(LAYOUTS, 2 if engine == "sqlite" else 4)):
        os.makedirs(tmp_path / f"layouts/{number}")
        LAYOUTS[shape](str(tmp_path / f"layouts/{number}"), 12)
    catalogue.add(str(tmp_path / "layouts"))
    compare(catalogue)


def test_worlds(new_catalogue: New, engine: str) -> None:
    """Nested, sparse, repeated and corrupt images, as in tests/content."""

    @settings(max_examples=examples(60 if engine == "sqlite" else 12))
    @given(worlds())
    def alike(world: World) -> None:
        with tempfile.TemporaryDirectory() as made:
            directory, before = os.path.realpath(made), os.getcwd()
            os.chdir(directory)
            catalogue = new_catalogue(directory)
            try:
                make(world, catalogue, directory)
                compare(catalogue)
            finally:
                catalogue.close()
                os.chdir(before)

    alike()


def images(path: str, count: int, *, labels: int = 1) -> None:
    """A layout with `count` entries, every second one an index of two images."""
    writers.make_layout(path)
    entries = []
    for number in range(count):
        said = {f"label-{each}": f"{number}" for each in range(labels)}
        pair = [
            writers.make_image(path, f"{number}-{arch}", arch=arch, layers=2, labels=said)
            | {"platform": writers.platform("linux", arch)}
            for arch in ("amd64", "arm64")
        ]
        found = writers.make_index_image(path, pair) if number % 2 else pair[0]
        entries.append(writers.name_entry(found, "short", "docker.io/library/app", str(number)))
    writers.write_index(path, writers.empty_index(*entries))


def test_limits_only_change_the_size_of_a_block(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    images(str(tmp_path / "s"), 30 if engine == "sqlite" else 12, labels=3)
    catalogue.add(str(tmp_path / "s"))
    # 20,000 parts and two million characters of labels would take minutes to write.
    for limit, value in (
        ("_MOST_PARTS", 20),
        ("_MOST_PARTS", 0),
        ("_MOST_CHARACTERS", 500),
        ("_MOST_BLOBS", 4),
        ("_MOST_MANIFESTS", 1),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(blocks, limit, value)
            compare(catalogue)
    assert MOST_PARTS == blocks._MOST_PARTS


def test_matches_before_an_error_come_before_it(catalogue: Catalogue, tmp_path: Path) -> None:
    images(str(tmp_path / "s"), 10)
    catalogue.add(str(tmp_path / "s"))
    matches = list(without_ref(catalogue.asking(), None))

    def failing() -> Iterable[Match]:
        yield from matches
        raise ZeroDivisionError

    found: list[Match] = []
    with pytest.raises(ZeroDivisionError):
        found.extend(of_content(catalogue.reader, failing()))
    assert found == matches


def counted(catalogue: Catalogue, patched: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements that a catalog is asked from now on.

    The classes are patched, because on a server nothing else counts what one connection asks.
    """
    asked: list[str] = []
    kind = type(catalogue.reader)
    for method in ("rows", "row"):
        patched.setattr(kind, method, _noted(asked, getattr(kind, method)))
    return asked


def _noted(asked: list[str], ask: Callable[..., Any]) -> Callable[..., Any]:
    def noted(self: Any, name: Name, parameters: Any) -> Any:
        asked.append(name)
        return ask(self, name, parameters)

    return noted


def test_statements_do_not_grow_with_entries(
    new_catalogue: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for count in (20, 80):
        path = tmp_path / str(count)
        images(str(path / "s"), count)
        catalogue = new_catalogue(str(path))
        catalogue.add(str(path / "s"))
        with monkeypatch.context() as patched:
            asked = counted(catalogue, patched)
            assert len(written(catalogue)) == count
            first = len(asked)
            matches = without_ref(catalogue.asking(), None)
            ordered = in_order(of_content(catalogue.reader, matches), "-size", FIELDS)
            sizes = [match.total_size for match in ordered]
            assert sizes == sorted((size for size in sizes if size is not None), reverse=True)
            counts.append((first, len(asked) - first))
        catalogue.close()
    (objects_few, sorted_few), (objects_many, sorted_many) = counts
    assert objects_many == objects_few
    assert sorted_many <= sorted_few + 5  # one block more
