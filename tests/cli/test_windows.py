"""Platforms with a version: several Windows images in one index, and the note about those that were not chosen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import Own
from tests.cli.program import one_error
from tests.content import layouts

NEW, OLD = "10.0.20348.1", "10.0.17763.1"


def windows(path: str, version: str, *, in_index: bool) -> writers.Descriptor:
    """Write an image with this version in its config and, with `in_index`, in its descriptor too."""
    config = {
        "os": "windows",
        "architecture": "amd64",
        "os.version": version,
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    made = layouts.manifest(path, config)
    return made | {"platform": writers.platform("windows", "amd64") | {"os.version": version}} if in_index else made


@pytest.fixture(params=[True, False], ids=["descriptors", "configs"])
def images(request: pytest.FixtureRequest, cli: Own, tmp_path: Path) -> dict[str, str]:
    """Return the digests of two images of one index, whose versions are in the index or in their configs."""
    path = writers.make_layout(str(tmp_path / "w"))
    made = {version: windows(path, version, in_index=request.param) for version in (NEW, OLD)}
    layouts.layout(path, layouts.named(layouts.index(path, *made.values()), "pause:3.6"))
    cli("add", path)
    return {version: each["digest"] for version, each in made.items()}


def test_a_version_decides_and_without_one_the_others_are_named(cli: Own, images: dict[str, str]) -> None:
    asked = {
        f"windows({OLD})/amd64": OLD,
        "windows(10.0.17763)/amd64": OLD,
        "windows(10.0.20348.9)/amd64": NEW,
        "windows(10.0.26100)/amd64": NEW,
    }
    for platform, version in asked.items():
        result = cli("resolve", "pause:3.6", "--platform", platform)
        assert (result.lines, result.said) == ([images[version]], [])
    result = cli("resolve", "pause:3.6", "--platform", "windows/amd64")
    assert result.lines == [images[NEW]]
    assert len(result.said) == 1
    assert f"windows({OLD})/amd64" in result.said[0]
    for platform in ("windows(10.0.14393)/amd64", "windows/arm64", f"linux({OLD})/amd64"):
        assert cli("resolve", "pause:3.6", "--platform", platform).status == 1
    one_error(cli("resolve", "pause:3.6", "--platform", "windows(1(2))/amd64"), 2, "windows(10.0.20348)/amd64")


def test_query_sql_and_json_have_the_version(cli: Own, images: dict[str, str]) -> None:
    texts = [f"windows({version})/amd64" for version in (NEW, OLD)]
    (found,) = json.loads(cli("query", "--platform", "windows/amd64", "--format", "json").out)
    assert found["platforms"] == texts
    assert cli("query", "--platform", f"windows({OLD})/amd64", "--count").lines == ["1"]
    assert cli("query", "--platform", "windows(10.0.14393)/amd64", "--count").lines == ["0"]
    rows = cli("sql", "--format", "tsv", "SELECT digest, platform FROM platforms ORDER BY position").lines
    assert [row.split("\t") for row in rows][-2:] == [
        [images[v], text] for v, text in zip((NEW, OLD), texts, strict=True)
    ]
    result = cli("contexts", "-", "--platform", f"windows({OLD})/amd64", stdin=b"FROM pause:3.6")
    assert result.lines[0].startswith("--build-context pause:3.6=")


def test_another_version_does_not_count_as_a_lacking_platform(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "w"))
    old, new = (layouts.index(path, windows(path, version, in_index=True)) for version in (OLD, NEW))
    linux = layouts.on(layouts.layer("linux"), "linux", "amd64")
    both = layouts.index(path, windows(path, NEW, in_index=True), linux)
    layouts.layout(path, *(layouts.named(each, f"app:{n}") for n, each in enumerate((old, new, both))))
    cli("add", path)
    rows = [row.split("\t")[1:] for row in cli("report", "platforms", "--format", "tsv").lines]
    assert [row for row in rows if row[0].startswith("docker.io")] == [
        ["docker.io/library/app:0", "linux/amd64", "1"],
        ["docker.io/library/app:1", "linux/amd64", "1"],
    ]
