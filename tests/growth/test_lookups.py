"""No question takes more than about four times as long for four times as much in the layouts, all matches counted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from catalog.errors import OcicatError
from catalog.lookup import listing, starts
from catalog.lookup.changes import from_beginning
from catalog.lookup.compare import Side, differences
from catalog.lookup.filters import EntryFilters
from catalog.lookup.inspect import Page
from catalog.lookup.match import once
from catalog.lookup.needed import Needs
from catalog.lookup.parts import Images
from catalog.lookup.starts import Start
from catalog.names.query import Query, parse_query
from tests.conftest import Catalogue, file_of
from tests.effort import some
from tests.growth.counting import FACTOR
from tests.growth.layouts import LAYOUTS
from tests.growth.test_walks import SPARE, steps

SIZES = 25, 100
EVERYTHING = parse_query("*")
STARTED: tuple[dict[str, Any], ...] = (
    {"labels": ("n",)},
    {"annotations": ("*",)},
    {"platform": "linux/amd64"},
    {"artifact_type": "*", "unnamed": True},
    {"media_type": "*", "since": "1970-01-02"},
)


def _objects(catalogue: Catalogue) -> None:
    for ref in ("*", ":*"):
        for match in catalogue.matches(ref):
            match.as_object()


def _filtered(filters: EntryFilters) -> Callable[[Catalogue], None]:
    def ask(catalogue: Catalogue) -> None:
        asking = catalogue.asking()
        narrowing = filters.narrowing(asking)
        assert not list(once(found for match in asking.matches(EVERYTHING) for found in narrowing(match)))

    return ask


def _started(catalogue: Catalogue) -> None:
    """Filters that start from an index, with sets of what passes from the first match on, as for a large catalog."""
    tried, starts.TRIED = starts.TRIED, 0
    try:
        for given in STARTED:
            asking = catalogue.asking()
            narrowing = EntryFilters(**given).narrowing(asking)
            list(listing.narrowed(listing.without_ref(asking, narrowing), narrowing))
            listing.counted(asking, narrowing)
    finally:
        starts.TRIED = tried


def _complete(catalogue: Catalogue) -> None:
    needs = Needs(catalogue.reader)
    for match in catalogue.matches("*")[:3]:
        with contextlib.suppress(OcicatError):
            needs.images(match)


def _single(catalogue: Catalogue) -> None:
    for ref in ("nosuch:1", "app", ":app", f"@sha256:{'0' * 64}", "app:1", ":1"):
        catalogue.resolve(ref)


def _containing(catalogue: Catalogue) -> None:
    for (digest,) in catalogue.sql("SELECT min(digest) FROM manifests WHERE kind = 'manifest'"):
        if digest is not None:
            catalogue.resolve(f"@{digest}")
            list(EntryFilters(contains=digest).narrowing(catalogue.asking()).without_ref() or ())  # type: ignore[arg-type]


def _beginning(catalogue: Catalogue) -> None:
    ref = f"sha256:{'0' * 32}"
    assert len(catalogue.matches(ref)) < 200
    catalogue.resolve(ref)


def _about(**narrow: str) -> Callable[[Catalogue], None]:
    """The referrers of what most is about: of all stores, and of what `*` matches."""

    def ask(catalogue: Catalogue) -> None:
        most = "SELECT subject FROM referrers GROUP BY subject ORDER BY count(*) DESC, subject LIMIT 1"
        for (subject,) in catalogue.sql(most):
            filters = EntryFilters(referrers_of=subject, **narrow)  # type: ignore[arg-type]
            for ref in (None, EVERYTHING):
                asking = catalogue.asking()
                narrowing = filters.narrowing(asking)
                found = narrowing.without_ref() if ref is None else asking.matches(ref)
                assert not isinstance(found, Query | Start)
                told = list(once(each for match in found or () for each in narrowing(match)))
                assert narrow or ref is not None or told

    return ask


def _inspected(catalogue: Catalogue) -> None:
    """The page of one image that has a name, and of what most is about."""
    for match in catalogue.matches("*")[:1]:
        Page(catalogue.reader, match)


def _followed(catalogue: Catalogue) -> None:
    list(from_beginning(catalogue.reader)[0].changes(catalogue.reader))


def _compared(catalogue: Catalogue) -> None:
    """All stores with none of them: every name and entry differs."""
    reader = catalogue.reader
    ids = frozenset(row[0] for row in catalogue.sql("SELECT id FROM store"))
    sides = [Side(reader, each, lambda _: None) for each in (ids, frozenset[int]())]
    for row in differences(Images(reader), *sides):
        assert row.value("change") == "removed"


QUESTIONS: dict[str, Callable[[Catalogue], None]] = {
    "a page": _inspected,
    "changes": _followed,
    "differences": _compared,
    "objects": _objects,
    "a platform": _filtered(EntryFilters(platform="linux/s390x")),
    "a label": _filtered(EntryFilters(labels=("k=v",))),
    "an annotation": _filtered(EntryFilters(annotations=("k=v",))),
    "an artifact type": _filtered(EntryFilters(artifact_type="x")),
    "filters without a reference": _started,
    "whole images": _complete,
    "one answer": _single,
    "what contains a manifest": _containing,
    "a beginning of digests": _beginning,
    "referrers": _about(),
    "referrers with a tag": _about(tag="nosuch"),
    "referrers of a type": _about(media_type="x"),
}


@pytest.mark.parametrize("shape", some(LAYOUTS, 3))
def test_questions_are_linear(filled: Callable[[str, int], Catalogue], shape: str) -> None:
    counted: list[dict[str, int]] = []
    for size in SIZES:
        catalogue = filled(shape, size)
        connection = file_of(catalogue.reader)
        counted.append({name: steps([connection], lambda ask=ask: ask(catalogue)) for name, ask in QUESTIONS.items()})  # type: ignore[misc]  # noqa: B023
        catalogue.close()
    small, large = counted
    assert {name: (small[name], large[name]) for name in small if large[name] > small[name] * FACTOR + SPARE} == {}
