"""Names come before content: what needs content says so until it is read, and everything else answers (section 10)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import no_settling
from tests.cli.program import Ran, called
from tests.conftest import Catalogue
from tests.content.layouts import index, layer, layout, manifest, named, on, pending, reading, take_names, write

Ask = Callable[..., Ran]

SHOWN = "manifests are still being read"


@pytest.fixture
def ask(catalogue: Catalogue, tmp_path: Path) -> Ask:
    config = no_settling(tmp_path)
    return lambda *arguments, stdin=b"": called("--config", config, *arguments, db=catalogue.path, stdin=stdin)


@pytest.fixture
def steps(catalogue: Catalogue, tmp_path: Path) -> Iterator[int]:
    """The store `s`, an index in an index over an image, whose names are known; the reading of its content."""
    path = layout(tmp_path / "s")
    image = manifest(path, {"os": "linux", "architecture": "amd64", "config": {"Labels": {"k": "v"}}}, layer("x"))
    write(path, named(index(path, on(index(path, image), "linux", "amd64"), annotations={"a": "b"})))
    catalogue.add(path, index=False)
    other = layout(tmp_path / "other")
    write(other, named(manifest(other, {"os": "linux", "architecture": "arm64"}), "other:1"))
    catalogue.add(other, index=False)
    take_names(catalogue)
    for _ in reading(catalogue, "other"):
        pass
    return reading(catalogue, "s")


def image_of(tmp_path: Path) -> str:
    path = str(tmp_path / "s")
    found = [
        name
        for name in os.listdir(f"{path}/blobs/sha256")
        if '"layers"' in Path(f"{path}/blobs/sha256/{name}").read_text()
    ]
    return f"sha256:{found[0]}"


def needing(digest: str) -> list[tuple[str, ...]]:
    """Calls that cannot be answered without content."""
    return [
        ("resolve", "alpine:1", "--platform", "linux/amd64"),
        ("resolve", "oci-layout://s/alpine:1", "--platform", "linux/amd64"),
        ("resolve", digest),
        ("resolve", f"alpine@{digest}"),
        ("resolve", f"oci-layout://s@{digest}"),
        ("resolve", digest[:20]),
        ("query", digest),
        ("query", f"oci-layout://s@{digest}"),
        ("query", "--platform", "linux/amd64"),
        ("query", "--label", "k"),
        ("query", "--annotation", "a=b"),
        ("query", "--artifact-type", writers.CONFIG_TYPE),
        ("query", "--contains", layer("x")["digest"]),
        ("query", "--referrers-of", digest),
        ("query", "alpine:1", "--contains", layer("x")["digest"]),
        ("query", "*:*", "--platform", "linux/amd64", "--count"),
    ]  # fmt: skip


PLAIN = [
    ("resolve", "alpine:1"),
    ("resolve", "oci-layout://s/alpine:1"),
    ("query", "*:*"),
    ("query",),
    ("query", "--since", "1h"),
    ("query", "--media-type", writers.INDEX_TYPE),
    ("resolve", "other:1", "--platform", "linux/arm64"),
    ("query", "--platform", "linux/arm64", "--store", "other"),
    ("query", "--label", "k", "--store", "other"),
    ("history", "alpine:1"),
]


def test_until_all_is_read(catalogue: Catalogue, steps: Iterator[int], ask: Ask, tmp_path: Path) -> None:
    digest = image_of(tmp_path)
    number = 0
    while pending(catalogue):
        for call in needing(digest):
            told = ask(*call)
            if call[-1].startswith(("sha256:", "alpine@", "oci-layout://")) and "-" not in call[-2]:
                # A digest that is known to be below by now is answered; none is ever denied.
                assert told.status in (0, 4), (call, told)
                assert (told.status == 4) == (SHOWN in told.err and not told.out), (call, told)
            else:
                assert (told.status, told.out) == (4, ""), (call, told)
                assert SHOWN in told.err, told
                assert "--fresh" in told.err, told
        for call in PLAIN:
            told = ask(*call)
            assert (told.status, told.err) == (0, ""), (call, told)
        next(steps, None)
        number += 1
    assert number >= 4  # the directories, and three levels
    for call in [*needing(digest), *PLAIN]:
        told = ask(*call)
        assert (told.status, told.err) == (0, ""), (call, told)


def test_one_of_several_references(catalogue: Catalogue, steps: Iterator[int], ask: Ask, tmp_path: Path) -> None:
    """The highest status counts, and the others are answered in their lines."""
    digest = image_of(tmp_path)
    told = ask("resolve", "alpine:1", digest, "other:1")
    assert told.status == 4
    assert [bool(line) for line in told.lines] == [True, False, True]
    told = ask("resolve", "-", "--platform", "linux/arm64", stdin=b"other:1\nalpine:1\nother:1\n")
    assert told.status == 4
    assert [bool(line) for line in told.lines] == [True, False, True]


def test_a_digest_that_is_found_may_be_elsewhere_too(catalogue: Catalogue, steps: Iterator[int], ask: Ask) -> None:
    digest = ask("resolve", "other:1").out.strip()
    told = ask("query", digest)
    assert (told.status, len(told.lines)) == (0, 1)
    assert f"there may be more: {SHOWN}" in told.err
    assert ask("query", digest, "--store", "other").err == ""


def test_a_missing_store_is_not_waited_for(
    catalogue: Catalogue, steps: Iterator[int], ask: Ask, tmp_path: Path
) -> None:
    os.rename(tmp_path / "s", tmp_path / "away")
    take_names(catalogue)
    assert catalogue.sql("SELECT name, state, pending FROM stores WHERE name = 's'") == [("s", "missing", 1)]
    assert ask("query", "--platform", "linux/arm64").status == 0
    assert ask("resolve", f"sha256:{'0' * 64}").status == 1
    os.rename(tmp_path / "away", tmp_path / "s")
    catalogue.index()
    assert pending(catalogue) == []


@pytest.mark.parametrize("number", range(len(needing(""))))
def test_fresh_reads_it(catalogue: Catalogue, steps: Iterator[int], ask: Ask, tmp_path: Path, number: int) -> None:
    command, *words = needing(image_of(tmp_path))[number]
    next(steps)
    told = ask(command, "--fresh", *words)
    assert (told.status, told.err) == (0, ""), told
    assert pending(catalogue) == []


def test_fresh_for_a_name_alone_reads_what_one_writer_brings(catalogue: Catalogue, ask: Ask, tmp_path: Path) -> None:
    """So that what is asked next need not wait.

    It spends little time on content, but reads at least one more blob each time: on a slow machine a few calls read them all.
    """
    path = layout(tmp_path / "s")
    catalogue.add(path)
    image = manifest(path, {"os": "linux", "architecture": "amd64"})
    entries: list[writers.Descriptor] = []
    for number in range(3):
        entries.append(named(image, f"alpine:{number}"))
        write(path, *entries)
        assert ask("resolve", "--fresh", f"alpine:{number}").out.strip() == image["digest"]
        if not pending(catalogue):
            break
    assert pending(catalogue) == []
    assert ask("resolve", "alpine:0", "--platform", "linux/amd64").out.strip() == image["digest"]


def test_a_pass_without_time_gets_on_all_the_same(catalogue: Catalogue, tmp_path: Path) -> None:
    """And comes to an end, pass by pass."""
    path = layout(tmp_path / "s")
    outer = manifest(path, {"os": "linux", "architecture": "amd64"})
    for _ in range(5):
        outer = index(path, outer)
    write(path, named(outer))
    catalogue.add(path, index=False)
    known = []
    for _ in range(8):
        catalogue.sweep().run([], None, content_seconds=0)
        known.append(catalogue.sql("SELECT count(*) FROM content WHERE kind <> 0")[0][0])
    assert known == [1, 2, 3, 4, 5, 6, 7, 7]
    assert pending(catalogue) == []


def test_a_change_in_the_middle_of_a_reading(catalogue: Catalogue, tmp_path: Path) -> None:
    """The store stays pending until what came is read as well."""
    path = layout(tmp_path / "s")
    first = manifest(path, {"os": "linux", "architecture": "amd64"})
    write(path, named(first))
    catalogue.add(path, index=False)
    take_names(catalogue)
    steps = reading(catalogue, "s")
    next(steps)
    second = manifest(path, {"os": "linux", "architecture": "arm64"})
    write(path, named(first), named(second, "two:1"))
    take_names(catalogue)
    for _ in steps:
        pass
    assert pending(catalogue) == ["s"]
    catalogue.index()
    assert pending(catalogue) == []
    assert catalogue.sql("SELECT platform FROM manifests ORDER BY 1") == [("linux/amd64",), ("linux/arm64",)]
