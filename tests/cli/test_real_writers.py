"""Layouts that Debian's skopeo and umoci write, indexed after each step and resolved as those tools resolve them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import Own, objects
from tests.programs import needs

needs_skopeo = needs("skopeo")
needs_umoci = needs("umoci")


def tool(*arguments: str) -> bytes:
    done = subprocess.run(arguments, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return done.stdout


def skopeo_copy(source: str, target: str) -> None:
    tool("skopeo", "copy", "--quiet", "--insecure-policy", source, target)


def skopeo_digest(reference: str) -> str:
    """Return the digest of the bytes that skopeo prints for a reference."""
    return f"sha256:{hashlib.sha256(tool('skopeo', 'inspect', '--raw', reference)).hexdigest()}"


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Make a layout with two images, `one` and `two`, to copy from."""
    path = writers.make_layout(str(tmp_path / "source"))
    entries = [writers.name_entry(writers.make_image(path, seed), "tag", "", seed) for seed in ("one", "two")]
    writers.write_index(path, writers.empty_index(*entries))
    return path


def said(cli: Own, path: str) -> list[tuple[str | None, str]]:
    """Return the ref.names and digests that the catalog has for a layout, in its order."""
    found = objects(cli("query", "--store", path, "--format", "json"))
    return [(each["ref_name"] and str(each["ref_name"]), str(each["digest"])) for each in found]  # type: ignore[misc]


def written(path: str) -> list[tuple[str | None, str]]:
    """Return the ref.names and digests in the layout's index.json."""
    entries = writers.entries_of(writers.read_index(path))
    return [((each.get("annotations") or {}).get(writers.REF_NAME), each["digest"]) for each in entries]


@needs_skopeo
def test_skopeo_copies_and_retags(cli: Own, source: str, tmp_path: Path) -> None:
    target = str(tmp_path / "images" / "target")
    os.makedirs(tmp_path / "images")
    cli("add", str(tmp_path / "images"))  # before the layout exists
    names = {
        "3.16": ":3.16",
        "alpine:3.17": "alpine:3.17",
        "docker.io/library/alpine:3.18": "alpine:3.18",
        "registry.example.com:5000/team/app:v1": "registry.example.com:5000/team/app:v1",
        "latest": ":latest",
    }
    for turn, which in enumerate(("one", "two", "one")):
        for ref_name, reference in names.items():
            skopeo_copy(f"oci:{source}:{which}", f"oci:{target}:{ref_name}")
            cli.done("index")
            digest = skopeo_digest(f"oci:{target}:{ref_name}")
            for asked in (reference, f"oci:{target}:{ref_name}", f"oci-layout://images/target@{digest}"):
                assert cli.done("resolve", asked).out == f"{digest}\n", (turn, ref_name, asked)
        assert sorted(said(cli, target), key=str) == sorted(written(target), key=str)
    # skopeo removes a name from its old entry, and leaves the entry.
    assert any(ref_name is None for ref_name, _ in written(target))
    assert cli.done("query", "--unnamed", "--count").out == f"{sum(name is None for name, _ in written(target))}\n"
    assert cli.done("check", "images/target").out == ""
    history = cli.done("sql", "SELECT count(*) FROM history WHERE store = 'images/target' AND tag = '3.16'").out
    assert history == "3\n"  # one, two, one again


@needs_skopeo
def test_skopeo_without_a_name(cli: Own, source: str, tmp_path: Path) -> None:
    target = str(tmp_path / "target")
    skopeo_copy(f"oci:{source}:one", f"oci:{target}")
    cli.done("add", target)
    assert cli.done("resolve", f"oci:{target}").out == skopeo_digest(f"oci:{target}") + "\n"
    result = cli("resolve", "oci-layout://target")
    assert result.out == skopeo_digest(f"oci:{target}") + "\n"
    assert len(result.said) == 1  # the only entry, by buildx's rule


@needs_skopeo
def test_skopeo_reads_what_resolve_prints(cli: Own, source: str) -> None:
    cli.done("add", source)
    (found,) = objects(cli("resolve", ":one", "--format", "json"))
    assert skopeo_digest(f"oci:{found['path']}:{found['ref_name']}") == found["digest"]


