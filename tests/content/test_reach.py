"""No blob that a reader of a layout could need is ever called unreferenced, whatever is wrong with the layout.

The property: layouts are generated as documents first, and what each one needs is known from these: everything that is
mentioned on any way from an entry, in a document of whatever kind, and manifests that are about something in use. Then
they are written, and damaged: manifests are torn, taken away, made links, made too large. What the report lists must never
meet what is needed.
"""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests import writers
from tests.cli.program import called
from tests.conftest import Catalogue
from tests.effort import examples, is_short

MANIFEST, INDEX, LAYER, CONFIG = writers.MANIFEST_TYPE, writers.INDEX_TYPE, writers.LAYER_TYPE, writers.CONFIG_TYPE
ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
UNKNOWN = "application/vnd.example.bundle.v1+json"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def file_of(path: str, digest: str) -> str:
    return f"{path}/blobs/{digest.replace(':', '/')}"


class Grown:
    """A random layout: `documents` are all JSON blobs that were ever written into it, `needed` what its readers could need."""

    def __init__(self, path: str, rng: random.Random) -> None:
        self.path = writers.make_layout(path)
        self.rng = rng
        self.documents: dict[str, Any] = {}
        self.garbage: set[str] = set()
        nodes = [self.image() for _ in range(rng.randint(1, 3))]
        for _ in range(rng.randint(0, 4)):
            nodes.append(self.node(nodes))
        entries = rng.sample(nodes, rng.randint(1, len(nodes)))
        for each in rng.sample(nodes, rng.randint(0, min(2, len(nodes)))):
            self.referrer(each)
        for _ in range(rng.randint(0, 2)):
            self.image()  # that no entry lists
        for number in range(rng.randint(0, 2)):
            blob = writers.write_blob(self.path, f"left behind {rng.random()} {number}".encode(), LAYER)
            self.garbage.add(str(blob["digest"]))
        writers.write_index(self.path, writers.empty_index(*(self.named(each) for each in entries)))
        self.entries = {str(each["digest"]) for each in entries}
        self.unusable: set[str] = set()  # what is not there, or empty: nobody could tell what such a blob is about
        self.damaged = rng.random() < 0.6 and self.damage()
        self.needed = self.closure(self.entries)

    def put(self, document: Any, media_type: str) -> dict[str, Any]:
        found = writers.write_blob(self.path, writers.dump(document), media_type)
        self.documents[str(found["digest"])] = document
        return found

    def named(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        return descriptor | {"annotations": {writers.REF_NAME: f"t{self.rng.randint(0, 9)}"}}

    def layer(self) -> dict[str, Any]:
        return writers.write_blob(self.path, self.rng.randbytes(20), LAYER)

    def image(self, **more: Any) -> dict[str, Any]:
        config = self.put({"os": "linux", "architecture": "amd64", "seed": self.rng.random()}, CONFIG)
        layers = [self.layer() for _ in range(self.rng.randint(0, 3))]
        return self.put(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, **more}, MANIFEST
        )

    def referrer(self, subject: dict[str, Any]) -> None:
        """A signature that no entry lists, and perhaps one of that."""
        about = {key: subject[key] for key in ("mediaType", "digest", "size")}
        signature = self.image(subject=about)
        if self.rng.random() < 0.5:
            self.image(subject={key: signature[key] for key in ("mediaType", "digest", "size")})

    def node(self, nodes: list[dict[str, Any]]) -> dict[str, Any]:
        some = self.rng.sample(nodes, self.rng.randint(1, len(nodes)))
        kind = self.rng.choice(("index", "index", "artifact", "schema 1", "unknown", "both", "odd type"))
        if kind == "index":
            return self.put({"schemaVersion": 2, "mediaType": INDEX, "manifests": some}, INDEX)
        if kind == "artifact":
            return self.put({"mediaType": ARTIFACT, "artifactType": "x/y", "blobs": [self.layer()]}, ARTIFACT)
        if kind == "schema 1":
            layers = [{"blobSum": self.layer()["digest"]} for _ in range(2)]
            return self.put({"schemaVersion": 1, "mediaType": SCHEMA_1, "fsLayers": layers}, SCHEMA_1)
        if kind == "unknown":
            return self.put({"parts": {"a": [each["digest"] for each in some], "b": self.layer()}}, UNKNOWN)
        if kind == "both":
            return self.put(
                {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [self.layer()], "manifests": some}, MANIFEST
            )
        return self.put({"schemaVersion": 2, "manifests": some}, self.rng.choice((UNKNOWN, "")))

    def closure(self, start: set[str]) -> set[str]:
        needed, todo = set(start), list(start)
        while True:
            while todo:
                document = dict(self.documents.get(todo.pop(), {}))
                document.pop("subject", None)
                for digest in set(DIGEST.findall(json.dumps(document))) - needed:
                    needed.add(digest)
                    todo.append(digest)
            for digest, document in self.documents.items():
                about = document.get("subject", {}).get("digest")
                if digest not in needed | self.unusable and about in needed:
                    needed.add(digest)
                    todo.append(digest)
            if not todo:
                return needed

    def damage(self) -> bool:
        """Spoil one or two manifests; whether an entry reaches one of them."""
        manifests = [digest for digest, document in self.documents.items() if "seed" not in document]
        reached = self.closure(self.entries)
        spoilt = self.rng.sample(manifests, min(len(manifests), self.rng.randint(1, 2)))
        for digest in spoilt:
            file = file_of(self.path, digest)
            way = self.rng.choice(("torn", "empty", "gone", "other bytes", "link", "unreadable"))
            if way == "torn":
                os.truncate(file, os.path.getsize(file) // 2)
            elif way == "empty":
                os.truncate(file, 0)
                self.unusable.add(digest)
            elif way == "gone":
                os.unlink(file)
                self.unusable.add(digest)
            elif way == "link":
                os.rename(file, f"{self.path}/aside")
                os.symlink("../../aside", file)
            elif way == "unreadable":
                os.unlink(file)
                os.mkfifo(file)
            else:
                with open(file, "r+b") as opened:
                    opened.write(b"{ ")
        return bool(reached & set(spoilt) - self.unlisted(reached))

    def unlisted(self, reached: set[str]) -> set[str]:
        """What is only in use since it is about something in use."""
        return {each for each in reached if "subject" in self.documents.get(each, {})}


@pytest.mark.parametrize("seed", range(examples(3)))
def test_nothing_that_a_reader_could_need_is_unreferenced(
    seed: int, catalogue: Catalogue, tmp_path: Path, engine: str
) -> None:
    rng = random.Random(seed)
    count = 40 if engine == "postgresql" and is_short() else 80
    grown = {f"root/{n}": Grown(str(tmp_path / "root" / str(n)), rng) for n in range(count)}
    catalogue.add(str(tmp_path / "root"))
    result = called(
        *("--quiet", "report", "unreferenced", "-p", "older_than=0", "--format", "jsonl"), db=catalogue.path
    )
    assert result.status == 0
    listed: dict[str, set[str]] = {}
    for line in result.lines:
        row = json.loads(line)
        listed.setdefault(row["store"], set()).add(row["digest"])
    for name, layout in grown.items():
        assert not listed.get(name, set()) & layout.needed, name
    unjudged = {row[0]: row[1:] for row in catalogue.sql("SELECT store, subject, reason FROM unjudged")}
    for name, layout in grown.items():
        if name not in unjudged:
            assert layout.garbage <= listed.get(name, set())
            assert catalogue.sql("SELECT count(*) FROM blobs WHERE store = ? AND reachable IS NULL", name) == [(0,)]
        else:
            assert name not in listed
            assert catalogue.sql("SELECT count(*) FROM blobs WHERE store = ? AND reachable IS NOT NULL", name) == [(0,)]
        if layout.damaged:
            assert name in unjudged
    assert count / 8 < len(unjudged) < count * 15 / 16
    assert len(listed) > count / 8
