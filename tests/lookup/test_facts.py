"""The size, the age and the labels of an image in `query` are those of the views, whatever the entries of a question share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Catalogue
from tests.content.layouts import index, named, write
from tests.content.layouts import layout as empty_layout
from tests.growth.layouts import LAYOUTS, Layout, layer
from tests.writers import CONFIG_TYPE, INDEX_TYPE, make_image

_VIEW = "SELECT digest, total_size, created FROM images ORDER BY digest"


def _asked(catalogue: Catalogue) -> list[tuple[object, ...]]:
    found = [match.as_object() for ref in ("*", ":*", "@sha256:*") for match in catalogue.matches(ref)]
    rows = {(str(each["digest"]), each["total_size"], each["created"]) for each in found}
    return sorted(rows, key=str)


@pytest.mark.parametrize("shape", LAYOUTS)
def test_they_are_those_of_the_views(tmp_path: Path, catalogue: Catalogue, shape: str) -> None:
    os.mkdir(tmp_path / "layouts")
    LAYOUTS[shape](str(tmp_path / "layouts"), 6)
    catalogue.add(str(tmp_path / "layouts"))
    digests = {each[0] for each in _asked(catalogue)}
    viewed = {row for row in map(tuple, catalogue.sql(_VIEW)) if row[0] in digests}
    assert _asked(catalogue) == sorted(viewed, key=str)


def test_indexes_with_one_child_each(tmp_path: Path, catalogue: Catalogue) -> None:
    """One leads to an image, one to an image that it calls a config, one to an index that is absent, one to the same child twice."""
    made = Layout(str(tmp_path / "layouts" / "s"))
    image = made.image(layers=3)
    absent = layer("absent") | {"mediaType": INDEX_TYPE}
    for name, children in {
        "image": [image],
        "config": [image | {"mediaType": CONFIG_TYPE}],
        "absent": [absent],
        "twice": [image, image],
        "chain": [made.index(made.index(image))],
        "half": [made.index(image), absent],
    }.items():
        made.add(made.index(*children, name=name), f"app:{name}")
    made.done()
    catalogue.add(made.path)
    viewed = {row[0]: (row[1], row[2]) for row in catalogue.sql("SELECT tag, total_size, created FROM images")}
    asked = {match.tag: (match.total_size, match.created) for match in catalogue.matches("*")}
    assert len(asked) == 6
    assert asked == viewed
    small, medium, large = (asked[tag][0] for tag in ("absent", "image", "chain"))
    assert small is not None
    assert medium is not None
    assert large is not None
    assert small < medium < large


def test_the_labels_of_an_index_are_those_of_all_its_images(tmp_path: Path, catalogue: Catalogue) -> None:
    """Those of nested indexes, too; the first image that has a label determines its value."""
    path = empty_layout(tmp_path / "s")
    first, second, third = (
        make_image(path, name, labels={"name": name, f"only.{name}": "1"}) for name in ("first", "second", "third")
    )
    nested = index(path, second, third)
    write(
        path,
        named(index(path, nested, first, nested), "app:nested"),
        named(index(path, index(path, index(path, nested))), "app:chain"),
        named(index(path, first, third), "app:flat"),
        named(second, "app:image"),
    )
    catalogue.add(path)
    found = {match.tag: match.labels for match in catalogue.matches("*")}
    ones = {f"only.{name}": "1" for name in ("first", "second", "third")}
    assert found == {
        "nested": {"name": "second"} | ones,
        "chain": {"name": "second", "only.second": "1", "only.third": "1"},
        "flat": {"name": "first", "only.first": "1", "only.third": "1"},
        "image": {"name": "second", "only.second": "1"},
    }
    assert all(list(labels) == sorted(labels) for labels in found.values())


def test_labels_of_so_many_manifests_are_those_of_the_first_thousand(tmp_path: Path, catalogue: Catalogue) -> None:
    path = empty_layout(tmp_path / "s")
    images = [make_image(path, f"{number}", labels={f"{number:04}": "1"}) for number in range(1_010)]
    write(path, named(index(path, index(path, *images)), "app:1"))
    catalogue.add(path)
    (match,) = catalogue.matches("app:1")
    assert len(match.labels) == 999  # and the index itself