@needs_umoci
def test_umoci_from_an_empty_layout(cli: Own, tmp_path: Path) -> None:
    path = str(tmp_path / "umoci")
    tool("umoci", "init", "--layout", path)
    cli.done("add", path)
    assert cli.stores()["umoci"]["state"] == "empty"

    steps = (
        ("new", "--image", f"{path}:v1"),
        ("tag", "--image", f"{path}:v1", "stable"),
        ("config", "--image", f"{path}:v1", "--author", "somebody"),
        ("new", "--image", f"{path}:v2+build.5"),
        ("config", "--image", f"{path}:stable", "--tag", "next", "--config.label", "a=b"),
        ("tag", "--image", f"{path}:next", "stable"),
        ("rm", "--image", f"{path}:v1"),
    )
    for step in steps:
        tool("umoci", *step)
        cli.done("index")
        assert sorted(said(cli, path), key=str) == sorted(written(path), key=str), step
        tags = tool("umoci", "ls", "--layout", path).decode().split()
        held = {name: digest for name, digest in written(path) if name is not None}
        assert sorted(tags) == sorted(held)
        for tag in tags:
            assert cli.done("resolve", f"oci:{path}:{tag}").out == f"{held[tag]}\n", step
            if "+" not in tag:  # buildx has no tag here: the whole text would be the store
                assert cli.done("resolve", f"oci-layout://umoci:{tag}").out == f"{held[tag]}\n", step
            assert cli.done("resolve", f":{tag}").out == f"{held[tag]}\n", step
            layers = json.loads(tool("umoci", "stat", "--image", f"{path}:{tag}", "--json"))["history"] or []
            with open(f"{path}/blobs/sha256/{held[tag].partition(':')[2]}", "rb") as file:
                manifest = json.load(file)
            assert len(manifest["layers"]) == sum(not each["empty_layer"] for each in layers)
    assert cli("resolve", "oci-layout://umoci:v1").status == 1
    assert cli.done("check").out == ""


@needs_skopeo
@needs_umoci
def test_both_in_one_layout(cli: Own, source: str, tmp_path: Path) -> None:
    path = str(tmp_path / "mixed")
    skopeo_copy(f"oci:{source}:one", f"oci:{path}:a")
    cli.done("add", path)
    tool("umoci", "tag", "--image", f"{path}:a", "b")
    skopeo_copy(f"oci:{source}:two", f"oci:{path}:b")
    tool("umoci", "new", "--image", f"{path}:c")
    cli.done("index")
    for tag in ("a", "b", "c"):
        assert cli.done("resolve", f"oci-layout://mixed:{tag}").out == skopeo_digest(f"oci:{path}:{tag}") + "\n"
    assert sorted(said(cli, path), key=str) == sorted(written(path), key=str)


@needs_skopeo
def test_a_copy_is_found_at_once_with_fresh(cli: Own, source: str, tmp_path: Path) -> None:
    """`resolve --fresh` after `skopeo copy` never misses, even in a new layout below a root (docs/resolution.md)."""
    os.makedirs(tmp_path / "images")
    cli("add", str(tmp_path / "images"))
    for number in range(3):
        target = f"{tmp_path}/images/new{number}"
        skopeo_copy(f"oci:{source}:{('one', 'two')[number % 2]}", f"oci:{target}:t")
        result = cli("resolve", "--fresh", f"oci-layout://{target}:t")
        assert (result.status, result.err) == (0, ""), result
        assert result.out == skopeo_digest(f"oci:{target}:t") + "\n"


SPELLINGS = ("tag", "short", "canonical", "containerd")


def told() -> list[tuple[str, str, list[str]]]:
    """Return the rows of the table of spellings in docs/resolution.md: a tool, the reference, and the answer for each spelling."""
    text = (Path(__file__).parents[2] / "docs" / "resolution.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ((?:skopeo|BuildKit|regctl|ocicat) `.*) \|$", text[text.index("| asked | `3.16`") :], re.MULTILINE
    )
    found = []
    for row in rows:
        asked, *answers = row.split(" | ")
        for tool_name, reference in re.findall(r"(\w+) `([^`]+)`", asked):
            found.append((tool_name, reference, answers))
    return found


@needs_skopeo
@needs_umoci
def test_each_tool_finds_what_the_document_says(cli: Own, tmp_path: Path) -> None:
    paths, digests = [], []
    for style in SPELLINGS:
        path = writers.make_layout(str(tmp_path / style))
        entry, other = (writers.make_image(path, f"{style} {seed}") for seed in ("alpine", "other"))
        names = writers.name_entry(other, "canonical", "docker.io/library/other", "9")
        writers.write_index(
            path, writers.empty_index(names, writers.name_entry(entry, style, "docker.io/library/alpine", "3.16"))
        )
        paths.append(path)
        digests.append(entry["digest"])
    cli.done("add", *paths)
    rows = told()
    assert len(rows) == 10
    for tool_name, reference, answers in rows:
        assert len(answers) == len(SPELLINGS)
        for path, digest, answer in zip(paths, digests, answers, strict=True):
            asked = reference.replace("PATH", path)
            if tool_name in ("skopeo", "umoci"):
                command = ("skopeo", "inspect", "--raw") if tool_name == "skopeo" else ("umoci", "stat", "--image")
                done = subprocess.run([*command, asked], capture_output=True, timeout=60, check=False)
                assert (done.returncode == 0) == (answer == "yes"), done
            ours = asked if "://" in asked or tool_name == "ocicat" else f"oci:{asked.removeprefix('oci:')}"
            found = cli("resolve", ours, "--store", path)
            if answer == "yes":
                assert found.out == f"{digest}\n", ours
            elif tool_name == "ocicat":
                assert found.status == 1
        if tool_name == "BuildKit":  # where it says no, ocicat may still know the tag
            assert all(cli("resolve", reference.replace("PATH", path)).status == 0 for path in paths)
    for path, digest in zip(paths[1:], digests[1:], strict=True):
        assert cli("resolve", f"oci-layout://{path}/alpine:3.16").out == f"{digest}\n"
