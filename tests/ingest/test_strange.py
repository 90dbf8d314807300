"""What strange layouts hold: keys too long to index, characters that cannot be stored, fields that are something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import writers
from tests.conftest import Catalogue, Said, stamp
from tests.ingest.invariants import broken
from tests.ingest.test_policies import digest, entry, layout
from tests.writers import IMAGE_NAME, REF_NAME

LONG = "x+" * 600
LONGER = "é" * 1024  # two bytes each
LIMIT = "y/" + "z+" * 511  # 1,024 bytes, and with the colon of its key one too many


def raw(catalogue: Catalogue, tmp_path: Path, document: Any) -> None:
    """A store `s` whose index.json is this, with every escape that JSON has."""
    path = writers.make_layout(str(tmp_path / "s"))
    writers.write_skopeo(path, json.dumps(document).encode())
    stamp(f"{path}/index.json")
    catalogue.add(path)


@pytest.mark.parametrize("text", [LONG, LONGER, LIMIT, f"docker.io/library/{'z' * 2000}:1", f"{LONG},alpine:1"])
@pytest.mark.parametrize("key", [REF_NAME, IMAGE_NAME])
def test_a_long_annotation_is_found_by_all_of_it(catalogue: Catalogue, tmp_path: Path, key: str, text: str) -> None:
    named = {**entry("a"), "annotations": {key: text}}
    catalogue.add(layout(tmp_path / "s", named, named, entry("b", "1")))
    assert catalogue.query(f":{text}") == [("s", digest("a"))] * 2
    assert catalogue.resolve(f":{text}") == Said(0, digest("a"), "s")
    for near in (text[:-1], text + "x", text.upper()):
        assert catalogue.query(f":{near}") == []
    if key == REF_NAME:
        assert catalogue.resolve(f"oci:{tmp_path}/s:{text}") == Said(0, digest("a"), "s")
    kinds = {row[0] for row in catalogue.sql("SELECT kind FROM problem WHERE stage = 0")}
    assert ("long-name" if key == REF_NAME else "unusable-name") in kinds
    assert broken(catalogue, {}) == []


def test_a_short_name_beside_a_long_one_is_found(catalogue: Catalogue, tmp_path: Path) -> None:
    """An index that leaves long ones out leaves nothing else out."""
    catalogue.add(layout(tmp_path / "s", entry("a", "1", LONG), entry("b", LONG, "alpine"), entry("c", f"{LONG}:tail")))
    assert catalogue.resolve("oci-layout://s:1") == Said(0, digest("a"), "s")
    assert catalogue.resolve(":alpine") == Said(0, digest("b"), "s")  # the raw annotation, whose key is alpine:latest
    assert catalogue.resolve(f"oci:{tmp_path}/s:1") == Said(0, digest("a"), "s")
    assert catalogue.resolve(f"ocidir://{tmp_path}/s:tail") == Said(0, digest("c"), "s")
    assert catalogue.resolve(f":{LONG}").candidates == {digest("a"), digest("b")}


def test_regctl_takes_the_first_that_ends_in_the_tag(catalogue: Catalogue, tmp_path: Path) -> None:
    place = f"ocidir://{tmp_path}/s"
    catalogue.add(
        layout(
            tmp_path / "s",
            entry("a", "weird path:1"),
            entry("b", "alpine:1", "alpine:1"),
            entry("c", "1,2"),
            entry("d", "quay.io/x/y"),
            entry("e", "3"),
            entry("f", "alpine:3"),
        )
    )
    assert catalogue.resolve(f"{place}:1").digest == digest("a")
    assert catalogue.resolve(f"{place}:2") == Said(1)  # a part of a joined name is no name to regctl
    assert catalogue.resolve(place) == Said(1)  # and neither is a tag that is not written
    assert catalogue.resolve(f"{place}:3").digest == digest("e")
    layout(tmp_path / "s", entry("b", "alpine:1", "alpine:1"), entry("a", "weird path:1"))
    catalogue.index()
    assert catalogue.resolve(f"{place}:1").digest == digest("b")


def test_nul_and_half_a_surrogate_pair_become_the_replacement_character(catalogue: Catalogue, tmp_path: Path) -> None:
    """In every text; and a question that holds them means the same."""
    odd = {"mediaType": "a\0b", "digest": digest("a"), "annotations": {REF_NAME: "x\0y", "k\ud800": "v\udfff\0"}}
    raw(
        catalogue,
        tmp_path,
        {"manifests": [odd, {**odd, "annotations": {IMAGE_NAME: "\ud83d", REF_NAME: "\U0001f600"}}]},
    )
    assert [match.value("annotations") for match in catalogue.matches(":x\ufffdy")] == [
        {"k\ufffd": "v\ufffd\ufffd", REF_NAME: "x\ufffdy"}
    ]
    for text in ("x\ufffdy", "x\0y", "x\udcffy", "\ufffd", "\ud83d", "\U0001f600", "\U0001f600*", "?\ufffd*"):
        assert catalogue.resolve(f":{text}") == Said(0, digest("a"), "s"), ascii(text)
    assert catalogue.sql("SELECT DISTINCT media_type FROM images") == [("a\ufffdb",)]
    assert broken(catalogue, {}) == []


@pytest.mark.parametrize(
    "element",
    [None, 5, "x", [], {}, {"digest": None}, {"digest": 5}, {"digest": "sha256:../../../etc/passwd"},
     {"digest": f"sha256:{'A' * 64}"}, {"digest": f"sha256:{'a' * 63}"}, {"digest": "a" * 2000}, {"digest": "a:b/c"}],
)  # fmt: skip
def test_an_element_without_a_usable_digest_is_skipped_and_told(
    catalogue: Catalogue, tmp_path: Path, element: object
) -> None:
    """It counts for buildx's rule of the only entry all the same: there are two."""
    raw(catalogue, tmp_path, {"manifests": [element, entry("b", "x")]})
    assert catalogue.sql("SELECT state, entries FROM stores") == [("ok", 1)]
    assert catalogue.sql("SELECT kind, entry_id FROM problem WHERE stage = 0") == [("bad-descriptor", None)]
    assert catalogue.resolve("oci-layout://s:x").digest == digest("b")
    assert catalogue.resolve("oci-layout://s:nosuch") == Said(1)
    assert catalogue.resolve(f"oci:{tmp_path}/s").digest == digest("b")
    raw(catalogue, tmp_path, {"manifests": [entry("b", "x")]})
    assert catalogue.sql("SELECT kind FROM problem WHERE stage = 0") == []
    assert catalogue.resolve("oci-layout://s:nosuch") == Said(0, digest("b"), "s", fallback=True)
    assert catalogue.resolve("oci-layout://s:nosuch", strict=True) == Said(1)


