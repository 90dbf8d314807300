"""`ocicat plan link`: identical files on one file system that were verified, and nothing else."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from catalog.names.sizes import human
from tests import writers
from tests.cli.conftest import Own
from tests.content.layouts import file_of


def linked(cli: Own, *options: str, status: int = 0) -> list[dict[str, Any]]:
    """The rows of a plan."""
    result = cli("plan", "link", *options, "--format", "json")
    assert result.status == status, result
    rows: list[dict[str, Any]] = json.loads(result.out)
    return rows


@pytest.fixture
def blobs(cli: Own, tmp_path: Path) -> dict[str, set[str]]:
    """Three stores that share some images; the digests of each."""
    found = {}
    for name, seeds in {"a": "12", "b": "23", "c": "23"}.items():
        path = writers.make_layout(str(tmp_path / name))
        writers.write_index(path, writers.empty_index(*(writers.make_image(path, seed) for seed in seeds)))
        found[name] = {f"sha256:{each}" for each in os.listdir(f"{path}/blobs/sha256")}
        cli.done("add", path)
    return found


def test_a_plan_that_is_played(cli: Own, blobs: dict[str, set[str]], tmp_path: Path) -> None:
    assert linked(cli, status=1) == [], "nothing was verified"
    cli("verify")
    expected = {
        (f"{tmp_path}/{name}", digest)
        for name, first in (("b", "a"), ("c", "a"), ("c", "b"))
        for digest in blobs[name] & blobs[first]
    }
    rows = linked(cli)
    assert {(row["path"].rpartition("/blobs/")[0], row["digest"]) for row in rows} == expected
    for row in rows:
        assert Path(row["path"]).read_bytes() == Path(row["source"]).read_bytes()
        assert (row["mode"], row["size"]) == ("reflink", os.path.getsize(row["path"]))
    pairs = cli("--quiet", "plan", "link", "--mode", "hard", "--format", "pairs0").out
    assert pairs.endswith("\0")
    subprocess.run(["xargs", "-0", "-n", "2", "ln", "-f", "--"], input=pairs.encode(), check=True)
    for row in rows:
        assert os.path.samefile(row["path"], row["source"])
    cli("verify")
    assert linked(cli, status=1) == []
    assert cli("check").out == ""


def test_what_has_changed_since_it_was_verified_is_left_out(
    cli: Own, blobs: dict[str, set[str]], tmp_path: Path
) -> None:
    rng = random.Random(3)
    cli("verify")
    both = sorted(blobs["a"] & blobs["b"] & blobs["c"])
    changed = rng.choice(both)
    for name in ("b", "c"):
        file = file_of(str(tmp_path / name), changed)
        with open(file, "r+b") as opened:
            opened.write(b"x")
    assert changed not in {row["digest"] for row in linked(cli)}
    assert {row["store"] for row in linked(cli, "a", "b")} == {"b"}
    assert linked(cli, "a", status=1) == []
    cli("verify")
    assert changed not in {row["digest"] for row in linked(cli)}, "a damaged file is no source"
    assert cli("plan", "link", "nowhere").status == 2
    assert cli("plan", "link", "--mode", "soft").status == 2


def test_a_hard_link_needs_the_same_mode(cli: Own, blobs: dict[str, set[str]], tmp_path: Path) -> None:
    for digest in blobs["b"]:
        os.chmod(file_of(str(tmp_path / "b"), digest), 0o600)
    cli("verify")
    assert {row["store"] for row in linked(cli, "a", "b")} == {"b"}
    assert linked(cli, "a", "b", "--mode", "hard", status=1) == []


def test_what_is_saved(cli: Own, blobs: dict[str, set[str]], tmp_path: Path) -> None:
    """A file that keeps another name frees nothing."""
    digest = min(blobs["a"] & blobs["b"])
    os.link(file_of(str(tmp_path / "b"), digest), tmp_path / "name")
    cli("verify")
    rows = linked(cli, "a", "b")
    freed = sum(row["size"] for row in rows if row["digest"] != digest)
    said = f"ocicat: {human(freed, 'bytes')} can be saved in {len(rows)} files"
    assert cli("plan", "link", "a", "b").said == [said]
