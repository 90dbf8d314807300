"""The directories of registries that keep each repository as a layout: zot and olareg, as they write them to disk."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import Own
from tests.cli.test_verify import SKIPPED, counted

HOST = "registry.example.com"


class Registry:
    """The directory of a registry. `push` does what the registry does when somebody pushes a tag."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def repository(self, name: str) -> Path:
        path = self.root / name
        if not (path / "oci-layout").exists():
            writers.make_layout(str(path))
            self.beside(path)
        return path

    def beside(self, path: Path) -> None:
        """Write files of the registry that are in a repository but not part of the layout."""

    def write(self, path: Path, index: writers.Index) -> None:
        raise NotImplementedError

    def push(self, name: str, tag: str, seed: str = "") -> str:
        """Push an image with a tag, which any other image loses; return its digest."""
        path = self.repository(name)
        image = writers.make_image(str(path), seed or f"{name}:{tag}")
        entry = writers.name_entry(image, "tag", "", tag)
        kept = [e for e in writers.read_index(str(path))["manifests"] if e.get("annotations") != entry["annotations"]]
        self.write(path, writers.empty_index(*kept, entry))
        digest: str = image["digest"]
        return digest


class Zot(Registry):
    """Has uploads in a hidden directory of each repository, mirrored images in another one while it fetches them, and its
    databases and the scanner's cache at the top."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        for name in (
            "cache.db",
            "meta.db",
            "_trivy/db/trivy.db",
            "_trivy/db/metadata.json",
            "_trivy/java-db/index.json",
        ):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"{}")

    def beside(self, path: Path) -> None:
        (path / ".uploads").mkdir()
        (path / ".uploads" / str(uuid.uuid4())).write_bytes(b"half a blob")
        half = path / ".sync" / str(uuid.uuid4()) / path.relative_to(self.root)
        writers.make_layout(str(half))
        writers.write_index(str(half), writers.empty_index(writers.name_entry(half_fetched(), "tag", "", "9")))

    def write(self, path: Path, index: writers.Index) -> None:
        writers.write_index(str(path), index, "zot")


class Olareg(Registry):
    """Has uploads in a directory that is not hidden, and a temporary index.json beside the real one."""

    def beside(self, path: Path) -> None:
        (path / "_uploads").mkdir()
        (path / "_uploads/upload.1234567").write_bytes(b"half a blob")
        (path / "index.json.1234567").write_bytes(b'{"schemaVersion":2,"manif')

    def write(self, path: Path, index: writers.Index) -> None:
        writers.write_index(str(path), index, "regctl")


def half_fetched() -> writers.Descriptor:
    return writers.fake_descriptor("half")


@pytest.fixture(params=[Zot, Olareg])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    kind: Callable[[Path], Registry] = request.param
    return kind(tmp_path / "registry")


def add(cli: Own, registry: Registry) -> None:
    cli.done("add", str(registry.root), "--naming", "path", "--prefix", HOST)


def resolved(cli: Own, *references: str) -> list[str]:
    return cli.done("resolve", *references).lines


def test_an_image_is_found_by_the_name_for_pulling_it(cli: Own, registry: Registry) -> None:
    digest = registry.push("library/alpine", "3.16")
    add(cli, registry)
    assert resolved(cli, f"{HOST}/library/alpine:3.16") == [digest]
    assert cli.done("query", ":3.16", "--format", "{store} {name}").out == (
        f"registry/library/alpine {HOST}/library/alpine:3.16\n"
    )
    assert cli("resolve", "alpine:3.16").status == 1, "that is Docker Hub's"
    assert cli("check").out == ""


def test_repositories_inside_repositories(cli: Own, registry: Registry) -> None:
    digests = {name: registry.push(name, "latest") for name in ("a", "a/b", "a/b/c", "a/d/e", "blobs-of/x", "z")}
    add(cli, registry)
    assert len(set(digests.values())) == 6
    for name, digest in digests.items():
        assert resolved(cli, f"{HOST}/{name}", f"{HOST}/{name}:latest") == [digest, digest]
    assert [*cli.stores()] == [f"registry/{name}" for name in sorted(digests)]
    lines = cli.done("query", f"{HOST}/a/*", "--format", "{repository}").lines
    assert sorted(lines) == [f"{HOST}/a/b", f"{HOST}/a/b/c", f"{HOST}/a/d/e"]


def test_other_files_are_neither_stores_nor_problems(cli: Own, registry: Registry) -> None:
    registry.push("library/alpine", "3.16")
    registry.push("team/tool", "1")
    for stray in ("lost+found", "empty/below", "team/tool/notes"):
        (registry.root / stray).mkdir(parents=True)
    (registry.root / "README").write_text("hello")
    (registry.root / "team/tool/notes/index.json").write_text("{}")
    (registry.root / "link").symlink_to("library")
    add(cli, registry)
    assert [*cli.stores()] == ["registry/library/alpine", "registry/team/tool"]
    assert cli.done("check").out == ""
    assert cli("resolve", ":9").status == 1, "a half fetched image belongs to no store"
    assert cli.done("verify").out == ""
    assert counted(cli.db) == (6, 6), "three blobs per image, and no upload"


def test_pushes_are_followed(cli: Own, registry: Registry) -> None:
    registry.push("library/alpine", "3.16")
    add(cli, registry)
    new = registry.push("library/alpine", "3.16", "another")
    assert resolved(cli, "--fresh", f"{HOST}/library/alpine:3.16") == [new]
    later = registry.push("library/alpine/edge", "1")
    assert resolved(cli, "--fresh", f"{HOST}/library/alpine/edge:1") == [later]
    shutil.rmtree(registry.root / "library/alpine/edge")
    assert len(cli("index").said) == 1
    assert cli("resolve", f"{HOST}/library/alpine/edge:1").status == 1
    assert resolved(cli, f"{HOST}/library/alpine:3.16") == [new]


def test_two_registries_in_one_catalog(cli: Own, tmp_path: Path) -> None:
    zot, olareg = Zot(tmp_path / "zot"), Olareg(tmp_path / "olareg")
    digests = [each.push("library/alpine", "3.16", str(each.root)) for each in (zot, olareg)]
    cli.done("add", str(zot.root), "--naming", "path", "--prefix", "zot.example.com:5000")
    cli.done("add", str(olareg.root), "--naming", "path", "--prefix", "localhost:5001")
    names = ["zot.example.com:5000/library/alpine:3.16", "localhost:5001/library/alpine:3.16"]
    assert resolved(cli, *names) == digests
    assert cli("resolve", ":3.16").status == 3


def test_a_repository_with_capitals_is_a_problem_and_is_found_by_its_tag(cli: Own, registry: Registry) -> None:
    digest = registry.push("Team/Tool", "1")
    add(cli, registry)
    assert [line.split("\t")[:2] for line in cli("check").lines] == [["registry/Team/Tool", "no-repository"]]
    assert resolved(cli, "oci-layout://registry/Team/Tool:1") == [digest]


def test_what_zot_has_deduplicated_is_read_once(cli: Own, tmp_path: Path) -> None:
    registry = Zot(tmp_path / "zot")
    registry.push("a", "1", "the same")
    path = registry.repository("b")
    for each in (registry.root / "a/blobs/sha256").iterdir():
        os.link(each, path / "blobs/sha256" / each.name)
    registry.write(path, writers.read_index(str(registry.root / "a")))
    add(cli, registry)
    assert cli("--verbose", "verify").said == ["ocicat: blobs: 3 read"]
    assert counted(cli.db) == (6, 6)
    assert cli("verify").said == [SKIPPED.format(0, 3)]
