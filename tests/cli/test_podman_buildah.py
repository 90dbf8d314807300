"""Layouts that Debian's buildah and podman write: images, indexes, platforms, and which blobs a rewrite leaves unused."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import Own
from tests.cli.test_real_writers import skopeo_digest
from tests.programs import needs

pytestmark = needs("buildah", "podman", "skopeo")


class Tools:
    """buildah and podman over one container storage of their own."""

    def __init__(self, base: Path, run: str) -> None:
        self._base = base
        self._storage = ("--root", str(base / "root"), "--runroot", run)
        self._env = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

    def __call__(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [program, *self._storage, *arguments],
            capture_output=True,
            timeout=120,
            check=False,
            env=self._env,
            text=True,
        )
        assert done.returncode == 0, done
        return done.stdout.strip()

    def image(self, name: str, content: str, *config: str) -> None:
        """Build an image of one file."""
        container = self("buildah", "from", "scratch")
        file = self._base / "file"
        file.write_text(content)
        self("buildah", "copy", "--quiet", container, str(file), "/file")
        self("buildah", "config", *config, container)
        self("buildah", "commit", "--quiet", "--rm", container, name)


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with tempfile.TemporaryDirectory(prefix="run") as run:  # podman allows at most 50 characters
        yield Tools(tmp_path / "storage", run)


def pushed_index(tools: Tools, target: str, name: str, *contents: str) -> None:
    """Push an index with one image per platform into a layout as `name`."""
    tools("buildah", "manifest", "create", "multi")
    for arch, content in zip(("amd64", "arm64"), contents, strict=True):
        tools.image(f"img-{arch}", content, "--os", "linux", "--arch", arch, "--label", f"for={arch}")
        tools("buildah", "manifest", "add", "multi", f"localhost/img-{arch}")
    tools("buildah", "manifest", "push", "--all", "multi", f"oci:{target}:{name}")
    tools("buildah", "manifest", "rm", "multi")


def unreferenced(cli: Own) -> set[str]:
    result = cli("report", "unreferenced", "-p", "older_than=0s", "--format", "json")
    assert (result.status, result.err) == (0, "")
    return {row["digest"] for row in json.loads(result.out)}


def files(path: str) -> set[str]:
    return {f"sha256:{name}" for name in os.listdir(f"{path}/blobs/sha256")}


def test_an_overwritten_image_is_unreferenced_once_nothing_lists_it(cli: Own, tools: Tools, tmp_path: Path) -> None:
    """containers/image removes the name from the entry that had it. That entry still counts, and so does everything below it."""
    path = str(tmp_path / "layout")
    pushed_index(tools, path, "app:1", "one", "two")
    before = files(path)
    cli.done("add", path)
    assert unreferenced(cli) == set()
    pushed_index(tools, path, "app:1", "three", "four")
    tools.image("single", "five", "--os", "linux", "--arch", "amd64")
    tools("podman", "push", "localhost/single", f"oci:{path}:single:1")
    cli.done("index")
    (lost,) = json.loads(cli.done("report", "lost", "--format", "json").out)
    assert lost["last_name"] == "docker.io/library/app:1"
    assert unreferenced(cli) == set()

    kept = [each for each in writers.entries_of(writers.read_index(path)) if each.get("annotations")]
    writers.write_index(path, writers.empty_index(*kept))
    cli.done("index")
    assert unreferenced(cli) == before
    for digest in before:
        os.unlink(f"{path}/blobs/{digest.replace(':', '/')}")
    cli.done("index")
    assert cli("check").out == ""
    for name in ("app:1", "single:1"):
        assert cli.done("resolve", f"oci:{path}:{name}").lines == [skopeo_digest(f"oci:{path}:{name}")]
        whole = (f"oci:{path}:{name}", f"dir:{tmp_path}/{name[:-2]}")
        subprocess.run(["skopeo", "copy", "--quiet", "--insecure-policy", "--all", *whole], check=True, timeout=60)


def test_platforms_are_read_from_the_index_and_its_configs(cli: Own, tools: Tools, tmp_path: Path) -> None:
    path = str(tmp_path / "layout")
    pushed_index(tools, path, "app:1", "one", "two")
    tools.image("win", "three", "--os", "windows", "--os-version", "10.0.20348.1", "--arch", "amd64")
    tools("buildah", "push", "--quiet", "localhost/win", f"oci:{path}:win:1")
    cli.done("add", path)
    (index,) = (each for each in writers.entries_of(writers.read_index(path)) if "index" in each["mediaType"])
    children = json.loads(Path(f"{path}/blobs/{index['digest'].replace(':', '/')}").read_text())["manifests"]
    for child in children:
        arch = child["platform"]["architecture"]
        assert cli.done("resolve", "app:1", "--platform", f"linux/{arch}").lines == [child["digest"]]
        (found,) = cli.done("query", "--label", f"for={arch}", "--format", "{digest}").lines
        assert found == index["digest"]
    for platform, status in {
        "windows(10.0.20348.1)/amd64": 0,
        "windows/amd64": 0,
        "windows(10.0.17763.1)/amd64": 1,
    }.items():
        assert cli("resolve", "win:1", "--platform", platform).status == status


def test_podman_save(cli: Own, tools: Tools, tmp_path: Path) -> None:
    tools.image("single", "one", "--annotation", "org.opencontainers.image.title=file")
    path = str(tmp_path / "saved")
    tools("podman", "save", "--quiet", "--format", "oci-dir", "--output", path, "localhost/single")
    cli.done("add", path)
    assert cli("check").out == ""
    assert unreferenced(cli) == set()
    digest = skopeo_digest(f"oci:{path}")
    for reference in (
        "localhost/single",
        "localhost/single:latest",
        f"oci:{path}",
        f"oci:{path}:localhost/single:latest",
    ):
        assert cli.done("resolve", reference).lines == [digest]
    assert cli.done("query", "--annotation", "org.opencontainers.image.title=file", "--format", "{digest}").lines == [
        digest
    ]
    # podman reads what ocicat names.
    (reference,) = cli.done("resolve", "localhost/single", "--format", "oci:{path}:{ref_name}").lines
    tools("podman", "rmi", "--all", "--force")
    tools("podman", "pull", "--quiet", reference)
