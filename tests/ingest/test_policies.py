"""What `add` settles: policies and what they make of keys, priorities, roots inside of roots, names, and who is left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import UsageError
from tests import writers
from tests.conftest import Catalogue, Said, stamp
from tests.writers import IMAGE_NAME, REF_NAME, Descriptor

ALPINE = "docker.io/library/alpine"


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def entry(letter: str, ref_name: str | None = None, image_name: str | None = None) -> Descriptor:
    annotations = {key: value for key, value in ((REF_NAME, ref_name), (IMAGE_NAME, image_name)) if value is not None}
    return {"mediaType": writers.MANIFEST_TYPE, "digest": digest(letter), "size": 2, "annotations": annotations}


def layout(path: Path | str, *entries: Descriptor) -> str:
    made = writers.make_layout(str(path))
    writers.write_index(made, writers.empty_index(*entries), "umoci")
    stamp(f"{made}/index.json")
    return made


def names(catalogue: Catalogue) -> set[str]:
    return {row[0] for row in catalogue.sql("SELECT name FROM stores")}


def history(catalogue: Catalogue) -> list[tuple[Any, ...]]:
    """Each span as what it was about, and whether it is over."""
    return catalogue.sql("SELECT coalesce(name, ':' || tag), digest, until IS NOT NULL FROM history ORDER BY since, 1")


# --- policies -------------------------------------------------------------------------------------------------------


def test_a_policy_that_changes_gives_bare_tags_other_names(catalogue: Catalogue, tmp_path: Path) -> None:
    """No file changes; what the keys answered before is history, and no entry is written anew."""
    path = layout(tmp_path / "R" / "alpine", entry("a", "3.16"), entry("b", "alpine:3.17"))
    catalogue.add(f"{tmp_path}/R")
    ids = catalogue.sql("SELECT id FROM entry ORDER BY id")
    assert catalogue.resolve("alpine:3.16") == Said(1)
    generation, changed_at = catalogue.sql("SELECT generation, changed_at FROM store")[0]
    catalogue.add(f"{tmp_path}/R", naming="path")
    assert catalogue.resolve("alpine:3.16") == Said(0, digest("a"), "R/alpine")
    assert catalogue.resolve(":3.16") == Said(0, digest("a"), "R/alpine")
    assert history(catalogue) == [
        (":3.16", digest("a"), 1),
        (f"{ALPINE}:3.17", digest("b"), 0),
        (f"{ALPINE}:3.16", digest("a"), 0),
    ]
    again = catalogue.sql("SELECT generation, changed_at FROM store")[0]
    assert again[0] == generation + 1
    assert again[1] > changed_at
    catalogue.add(path, naming="fixed=quay.io/user/app")
    assert catalogue.resolve("quay.io/user/app:3.16") == Said(0, digest("a"), "R/alpine")
    assert catalogue.resolve("alpine:3.16") == Said(1)
    assert catalogue.resolve("alpine:3.17") == Said(0, digest("b"), "R/alpine")
    assert catalogue.sql("SELECT id FROM entry ORDER BY id") == ids
    assert catalogue.sql("SELECT count(*) FROM snapshots") == [(1,)]


def test_a_policy_may_make_two_names_one(catalogue: Catalogue, tmp_path: Path) -> None:
    """A bare tag that becomes a name which stands already: the order of the list decides which answers."""
    path = layout(tmp_path / "s", entry("a", "3.16"), entry("b", "alpine:3.16"))
    catalogue.add(path)
    assert catalogue.resolve("alpine:3.16").digest == digest("b")
    catalogue.add(path, naming="fixed=alpine")
    assert catalogue.resolve("alpine:3.16").digest == digest("a")
    assert [match.value("shadowed") for match in catalogue.matches("alpine:3.16")] == [False, True]
    catalogue.add(path, naming="annotations")
    assert catalogue.resolve("alpine:3.16").digest == digest("b")
    assert [match.value("shadowed") for match in catalogue.matches("alpine:3.16")] == [False]


def test_a_new_policy_and_a_new_index_in_one_pass_are_one_change(catalogue: Catalogue, tmp_path: Path) -> None:
    """Another entry has the name afterwards, so the name never went away."""
    path = layout(tmp_path / "s", entry("a", "3.16"))
    catalogue.add(path, naming="fixed=alpine")
    layout(path, entry("a", "alpine:3.16"), entry("b", "3.16"))
    catalogue.add(path, naming="fixed=busybox")
    assert history(catalogue) == [
        (f"{ALPINE}:3.16", digest("a"), 0),
        ("docker.io/library/busybox:3.16", digest("b"), 0),
    ]


def test_a_policy_without_a_name_for_a_store_is_its_problem(catalogue: Catalogue, tmp_path: Path) -> None:
    """It comes and goes with the policy, although no key of the store does."""
    path = layout(tmp_path / "R" / "UPPER", entry("a", "3.16"))
    for naming, kinds in (
        ("annotations", []),
        ("path", ["no-repository"]),
        ("fixed=alpine", []),
        ("path", ["no-repository"]),
        ("annotations", []),
    ):
        catalogue.add(f"{tmp_path}/R", naming=naming)
        found = catalogue.sql("SELECT kind FROM problems WHERE kind <> 'missing-blob'")
        assert [row[0] for row in found] == kinds, naming
        assert catalogue.resolve(":3.16").digest == digest("a")
    catalogue.add(layout(tmp_path / "by-itself", entry("a", "1")), naming="path")
    assert catalogue.sql("SELECT store, kind FROM problems WHERE kind <> 'missing-blob'") == [
        ("by-itself", "no-repository")
    ]
    assert os.path.isdir(path)


def test_a_policy_changes_what_is_too_long(catalogue: Catalogue, tmp_path: Path) -> None:
    tag = "x+" + "y" * 1000
    path = layout(tmp_path / "s", entry("a", tag))
    catalogue.add(path)
    assert catalogue.sql("SELECT kind FROM problems WHERE kind <> 'missing-blob'") == []
    catalogue.add(path, naming="fixed=registry.example.com/a/repository")
    assert catalogue.sql("SELECT kind FROM problems WHERE kind <> 'missing-blob'") == [("long-name",)]
    assert catalogue.sql("SELECT * FROM images") == []
    assert catalogue.resolve(f":{tag}").digest == digest("a")  # the raw annotation
    catalogue.add(path, naming="annotations")
    assert catalogue.sql("SELECT kind FROM problems WHERE kind <> 'missing-blob'") == []


# --- shadows, priorities --------------------------------------------------------------------------------------------


def test_which_of_several_answers_follows_every_change(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s", entry("a", "alpine:1"))
    catalogue.add(path)
    for entries, answer in (
        ([entry("a", "alpine:1"), entry("b", "alpine:1")], "a"),
        ([entry("b", "alpine:1"), entry("a", "alpine:1")], "b"),
        ([entry("b", "alpine:1"), entry("c", "1", "alpine:1"), entry("a", "alpine:1")], "c"),
        ([entry("b", "alpine:1"), entry("a", "alpine:1")], "b"),
        ([entry("a", "alpine:1")], "a"),
        ([entry("a", "1"), entry("d", "alpine:1")], "d"),
        ([], None),
    ):
        layout(path, *entries)
        catalogue.index()
        found = catalogue.resolve("alpine:1")
        assert found.digest == (None if answer is None else digest(answer))
        shadowed = sorted(match.value("shadowed") is True for match in catalogue.matches("alpine:1"))
        assert shadowed == [number > 0 for number in range(len(shadowed))]


def test_an_answer_that_moves_to_another_entry_of_its_digest_goes_on(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s", entry("a", "alpine:1"))
    catalogue.add(path)
    since = catalogue.sql("SELECT since FROM history")
    layout(path, {**entry("a", "1", "alpine:1"), "size": 3})
    catalogue.index()
    assert catalogue.sql("SELECT since FROM history WHERE name = ?", f"{ALPINE}:1") == since


def test_the_lowest_number_answers_first_then_the_name(catalogue: Catalogue, tmp_path: Path) -> None:
    for name in "ab":
        catalogue.add(layout(tmp_path / name, entry(name, "alpine:1")))
    assert catalogue.resolve("alpine:1").candidates == {digest("a"), digest("b")}
    assert catalogue.resolve("alpine:1", first=True).digest == digest("a")
    catalogue.add(f"{tmp_path}/b", priority=-1)
    assert catalogue.resolve("alpine:1", first=True).digest == digest("b")
    assert [store for store, _ in catalogue.query("alpine:1") or []] == ["b", "a"]  # type: ignore[union-attr]
    catalogue.add(f"{tmp_path}/a", priority=-2)
    assert catalogue.resolve("alpine:1", first=True).digest == digest("a")


# --- roots ----------------------------------------------------------------------------------------------------------


def test_a_store_takes_the_settings_of_the_deepest_root(catalogue: Catalogue, tmp_path: Path) -> None:
    layout(tmp_path / "R" / "alpine", entry("a", "1"))
    layout(tmp_path / "R" / "in" / "alpine", entry("b", "1"))
    catalogue.add(f"{tmp_path}/R", naming="path", prefix="outer.example.com")
    assert catalogue.resolve("outer.example.com/in/alpine:1").digest == digest("b")
    catalogue.add(f"{tmp_path}/R/in", naming="path", prefix="inner.example.com", priority=5)
    assert catalogue.resolve("inner.example.com/alpine:1").digest == digest("b")
    assert catalogue.resolve("outer.example.com/in/alpine:1") == Said(1)
    assert catalogue.resolve("outer.example.com/alpine:1").digest == digest("a")
    assert catalogue.sql("SELECT name, root, priority FROM stores ORDER BY priority") == [
        ("R/alpine", "R", 0),
        ("R/in/alpine", "in", 5),
    ]
    catalogue.remove("in")
    assert names(catalogue) == {"R/alpine"}
    catalogue.index()
    assert catalogue.resolve("outer.example.com/in/alpine:1").digest == digest("b")


def test_a_root_leaves_alone_what_has_settings_of_its_own(catalogue: Catalogue, tmp_path: Path) -> None:
    own = layout(tmp_path / "R" / "own", entry("a", "1"))
    layout(tmp_path / "R" / "other", entry("b", "1"))
    catalogue.add(f"{tmp_path}/R")
    catalogue.add(own, naming="fixed=mine", priority=3)
    catalogue.add(f"{tmp_path}/R", naming="path", priority=1)
    assert catalogue.sql("SELECT name, naming, priority FROM stores ORDER BY name") == [
        ("R/other", "path", 1),
        ("R/own", "fixed=docker.io/library/mine", 3),
    ]


def test_what_is_left_out_stays_so_until_it_is_added(catalogue: Catalogue, tmp_path: Path) -> None:
    """Also below an inner root that goes while an outer one stays."""
    for place in ("R/a", "R/in/b", "R/in/c"):
        layout(tmp_path / place, entry("a", "1"))
    catalogue.add(f"{tmp_path}/R/in")
    catalogue.add(f"{tmp_path}/R")
    catalogue.remove("in/b")
    catalogue.remove("R/a")
    catalogue.index()
    assert names(catalogue) == {"in/c"}
    catalogue.remove("in")
    catalogue.index()
    assert names(catalogue) == {"R/in/c"}
    catalogue.add(f"{tmp_path}/R/a")
    assert names(catalogue) == {"R/in/c", "R/a"}
    catalogue.remove("R")
    catalogue.add(f"{tmp_path}/R")
    assert names(catalogue) == {"R/a", "R/in/b", "R/in/c"}


# --- names and paths ------------------------------------------------------------------------------------------------


def test_a_name_that_is_taken_gets_a_number_in_discovery_alone(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.add(layout(tmp_path / "x", entry("a", "1")), name="R/x")
    catalogue.add(layout(tmp_path / "y", entry("a", "1")), name="R/x~2")
    layout(tmp_path / "R" / "x", entry("b", "1"))
    catalogue.add(f"{tmp_path}/R")
    assert names(catalogue) == {"R/x", "R/x~2", "R/x~3"}
    assert [line for line in catalogue.lines if "R/x~3" in line]
    assert catalogue.resolve("oci-layout://R/x~3:1").digest == digest("b")
    for path, name in ((f"{tmp_path}/y", "R/x"), (f"{tmp_path}/y", "R"), (f"{tmp_path}/R", "R/x")):
        with pytest.raises(UsageError):
            catalogue.add(path, name=name)
    layout(tmp_path / "R" / "new", entry("c", "1"))
    with pytest.raises(UsageError):
        catalogue.add(f"{tmp_path}/R/new", name="R")  # only a root that is a layout lends its name, and to that alone


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("a b", "a%20b"),
        ("a:b@c%", "a%3Ab%40c%25"),
        ("a\nb\x1b", "a%0Ab%1B"),
        ("a\u202eb\xa0", "a%E2%80%AEb%C2%A0"),
        ("größe", "größe"),
        ("a\udcff", "a%FF"),
    ],
)
def test_odd_directories_have_names_that_can_be_written(
    catalogue: Catalogue, tmp_path: Path, directory: str, name: str
) -> None:
    """Found below a root, asked for by name and by path, left out, and taken in again."""
    try:
        path = layout(f"{tmp_path}/R/{directory}", entry("a", "1"))
    except OSError:
        pytest.skip("this file system takes no such name")
    catalogue.add(f"{tmp_path}/R")
    assert names(catalogue) == {f"R/{name}"}
    assert catalogue.resolve(f"oci-layout://R/{name}:1").digest == digest("a")
    for place in (path, f"./R/{directory}"):
        assert catalogue.resolve(f"oci-layout://{place}:1").digest == digest("a")
        assert catalogue.resolve(f"ocidir://{place}:1").digest == digest("a")
        if ":" not in place:
            assert catalogue.resolve(f"oci:{place}:1").digest == digest("a")
    assert catalogue.resolve(":1", store=f"R/{name}").digest == digest("a")
    layout(path, entry("b", "1"))
    catalogue.index()
    assert catalogue.resolve(":1").digest == digest("b")
    catalogue.remove(path)
    catalogue.index()
    assert names(catalogue) == set()
    catalogue.add(path)
    assert names(catalogue) == {f"R/{name}"}


def test_a_root_whose_path_is_not_utf8(catalogue: Catalogue, tmp_path: Path) -> None:
    try:
        layout(f"{tmp_path}/\udcff/alpine", entry("a", "1"))
    except OSError:
        pytest.skip("this file system takes no such name")
    catalogue.add(f"{tmp_path}/\udcff", naming="path")
    assert names(catalogue) == {"%FF/alpine"}
    assert catalogue.resolve("alpine:1").digest == digest("a")
    layout(f"{tmp_path}/\udcff/busybox", entry("b", "1"))
    catalogue.index()
    assert catalogue.resolve("busybox:1").digest == digest("b")
    catalogue.remove("%FF/alpine")
    catalogue.index()
    assert names(catalogue) == {"%FF/busybox"}
    catalogue.remove(f"{tmp_path}/\udcff")
    assert names(catalogue) == set()