@pytest.mark.parametrize(
    "field",
    [{"size": -1}, {"size": "5"}, {"size": 1 << 80}, {"size": 1.5}, {"mediaType": 5}, {"annotations": [1]},
     {"annotations": {"k": 5}}, {"platform": "linux"}, {"platform": {"os": 5}}, {"artifactType": {}}],
)  # fmt: skip
def test_a_field_that_is_something_else_is_told_and_the_rest_serves(
    catalogue: Catalogue, tmp_path: Path, field: dict[str, Any]
) -> None:
    element = {**entry("a", "1"), **field}
    raw(catalogue, tmp_path, {"manifests": [element]})
    kinds = catalogue.sql("SELECT kind, subject FROM problem WHERE entry_id IS NOT NULL")
    assert kinds == [("descriptor-field", digest("a"))]
    assert catalogue.resolve(digest("a")) == Said(0, digest("a"), "s")
    assert catalogue.resolve(":1").status == (1 if field.get("annotations") else 0)
    raw(catalogue, tmp_path, {"manifests": [entry("a", "1")]})
    assert catalogue.sql("SELECT * FROM problem WHERE entry_id IS NOT NULL") == []


def test_problems_go_with_what_they_are_about(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s", entry("a", "x y"), entry("b", f"alpine@{digest('c')}"), entry("c", "", "UPPER"))
    catalogue.add(path)
    found = catalogue.sql("SELECT kind, count(*) FROM problem WHERE stage = 0 GROUP BY kind ORDER BY kind")
    assert found == [("name-digest", 1), ("unusable-name", 3)]
    assert catalogue.resolve(":x y").digest == digest("a")
    assert catalogue.resolve(f":alpine@{digest('c')}").digest == digest("b")
    layout(path, entry("a", "x"))
    catalogue.index()
    assert catalogue.sql("SELECT * FROM problem WHERE stage = 0") == []
    assert broken(catalogue, {}) == []


def test_duplicates_of_one_descriptor_are_as_many_entries(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s", *[entry("a", "alpine:1")] * 3)
    catalogue.add(path)
    assert catalogue.query("alpine:1") == [("s", digest("a"))] * 3
    ids = catalogue.sql("SELECT id FROM entry ORDER BY sort")
    layout(path, *[entry("a", "alpine:1")] * 2)
    catalogue.index()
    assert catalogue.sql("SELECT id FROM entry ORDER BY sort") == ids[:2]
    assert catalogue.sql("SELECT added, removed, moved FROM snapshots ORDER BY at DESC LIMIT 1") == [(0, 1, 0)]


def test_an_entry_may_be_found_by_either_of_two_names(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.add(layout(tmp_path / "s", entry("a", "busybox:2", "alpine:1")))
    (by_containerd,) = catalogue.matches("alpine:1")
    (by_ref,) = catalogue.matches("busybox:2")
    assert by_containerd.entry_id == by_ref.entry_id
    both = ["docker.io/library/alpine:1", "docker.io/library/busybox:2"]
    assert by_containerd.value("names") == by_ref.value("names") == both
    assert [by_containerd.value("name"), by_ref.value("name")] == both
    assert len(catalogue.matches("*")) == 1
