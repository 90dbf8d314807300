"""Several questions to one catalog, one after the other: what each may keep from the one before, and what it notes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from catalog.lookup import listing
from catalog.names.query import parse_query
from tests.conftest import Catalogue
from tests.content.layouts import index, layout, manifest, named, write


def notes(catalogue: Catalogue, *refs: str, stores: tuple[str, ...] = ()) -> list[str]:
    """Return what is noted while these references are resolved in one run."""
    catalogue.lines.clear()
    asking = catalogue.asking(stores)
    for ref in refs:
        asking.resolve(parse_query(ref))
    return list(catalogue.lines)


@pytest.mark.parametrize("command", ["resolve", "query", "query of all"])
def test_what_a_question_found_out_is_forgotten_before_the_next(
    catalogue: Catalogue, tmp_path: Path, command: str
) -> None:
    away, path = layout(tmp_path / "away"), layout(tmp_path / "s")
    child = manifest(away, {"os": "linux", "architecture": "arm64"})
    write(path, named(index(path, child)))
    catalogue.add(path)
    catalogue.index()
    asking, query = catalogue.asking(), parse_query("alpine:1")

    def platforms() -> object:
        if command == "query of all":
            return next(iter(listing.without_ref(catalogue.asking(), None))).value("platforms")
        match = asking.resolve(query) if command == "resolve" else next(asking.matches(query))
        return match.value("platforms")

    assert platforms() == []
    shutil.copytree(f"{away}/blobs", f"{path}/blobs", dirs_exist_ok=True)
    catalogue.index()
    assert platforms() == ["linux/arm64"]


def test_a_store_that_cannot_be_read_is_noted_once(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    write(path, named(manifest(path, {}), "alpine:1"), named(manifest(path, {"a": 1}), "alpine:2"))
    catalogue.add(path)
    catalogue.index()
    Path(f"{path}/index.json").write_text("{", encoding="utf-8")
    catalogue.index()
    for refs in (("alpine:1",), ("alpine:1", "alpine:2", "oci-layout://s/alpine:1")):
        (note,) = notes(catalogue, *refs)
        assert note.startswith("store s has been invalid since ")
        assert note.endswith(": using its last entries")
    os.rename(path, f"{path}.away")
    catalogue.index()
    catalogue.lines.clear()
    for ref in ("oci-layout://s/alpine:1", "oci-layout://s/alpine:2"):
        assert catalogue.resolve(ref).status == 1
    assert [line.rpartition(": ")[2] for line in catalogue.lines] == ["answers nothing", "answers nothing"]


@pytest.mark.parametrize("form", ["alpine:1@{}", "oci-layout://s/alpine:1@{}"])
def test_a_tag_that_moved_away_from_the_digest_that_is_asked_for(
    catalogue: Catalogue, tmp_path: Path, form: str
) -> None:
    """Tools write NAME:TAG@DIGEST, and take the digest. A person should know that the tag means another image now."""
    path = layout(tmp_path / "s")
    child, old, new = (manifest(path, {"n": number}) for number in range(3))
    top = index(path, child)
    write(path, named(new, "alpine:1"), named(old, "alpine:1"), named(top, "alpine:3"))  # the second is shadowed
    catalogue.add(path)
    catalogue.index()
    moved = form.format(old["digest"])
    assert notes(catalogue, moved) == [f"{moved}: the tag 1 is now {new['digest']}; the digest decides"]
    assert notes(catalogue, form.format(new["digest"])) == []
    of_index = form.replace(":1@", ":3@")
    assert notes(catalogue, of_index.format(child["digest"])) == [], "the tag leads to the manifest by its index"
    assert notes(catalogue, form.replace(":1@", ":9@").format(old["digest"])) == [], "no such tag"


def test_a_tag_that_moved_in_another_store_is_not_noted(catalogue: Catalogue, tmp_path: Path) -> None:
    one, two = layout(tmp_path / "one"), layout(tmp_path / "two")
    old = manifest(one, {"n": 1})
    write(one, named(old, "alpine:1"))
    write(two, named(manifest(two, {"n": 2}), "alpine:1"), named(old, "alpine:2"))
    for path in (one, two):
        catalogue.add(path)
    catalogue.index()
    ref = f"alpine:1@{old['digest']}"
    assert notes(catalogue, ref, stores=("one",)) == []
    (note,) = notes(catalogue, ref, stores=("two",))
    assert "the digest decides" in note
