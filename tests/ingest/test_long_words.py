"""Words longer than a B-tree takes (2,704 bytes on PostgreSQL): told as a problem, and no other store suffers, on both engines."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import writers
from tests.conftest import Catalogue
from tests.content.layouts import layout, manifest, named, put, write
from tests.forking import OCICAT

DIGITS = random.Random(7)
LONG = "".join(DIGITS.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=8000))  # it does not compress below the limit
AMD64 = {"os": "linux", "architecture": "amd64"}

Descriptor = dict[str, Any]
WORDS: dict[str, Callable[[Descriptor], Descriptor]] = {
    "media type": lambda d: d | {"mediaType": f"application/{LONG}"},
    "artifact type": lambda d: d | {"artifactType": LONG},
    "platform": lambda d: d | {"platform": {"os": "linux", "architecture": LONG}},
    "wide platform": lambda d: d | {"platform": {"os": "linux", "architecture": "é" * 800}},
    "annotation key": lambda d: d | {"annotations": {LONG: "x", "short": "y"}},
    "annotation value": lambda d: d | {"annotations": {"short": LONG}},
}


def told(catalogue: Catalogue) -> list[tuple[str, str]]:
    return sorted(catalogue.sql("SELECT kind, subject FROM problems WHERE kind = 'long-word'"))


@pytest.mark.parametrize("word", WORDS)
def test_a_long_word_of_an_entry_is_told(catalogue: Catalogue, tmp_path: Path, word: str) -> None:
    path = layout(tmp_path / "s")
    image = manifest(path, AMD64)
    write(path, WORDS[word](image), named(image))
    catalogue.add(path)
    expected = [] if word == "annotation value" else [("long-word", image["digest"])]
    assert told(catalogue) == expected
    assert catalogue.sql("SELECT count(*) FROM entry") == [(2,)]
    keys = catalogue.sql(
        "SELECT name FROM annotation_key JOIN entry_annotation ON key_id = annotation_key.id ORDER BY 1"
    )
    assert keys == ([("short",)] if word.startswith("annotation") else [])
    write(path, named(image))
    catalogue.index()
    assert told(catalogue) == []


INSIDE: dict[str, Callable[[str], Descriptor]] = {
    "label": lambda path: manifest(path, AMD64 | {"config": {"Labels": {LONG: "x", "short": "y"}}}),
    "architecture": lambda path: manifest(path, {"os": "linux", "architecture": LONG}),
    "media type of a layer": lambda path: manifest(
        path, AMD64, put(path, {"any": 1}) | {"mediaType": f"application/vnd.oci.image.layer.{LONG}"}
    ),
    "artifact type": lambda path: put(
        path,
        {"mediaType": writers.MANIFEST_TYPE, "artifactType": LONG, "config": put(path, AMD64), "layers": []},
    ) | {"mediaType": writers.MANIFEST_TYPE},
    "annotation of a manifest": lambda path: put(
        path,
        {"mediaType": writers.MANIFEST_TYPE, "annotations": {LONG: "x"}, "config": put(path, AMD64), "layers": []},
    ) | {"mediaType": writers.MANIFEST_TYPE},
    "annotation of a layer": lambda path: manifest(
        path, AMD64, put(path, {"any": 1}) | {"mediaType": "application/x-tar", "annotations": {LONG: "x"}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("where", INSIDE)
def test_a_long_word_in_a_blob_is_told_of_each_store_that_has_it(
    catalogue: Catalogue, tmp_path: Path, where: str
) -> None:
    for name in ("a", "b"):
        path = layout(tmp_path / name)
        write(path, named(INSIDE[where](path)))
        catalogue.add(path)
    found = catalogue.sql("SELECT store FROM problems WHERE kind = 'long-word' ORDER BY 1")
    assert found == [("a",), ("b",)]
    assert catalogue.sql("SELECT kind FROM problems WHERE kind <> 'long-word'") == []


def test_a_path_too_long_to_be_a_key_is_told_and_costs_the_others_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    deep = "/".join("".join(DIGITS.choices("abcdefgh", k=200)) for _ in range(12))
    os.makedirs(tmp_path / "root")
    good = layout(tmp_path / "root/good")
    write(good, named(manifest(good, AMD64)))
    path = layout(tmp_path / "root" / deep)
    write(path, named(manifest(path, AMD64)))
    said = subprocess.run(
        [OCICAT, "--db", catalogue.path, "add", str(tmp_path / "root")], check=True, capture_output=True, text=True
    )
    assert "the path takes more than 1536 bytes" in said.stderr
    assert catalogue.sql("SELECT name FROM stores") == [("root/good",)]
    alone = subprocess.run([OCICAT, "--db", catalogue.path, "add", path], check=False, capture_output=True, text=True)
    assert (alone.returncode, "is longer than 1536 bytes" in alone.stderr) == (2, True), alone
    fresh = [OCICAT, "--db", catalogue.path, "resolve", "--fresh", "alpine:1"]
    assert subprocess.run(fresh, check=False, capture_output=True).returncode == 0
