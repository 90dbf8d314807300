"""The problems of a store do not depend on the order in which stores are read, even if only another store lists its bad blob."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from catalog.layout.list_limits import ListLimits
from tests.conftest import AT_ONCE, Catalogue
from tests.content.layouts import (
    UNREAD,
    file_of,
    index,
    kind,
    layout,
    manifest,
    named,
    pending,
    problems,
    put,
    reading,
    take_names,
    write,
)  # fmt: skip
from tests.writers import CONFIG_TYPE


@pytest.mark.parametrize("first", ["holds", "lists"])
@pytest.mark.parametrize(("ending", "found"), [(b" ", "digest-differs"), (b" " * 2000, "large-manifest")])
@pytest.mark.parametrize("within", ["index", "manifest", "embedded manifest"])
def test_a_bad_blob_that_another_store_lists(
    catalogue: Catalogue, tmp_path: Path, first: str, ending: bytes, found: str, within: str
) -> None:
    """A store holds a bad blob, and only a manifest in the other store says what the blob should be."""
    catalogue.settings = AT_ONCE._replace(limits=ListLimits(descriptor_bytes=1000))
    holds, lists = layout(tmp_path / "holds"), layout(tmp_path / "lists")
    platform = {"os": "linux", "architecture": "amd64"}
    if within == "index":
        bad = manifest(holds, platform)
        outer = index(lists, bad)
    else:
        bad = put(holds, platform, CONFIG_TYPE)
        outer = manifest(lists, bad)
    if within == "embedded manifest":
        file = Path(file_of(lists, outer["digest"]))
        outer = index(lists, outer | {"data": base64.b64encode(file.read_bytes()).decode()})
        file.unlink()
    write(lists, named(outer))
    with open(file_of(holds, bad["digest"]), "ab") as blob:
        blob.write(ending)
    for path in [holds, lists] if first == "holds" else [lists, holds]:
        catalogue.add(path)
    assert pending(catalogue) == []
    assert kind(catalogue, bad) == UNREAD
    assert problems(catalogue) == {("holds", found, bad["digest"])}


def test_both_stores_have_a_bad_copy_of_a_blob_that_one_lists(catalogue: Catalogue, tmp_path: Path) -> None:
    holds, lists = layout(tmp_path / "holds"), layout(tmp_path / "lists")
    bad = manifest(holds, {"os": "linux", "architecture": "amd64"})
    with open(file_of(holds, bad["digest"]), "ab") as blob:
        blob.write(b" ")
    shutil.copyfile(file_of(holds, bad["digest"]), file_of(lists, bad["digest"]))
    catalogue.add(holds)
    assert problems(catalogue) == set()
    write(lists, named(index(lists, bad)))
    catalogue.add(lists)
    assert problems(catalogue) == {(name, "digest-differs", bad["digest"]) for name in ("holds", "lists")}


@pytest.mark.parametrize("has_copy", [False, True])
def test_a_process_that_ends_early_leaves_a_note_for_the_next(
    catalogue: Catalogue, tmp_path: Path, has_copy: bool
) -> None:
    """What the other store has to read is in the catalog, not only in the memory of the process."""
    holds, lists = layout(tmp_path / "holds"), layout(tmp_path / "lists")
    bad = manifest(holds, {"os": "linux", "architecture": "amd64"})
    with open(file_of(holds, bad["digest"]), "ab") as blob:
        blob.write(b" ")
    if has_copy:
        shutil.copyfile(file_of(holds, bad["digest"]), file_of(lists, bad["digest"]))
    catalogue.add(holds)
    write(lists, named(index(lists, bad)))
    catalogue.add(lists, index=False)
    take_names(catalogue)
    for _ in reading(catalogue, "lists"):
        pass
    assert pending(catalogue) == ["holds"]
