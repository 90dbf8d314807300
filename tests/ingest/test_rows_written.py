"""Rows written are proportional to what changed, not to the size of `index.json`."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import effort, writers
from tests.conftest import Catalogue, file_of, stamp
from tests.lookup.sizes import Sized
from tests.writers import Descriptor

MANY = 10_000 if effort.profile() == "short" else 100_000
DOZENS = 24
"""For one that moved; half of it is for the past, which keeps what was."""
NOTES = {"org.opencontainers.image.created": writers.CREATED, "org.example.note": "moved"}

Edit = Callable[[list[Descriptor], Descriptor], list[Descriptor]]


class Layout:
    """A layout and its catalog; elements are encoded once each, as to write all of them anew takes a second."""

    def __init__(self, catalogue: Catalogue, path: str, elements: list[Descriptor]) -> None:
        self.catalogue = catalogue
        self.path = path
        self.elements = elements
        self._encoded: dict[int, tuple[Descriptor, bytes]] = {}

    def write(self, elements: list[Descriptor], style: str = "skopeo") -> None:
        """Elements are never changed in place, so one that was written before is written as it was."""
        pieces = []
        for element in elements:
            known = self._encoded.get(id(element))
            if known is None:
                known = self._encoded[id(element)] = element, writers.dump(element)
            pieces.append(known[1])
        writers.WRITE_STYLES[style](self.path, b'{"schemaVersion":2,"manifests":[' + b",".join(pieces) + b"]}")
        stamp(f"{self.path}/index.json")
        self.elements = elements

    def rows(self, elements: list[Descriptor], style: str = "skopeo") -> int:
        """How many rows it takes to take these in place of those before."""
        self.write(elements, style)
        return self.catalogue.writes(self.catalogue.index)


@pytest.fixture(scope="module")
def large(sized: Callable[[int], Sized], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """MANY entries, in a copy of the catalog that others read."""
    found = sized(MANY)
    path = str(tmp_path_factory.mktemp("large") / "catalog.db")
    with contextlib.closing(sqlite3.connect(path)) as copy:
        file_of(found.catalogue.reader).backup(copy)
    catalogue = Catalogue(path)
    layout = Layout(catalogue, found.large, found.elements)
    layout.rows([*found.elements, writers.fake_descriptor("more")])
    layout.rows(found.elements)  # by now the catalog knows that what sizes.py says of blobs is not so
    yield layout
    catalogue.close()


@pytest.fixture
def small(catalogue: Catalogue, tmp_path: Path) -> Callable[[int], Layout]:
    def make(size: int) -> Layout:
        layout = Layout(catalogue, writers.make_layout(str(tmp_path / "layout")), [])
        layout.write(list(writers.big_entries(size)))
        for directory in ("blobs", "blobs/sha256"):
            stamp(f"{layout.path}/{directory}")  # made just now they would be listed again at the next pass
        catalogue.add(layout.path)
        assert catalogue.sql("SELECT entries, state FROM stores") == [(size, "ok")]
        return layout

    return make


def named(entry: Descriptor, key: str) -> str:
    annotations: dict[str, str] = entry.get("annotations") or {}
    return annotations.get(key, "")


def same_name(one: Descriptor, other: Descriptor) -> bool:
    return all(named(one, key) == named(other, key) for key in (writers.IMAGE_NAME, writers.REF_NAME))


def as_skopeo(elements: list[Descriptor], entry: Descriptor) -> list[Descriptor]:
    """The old entry loses its ref.name, the new one is appended."""
    at = next(at for at, old in enumerate(elements) if same_name(old, entry))
    kept = {key: value for key, value in elements[at]["annotations"].items() if key != writers.REF_NAME}
    stripped = {**elements[at], "annotations": kept}
    return [*elements[:at], stripped, *elements[at + 1 :], entry]


def as_buildkit(elements: list[Descriptor], entry: Descriptor) -> list[Descriptor]:
    """The old entry goes, the new one is appended."""
    return [*(old for old in elements if not same_name(old, entry)), entry]


def as_umoci(elements: list[Descriptor], entry: Descriptor) -> list[Descriptor]:
    """The new entry stands where the old one stood."""
    return [entry if same_name(old, entry) else old for old in elements]


@pytest.mark.parametrize(("edit", "style"), [(as_skopeo, "skopeo"), (as_buildkit, "buildkit"), (as_umoci, "umoci")])
@pytest.mark.parametrize("at", [MANY // 2, MANY - 12], ids=["a bare tag", "a pair of names"])
def test_one_tag_moved_among_many_writes_two_dozen_rows_and_one_an_annotation(
    large: Layout, edit: Edit, style: str, at: int
) -> None:
    """Twice, as a place that was used once may be another one than one that never was."""
    for number in range(2):
        old = next(each for each in large.elements if named(each, writers.REF_NAME) == f"1.{at}")
        names = {key: named(old, key) for key in (writers.REF_NAME, writers.IMAGE_NAME) if named(old, key)}
        entry = writers.fake_descriptor(f"{style}-{at}-{number}")
        entry["annotations"] = {**names, **NOTES}
        others = len(old["annotations"]) - len(names)
        written = large.rows(edit(large.elements, entry), style)
        assert written <= DOZENS + len(NOTES) + others * (2 if edit is as_skopeo else 1)
    found = large.catalogue.resolve(f"oci-layout://{large.path}:1.{at}")
    assert found.digest == entry["digest"]
    assert large.catalogue.sql("SELECT entries FROM stores WHERE name = 'large'") == [(len(large.elements),)]


def test_an_untouched_store_writes_nothing(large: Layout) -> None:
    assert large.catalogue.writes(large.catalogue.index) == 0


def test_a_file_that_was_written_anew_as_it_was_writes_its_store_alone(large: Layout) -> None:
    assert large.rows(large.elements, "umoci") <= 2
    assert large.catalogue.writes(lambda: large.catalogue.index("large", full=True)) <= 2


@pytest.mark.parametrize("at", [0, MANY * 2 // 5])
def test_an_entry_more_and_an_entry_less(large: Layout, at: int) -> None:
    before = large.elements
    entry = writers.name_entry(writers.fake_descriptor(f"more-{at}"), "short", "quay.io/a/b", f"{at}")
    assert large.rows([*before[:at], entry, *before[at:]]) <= DOZENS
    assert large.rows(before) <= DOZENS


def test_a_random_order_of_entries_that_share_nothing_writes_no_entry(small: Callable[[int], Layout]) -> None:
    """oras writes its list in another order each time: only the change of the file is recorded."""
    layout = small(3_000)
    before = layout.catalogue.sql("SELECT id, sort FROM entry ORDER BY id")
    assert layout.rows(random.Random(1).sample(layout.elements, len(layout.elements))) <= 4
    assert layout.catalogue.sql("SELECT id, sort FROM entry ORDER BY id") == before
    assert layout.catalogue.sql("SELECT added, removed, moved FROM snapshots ORDER BY generation")[1:] == [(0, 0, 0)]


def test_an_order_that_matters_writes_what_shares_a_name(small: Callable[[int], Layout]) -> None:
    """Of all that moved, only the two of one name are written."""
    layout = small(1_000)
    one, two = (writers.name_entry(writers.fake_descriptor(seed), "canonical", "quay.io/a/b", "1") for seed in "ab")
    others = layout.elements
    layout.rows([one, *others, two])
    assert layout.rows([two, *reversed(others), one]) <= DOZENS
    assert layout.catalogue.resolve("quay.io/a/b:1").digest == two["digest"]
    assert layout.catalogue.sql("SELECT moved FROM snapshots ORDER BY generation DESC LIMIT 1") == [(2,)]


def test_a_store_that_cannot_be_read_is_told_once(small: Callable[[int], Layout]) -> None:
    layout = small(10)
    catalogue = layout.catalogue
    os.unlink(f"{layout.path}/index.json")
    assert catalogue.writes(catalogue.index) == 4  # the store itself, what it was, and the moment
    assert catalogue.writes(catalogue.index) == 0
    writers.torn(layout.path, b'{"manifests": [', 10)
    assert catalogue.writes(catalogue.index) == 1
    assert catalogue.writes(catalogue.index) == 0
    assert layout.rows(layout.elements) <= 4  # its state is another one again
    assert catalogue.writes(catalogue.index) == 0
