"""What a large store's entries and manifests say about each other is written in pieces, and found again if the store changed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from catalog.ingest.findings import WRITTEN_AT_ONCE
from catalog.ingest.turns import LARGE_ENTRIES
from tests import writers
from tests.conftest import Catalogue
from tests.content.layouts import layer, layout, manifest, named, put, reading, take_names, write
from tests.ingest.test_long_words import AMD64

MANY = WRITTEN_AT_ONCE * 3 // 2
ABOUT = LARGE_ENTRIES + 1
_WRITTEN = (
    "SELECT (SELECT count(*) FROM store_blob WHERE reach > 0), (SELECT count(*) FROM referrer),"
    " (SELECT count(*) FROM problem WHERE stage = 2)"
)
_ALL = (
    "SELECT content.digest, store_blob.reach FROM store_blob JOIN content ON content.id = store_blob.content_id",
    (
        "SELECT subject.digest, by_.digest, how FROM referrer JOIN content AS subject ON subject.id = subject_id"
        " JOIN content AS by_ ON by_.id = referrer_id"
    ),
    "SELECT kind, subject, detail FROM problem",
    "SELECT doubt, doubt_reason FROM store",
)


def large(path: str) -> list[writers.Descriptor]:
    """Make a layout of many layers, each of them truncated, and as many entries that refer to an image; return its entries."""
    layers = [{**put(path, None, writers.LAYER_TYPE, data=b"%d" % n), "size": 100} for n in range(MANY)]
    image = manifest(path, AMD64, *layers)
    about = [
        {**layer(f"a{n}"), "annotations": {"vnd.docker.reference.digest": str(image["digest"])}} for n in range(ABOUT)
    ]
    entries = [named(image), *about]
    layout(path, *entries)
    return entries


class Large(NamedTuple):
    """A layout as `large` makes it, its entries, and what a new catalog finds after the change that tests make."""

    path: str
    entries: list[writers.Descriptor]
    fresh: list[set[tuple[object, ...]]]


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory, new_sqlite_catalogue: Callable[[str], Catalogue]) -> Large:
    """Tests change its index.json, and write it anew before."""
    directory = tmp_path_factory.mktemp("large")
    path = layout(directory / "s")
    entries = large(path)
    write(path, *changed(entries))
    catalogue = new_sqlite_catalogue(str(directory))
    catalogue.add(path)
    return Large(path, entries, found(catalogue))


def changed(entries: list[writers.Descriptor]) -> list[writers.Descriptor]:
    return [*entries[:1], *entries[MANY // 2 :]]


def found(catalogue: Catalogue) -> list[set[tuple[object, ...]]]:
    return [set(catalogue.sql(question)) for question in _ALL]


def test_much_comes_in_pieces(catalogue: Catalogue, tmp_path: Path) -> None:
    large(layout(tmp_path / "s"))
    catalogue.add(f"{tmp_path}/s", index=False)
    take_names(catalogue)
    seen = [(0, 0, 0)]
    for _ in reading(catalogue, "s"):
        seen += catalogue.sql(_WRITTEN)
    seen += catalogue.sql(_WRITTEN)
    assert seen[-1][1:] == (ABOUT, MANY)
    assert seen[-1][0] >= MANY
    for before, after in itertools.pairwise(seen):
        assert sum(after) - sum(before) <= WRITTEN_AT_ONCE, seen
    write(f"{tmp_path}/s", named(manifest(f"{tmp_path}/s", AMD64)))
    catalogue.index()
    assert catalogue.sql(_WRITTEN) == [(2, 0, MANY)]  # the old manifest and its layers still lie there


@pytest.mark.parametrize("piece", [1, 2, 3, 4])
def test_what_changes_between_two_pieces_counts(catalogue: Catalogue, half: Large, piece: int) -> None:
    write(half.path, *half.entries)
    catalogue.add(half.path, index=False)
    take_names(catalogue)
    steps = reading(catalogue, "s")
    while sum(catalogue.sql(_WRITTEN)[0]) < piece * WRITTEN_AT_ONCE - WRITTEN_AT_ONCE // 2:
        if next(steps, None) is None:
            break
    write(half.path, *changed(half.entries))
    take_names(catalogue)
    for _ in steps:
        pass
    catalogue.index()
    assert found(catalogue) == half.fresh
