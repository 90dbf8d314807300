"""The oracle, compared with the answers of other tools, and with examples worked out by hand from docs/resolution.md.

An entry is written `("a", ref_name, image_name)`: a letter, which is repeated 64 times in its digest, and its two name
annotations.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import writers
from tests.oracle import (
    IMAGE_NAME,
    REF_NAME,
    SPEC_DIGEST,
    Key,
    Malformed,
    Oracle,
    OracleStore,
    Outcome,
    derive,
    parse,
    scan_raw,
)
from tests.programs import skip_without

SHARED = Path(__file__).parents[1].parent / "shared"
ALPINE = "docker.io/library/alpine"
Spec = tuple[str, Any, Any]
Make = Callable[..., OracleStore]


def vectors(name: str) -> list[dict[str, Any]]:
    file = SHARED / "vectors" / name
    if not file.exists():
        pytest.skip(f"{file} is not there: the shared vectors are not part of the repository")
    rows: list[dict[str, Any]] = json.loads(file.read_bytes())
    return rows


def fixture_store(path: str) -> OracleStore:
    layout = SHARED / "fixtures" / path
    if not layout.exists():
        pytest.skip(f"{layout} is not there: the shared fixtures are not part of the repository")
    return OracleStore("s", str(layout))


def d(letter: str) -> str:
    return f"sha256:{letter * 64}"


def entry(letter: str, ref_name: Any = None, image_name: Any = None) -> writers.Descriptor:
    annotations = {REF_NAME: ref_name, IMAGE_NAME: image_name}
    return {
        "mediaType": writers.MANIFEST_TYPE,
        "digest": d(letter),
        "size": 2,
        "annotations": {key: value for key, value in annotations.items() if value is not None},
    }


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a store of these entries, at a path with its name."""

    def make(name: str, *specs: Spec | tuple[str, Any] | tuple[str], **settings: Any) -> OracleStore:
        path = writers.make_layout(str(tmp_path / name))
        writers.write_index(path, writers.empty_index(*(entry(*spec) for spec in specs)))
        return OracleStore(name, path, **settings)

    return make


def letters(oracle: Oracle, ref: str, cwd: str = "/") -> str:
    """Return the digests that `query` lists, in order, one letter each."""
    return "".join(found.digest[7] for found in oracle.query(ref, cwd))


def answer(oracle: Oracle, ref: str, **options: Any) -> str | int:
    """Return the answer of `resolve`: the letter of the digest, with ~ for a fallback; or the exit status."""
    outcome = oracle.resolve(ref, **options)
    if outcome.digest is None:
        return outcome.status
    return outcome.digest[7] + ("~" if outcome.fallback else "")


# The answers of other libraries


def test_names_agree_with_distribution_reference() -> None:
    for row in vectors("reference.json"):
        name = parse(row["input"])
        assert (name is not None) == row["valid"], row["input"]
        if name:
            repository = f"{row['domain']}/{row['path']}" if row["domain"] else row["path"]
            tag = row["tag"] or (None if row["digest"] else "latest")
            assert name[:3] == (repository, tag, row["digest"]), row["input"]


def test_digests_of_descriptors_agree_with_the_image_spec() -> None:
    for row in vectors("digest.json"):
        assert bool(SPEC_DIGEST.fullmatch(row["input"])) == row["image_spec_valid"], row["input"]


def test_the_oracle_resolves_everything_that_buildkit_finds(make: Make) -> None:
    for number, row in enumerate(vectors("buildkit_index.json")):
        store = make(f"s{number}", *((each["d"], each["ref_name"], each["image_name"]) for each in row["initial"]))
        index = writers.read_index(store.path)
        for put in row["puts"] or []:
            for name in put["vals"] or [None]:
                index = writers.retag_replace(index, entry(put["d"], name and name.rpartition(":")[2], name))
        writers.write_index(store.path, index, "buildkit")
        found = Oracle([store]).read()[0].entries
        final = [(each.digest[7], each.ref_name, each.image_name) for each in found]
        assert final == [(each["d"], each.get("ref_name"), each.get("image_name")) for each in row["final"]]
        for text, got in row["get"].items():
            tagged = "/" not in text and ":" not in text and text
            wanted = got or (row["get_or_single"][text] if tagged else None)
            outcome = Oracle([store]).resolve(f"oci-layout://{store.path}{':' if tagged else '/'}{text}")
            if text and wanted:
                assert (outcome.status, outcome.digest) == (0, d(wanted)), (row["title"], text)
            if got:
                assert not outcome.fallback, (row["title"], text)
            if tagged and not wanted:
                assert outcome == Outcome(1), (row["title"], text)


def test_layout_references_find_what_buildx_finds(tmp_path: Path) -> None:
    """In a store at, or named like, the path that buildx reads, the reference finds the tag or digest that buildx finds."""
    for number, row in enumerate(each for each in vectors("oci_layout_ref.json") if each["match"]):
        base, path = str(tmp_path / str(number)), row.get("path", "/p")
        is_path = path.startswith(("/", "."))
        where = writers.make_layout(os.path.normpath(f"{base}/{path}") if is_path else base)
        tag, digest = row.get("tag") or "other", row.get("digest") or d("a")
        writers.write_index(where, writers.empty_index(entry("b", "x"), entry("a", tag) | {"digest": digest}))
        oracle = Oracle([OracleStore("s" if is_path else path, where)])
        outcome = oracle.resolve(row["input"].replace(":///", f"://{base}/"), cwd=base)
        if row["valid"] and (is_path or not set(":@") & set(path)):
            assert outcome[:2] == (0, digest), row["input"]
        elif not row["valid"]:
            assert outcome == Outcome(2), row["input"]


# The expectations of the upstream tests about their fixtures


def test_fixtures_of_container_libs() -> None:
    folder = "container-libs/image/oci/layout/fixtures"
    only = fixture_store(f"{folder}/manifest")
    assert answer(Oracle([only]), f"oci:{only.path}") == "8"
    assert [(each.size, each.ref_name) for each in Oracle([only]).query(":v0.1.1")] == [(496, "v0.1.1")]
    two = fixture_store(f"{folder}/two_images_manifest")
    assert Oracle([two]).resolve(f"oci:{two.path}").status == 3
    assert [each.keys for each in Oracle([two]).query(f"oci:{two.path}")] == [(), ()]
    lookups = fixture_store(f"{folder}/name_lookups")
    for tag in "abcd":
        assert answer(Oracle([lookups]), f"oci:{lookups.path}:{tag}") == tag
    assert answer(Oracle([lookups]), f"oci:{lookups.path}:invalid-mime") == 1  # as containers/image answers
    assert answer(Oracle([lookups]), f"oci:{lookups.path}:unknown") == 1
    twice = fixture_store(f"{folder}/delete_image_two_identical_references")
    for ref in (f"oci:{twice.path}:1.0.0", "oci-layout://s:1.0.0", f"ocidir://{twice.path}:1.0.0"):
        assert answer(Oracle([twice]), ref) == "4", ref
    assert Oracle([twice]).resolve(":1.0.0").status == 3
    assert Oracle([twice]).shadowed() == {("s", 1, Key(None, "1.0.0", "ref"))}


def test_digests_below_entries_are_those_of_the_drawn_tree() -> None:
    store = fixture_store("container-libs/image/oci/layout/fixtures/delete_image_multiple_images")
    tree: dict[str, list[str]] = {}
    reference = ""
    for line in Path(store.path, "info.txt").read_text().splitlines():
        words = line.strip("│├└─ \u00a0").split()
        if len(words) == 1 and line.startswith(("├", "└")):
            reference = words[0]
        if words[:1] in (["manifest:"], ["index:"]):
            tree.setdefault(words[1], []).append(reference)
    assert len(tree) == 8  # with 5 configs and 6 layers the 19 blobs
    oracle = Oracle([store])
    for digest, references in tree.items():
        assert sorted(str(each.ref_name) for each in oracle.query(digest)) == sorted(set(references)), digest
        assert oracle.resolve(digest).digest == f"sha256:{digest}"
    own = {each.digest for each in oracle.read()[0].entries}
    for digest in tree:
        assert bool(Oracle([store], below=False).query(digest)) == (f"sha256:{digest}" in own)


def test_fixtures_of_podman_and_oras() -> None:
    for folder, ref in (
        ("oci-name-only", "pretty-empty"),
        ("oci-registry-name", "example.com/empty"),
        ("oci-non-docker-name", ":UPPERCASE-IS-INVALID"),
        ("oci-unnamed", "@sha256:ff1abe159f09"),
    ):
        store = fixture_store(f"podman/test/e2e/testdata/{folder}")
        assert answer(Oracle([store]), ref) == "f", folder
        assert answer(Oracle([store]), f"oci-layout://{store.path}")[0] == "f", folder  # type: ignore[index]
    hello = Oracle([fixture_store("oras-go/content/oci/testdata/hello-world")])
    assert [each.keys for each in hello.query("hello-world")] == [
        (Key("docker.io/library/hello-world", "latest", "containerd"),)
    ]
    assert answer(hello, "oci-layout://s") == "f"
    nested = fixture_store("ggcr/pkg/v1/layout/testdata/test_index")
    reaching = [each.ref_name for each in Oracle([nested]).query("sha256:eebff607b1628d67")]
    assert reaching[0] == "1"
    assert "3" in reaching


# Keys


@pytest.mark.parametrize(
    ("ref_name", "image_name", "keys"),
    [
        (None, None, []),
        ("3.16", None, [(None, "3.16", "ref")]),
        ("alpine", None, [(None, "alpine", "ref")]),
        ("alpine:3.16", None, [(ALPINE, "3.16", "ref")]),
        ("library/alpine", None, [(ALPINE, "latest", "ref")]),
        ("index.docker.io/library/alpine:3.16", None, [(ALPINE, "3.16", "ref")]),
        ("v1+build.5", None, [(None, "v1+build.5", "ref")]),
        ("no good", None, [(None, "no good", "ref")]),
        ("a" * 64, None, [(None, "a" * 64, "ref")]),
        ("3.16", f"{ALPINE}:3.16", [(ALPINE, "3.16", "containerd")]),
        ("alpine:3.16", f"{ALPINE}:3.16", [(ALPINE, "3.16", "containerd")]),
        ("3.17", f"{ALPINE}:3.16", [(ALPINE, "3.16", "containerd"), (None, "3.17", "ref")]),
        (None, "alpine", [(ALPINE, "latest", "containerd")]),
        (None, f"alpine@{d('a')}", [(ALPINE, None, "containerd")]),
        (None, f"alpine:1@{d('a')}", [(ALPINE, "1", "containerd")]),
        (None, f"alpine:1@{d('b')}", []),
        ("1", "Not A Name", [(None, "1", "ref")]),
        (None, "a" * 64, []),
        (f"3.16@{d('a')}", None, [(None, "3.16", "ref")]),
        (f"3.16@{d('b')}", None, []),
        (f"alpine:3.16@{d('a')}", f"alpine:3.16@{d('a')}", [(ALPINE, "3.16", "containerd")]),
        (f"alpine@{d('a')}", None, [(None, "alpine", "ref")]),
        (f"{ALPINE}@{d('a')}", None, [(ALPINE, None, "ref")]),
        (f"@{d('a')}", None, []),
        ("alpine:1,busybox:2", None, [(ALPINE, "1", "ref"), ("docker.io/library/busybox", "2", "ref")]),
        ("alpine:1,,alpine:1,1", None, [(ALPINE, "1", "ref")]),
        ("1,alpine:1", None, [(None, "1", "ref"), (ALPINE, "1", "ref")]),
        ("", "", []),
        ("3.16\n", None, [(None, "3.16\n", "ref")]),
        ("ü", None, [(None, "ü", "ref")]),
        ("x+" * 600, None, []),
    ],
)
def test_keys_of_a_descriptor(ref_name: str | None, image_name: str | None, keys: list[Any]) -> None:
    assert derive(image_name, ref_name, d("a"), None) == tuple(Key(*key) for key in keys)


def test_a_bad_entry_costs_no_other_and_keeps_its_place(make: Make, tmp_path: Path) -> None:
    store = make("s")
    elements = [
        {"digest": "sha256:../../x", "annotations": {REF_NAME: "t"}},
        "no object",
        entry("a", 7, ["list"]),
        {"digest": f"blake3:{'b' * 64}", "annotations": None, "mediaType": 1, "size": "2"},
        entry("c", "half \ud800 a \0"),
    ]
    Path(store.path, "index.json").write_text(json.dumps({"manifests": elements}))
    oracle = Oracle([store])
    found = oracle.read()[0].entries
    assert [each.position for each in found] == [2, 3, 4]
    assert [each.keys for each in found] == [(), (), (Key(None, "half \ufffd a \ufffd", "ref"),)]
    assert [(each.media_type, each.size) for each in found][1] == (None, None)
    assert len(scan_raw(store.path)) == 5
    assert answer(oracle, "oci-layout://s") == 1


# Naming policies


def test_a_path_names_tag_only_entries(tmp_path: Path) -> None:
    root = str(tmp_path)

    def keys(path: str, *specs: Spec, **settings: Any) -> list[tuple[Key, ...]]:
        where = writers.make_layout(f"{root}/{path}")
        writers.write_index(where, writers.empty_index(*(entry(*spec) for spec in specs)))
        store = OracleStore("s", where, **{"naming": "path", "root": root, **settings})
        return [each.keys for each in Oracle([store]).read()[0].entries]

    tag: Spec = ("a", "3.16", None)
    assert keys("library/alpine", tag) == [(Key(ALPINE, "3.16", "ref"),)]
    assert keys("ghcr.io/org/app", tag) == [(Key("ghcr.io/org/app", "3.16", "ref"),)]
    assert keys("org/app", tag, prefix="reg.example.com") == [(Key("reg.example.com/org/app", "3.16", "ref"),)]
    assert keys("org/app", tag, root=None) == [(Key(None, "3.16", "ref"),)]
    assert keys("Not/Valid", tag) == [(Key(None, "3.16", "ref"),)]
    assert keys("x:1", tag) == [(Key(None, "3.16", "ref"),)]
    assert keys(".", tag) == [(Key(None, "3.16", "ref"),)]
    assert keys("app", tag, naming="fixed=alpine") == [(Key(ALPINE, "3.16", "ref"),)]
    assert keys("app", ("a", "busybox:1", None), ("b", "v1+b", None), naming="fixed=alpine") == [
        (Key("docker.io/library/busybox", "1", "ref"),),
        (Key(ALPINE, "v1+b", "ref"),),
    ]
    both = keys("app", ("a", "3.16", f"{ALPINE}:3.16"))
    assert both == [(Key(ALPINE, "3.16", "containerd"), Key("docker.io/library/app", "3.16", "ref"))]


# The forms of a query


def test_forms_of_a_query(make: Make) -> None:
    store = make(
        "s",
        ("a", "3.16", f"{ALPINE}:3.16"),
        ("b", "3.16", "docker.io/library/busybox:3.16"),
        ("c", "latest"),
        ("d", "[x]"),
        ("e", "ghcr.io/org/app:v1"),
        ("f", "my_host.com/alpine:1"),
        ("0", "[::1]:5000/app:2"),
        ("1", None, f"app@{d('1')}"),
    )
    oracle = Oracle([store])
    for ref, found in {
        "alpine:3.16": "a",
        "library/alpine:3.16": "a",
        "docker.io/library/alpine:3.16": "a",
        "index.docker.io/alpine:3.16": "a",
        "alpine": "",
        "latest": "",
        "3.16": "",
        ":3.16": "ab",
        f":{ALPINE}:3.16": "a",
        ":latest": "c",
        f"alpine@{d('a')}": "a",
        f"alpine:edge@{d('a')}": "a",
        f"alpine@{d('b')}": "",
        f"app@{d('1')}": "1",
        "app": "",
        d("c"): "c",
        f"@{d('c')}": "c",
        "c" * 64: "c",
        "sha256:cccccc": "c",
        "@sha256:cccccccc": "c",
        f"sha256:{'c' * 65}": "",
        "sha256:xyz": "",
        "ghcr.io/org/app:v1": "e",
        "my_host.com/alpine:1": "f",
        "[::1]:5000/app:2": "0",
        ":[x]": "",  # a pattern: the tag x
    }.items():
        assert letters(oracle, ref) == found, ref
    for ref in (
        "", ":", "@", "UPPER", "sha256:abc", "@sha256:abc", "sha256:ABCDEF", "@sha256:", f"@{'c' * 64}", "@latest",
        "C" * 64, "a b", "-a", "alpine:", "alpine@", f"alpine@{d('g')}", f"@blake3:{'b' * 64}", "alpine:3.16\n", "/a",
    ):  # fmt: skip
        with pytest.raises(Malformed):
            oracle.query(ref)
        assert oracle.resolve(ref) == Outcome(2)


def test_skopeos_form(make: Make) -> None:
    store = make("s", ("a", "alpine:3.16"), ("b", "alpine:3.16"), ("c",))
    one, cwd = make("one", ("a",)), os.path.dirname(store.path)
    oracle = Oracle([store, one])
    assert letters(oracle, f"oci:{store.path}:alpine:3.16") == "a"
    assert letters(oracle, "oci:s:alpine:3.16", cwd) == "a"
    assert answer(oracle, "oci:s:3.16", cwd=cwd) == 1
    assert answer(oracle, "oci:s", cwd=cwd) == 3
    assert letters(oracle, "oci:s", cwd) == "abc"
    assert answer(oracle, "oci:./one", cwd=cwd) == "a"
    assert answer(oracle, "oci:../nowhere", cwd=cwd) == 2
    assert answer(oracle, "oci:", cwd=store.path) == 2


def test_regctls_form(make: Make) -> None:
    store = make("s", ("a", "alpine:3.16"), ("b", "3.16"), ("c", "x:latest"))
    oracle = Oracle([store])
    assert answer(oracle, f"ocidir://{store.path}:3.16") == "b"
    assert answer(oracle, f"ocidir://{store.path}") == "c"
    assert answer(oracle, f"ocidir://{store.path}:3.17") == 1
    assert answer(oracle, f"ocidir://{store.path}:3.16@{d('c')}") == "c"
    assert answer(oracle, f"ocidir://{store.path}@sha256:abc") == 2
    assert answer(oracle, f"ocidir://{store.path}/x") == 2
    assert answer(oracle, "ocidir://s", cwd=os.path.dirname(store.path)) == "c"


# oci-layout://


def test_forms_of_a_layout_reference(make: Make) -> None:
    store = make(
        "s",
        ("a", "alpine:3.16"),
        ("b", "3.16"),
        ("c", "3.16", "docker.io/library/x:3.16"),
        ("d", None, "3.16"),
        ("e", "alpine:latest"),
        ("f", "latest"),
    )
    oracle = Oracle([store])
    for rest, found in {
        "": "fde",  # the raw latest, then docker.io/library/3.16:latest of containerd, then the short name
        ":latest": "fde",
        "/alpine": "e",
        "/alpine:3.16": "a",
        "/docker.io/library/alpine:3.16": "a",
        ":3.16": "dbca",  # raw image.name, raw ref.name (twice), derived tags
        "/": "fde",
        "/alpine:1": "",
        f"@{d('b')}": "b",
        f":3.16@{d('f')}": "f",
        f"/alpine@{d('e')}": "e",
        f"/alpine@{d('b')}": "",
        f"@{d('9')}": "",
    }.items():
        for name in ("s", store.path, f"./{os.path.basename(store.path)}"):
            assert letters(oracle, f"oci-layout://{name}{rest}", os.path.dirname(store.path)) == found, rest
    for rest in ("t", "", "s:3.*", "s/*", "s/UPPER", "s@sha256:abc", "s@x:y", "s:", "s/a:v1+b", ":3.16", "sa", "s-a/x"):
        assert answer(oracle, f"oci-layout://{rest}") == 2, rest
    assert answer(oracle, "oci-layout://s/[::1]:5000/app") == 1
    assert letters(oracle, ":3.16") == "cdab"


def test_the_single_entry_answers_where_nothing_else_does(make: Make) -> None:
    one, two, bad = make("one", ("a", "x")), make("two", ("a",), ("b",)), make("bad", ("a",))
    index = writers.read_index(bad.path)
    writers.write_index(bad.path, writers.append(index, {"digest": "no"}))
    oracle = Oracle([one, two, bad])
    for ref, found in {
        "oci-layout://one": "a~",
        "oci-layout://one:t": "a~",
        "oci-layout://one:x": "a",
        "oci-layout://one/alpine": 1,
        f"oci-layout://one@{d('b')}": 1,
        "oci-layout://two": 1,
        "oci-layout://bad": 1,
    }.items():
        assert answer(oracle, ref) == found, ref
    assert letters(oracle, "oci-layout://one") == "a"
    assert answer(oracle, "oci-layout://one", strict=True) == 1
    assert answer(oracle, "oci-layout://one:x", strict=True) == "a"


def test_the_longest_store_wins_and_an_unregistered_layout_is_an_error(make: Make) -> None:
    outer, inner = make("a", ("a", "b:latest"), ("b", "c:1")), make("a/b", ("c", "latest"))
    os.symlink(outer.path, f"{outer.path}-link")
    both, alone = Oracle([outer, inner]), Oracle([outer])
    for start in ("a", outer.path, f"{outer.path}-link"):
        assert answer(both, f"oci-layout://{start}/b") == "c"
        assert answer(both, f"oci-layout://{start}/c:1") == "b"
        assert answer(both, f"oci-layout://{start}/b/b") == 1
    assert answer(alone, f"oci-layout://{outer.path}/b") == 2
    with pytest.raises(Malformed, match="ocicat add"):
        alone.query(f"oci-layout://{outer.path}/b:1")
    assert answer(Oracle([OracleStore("r", "/")]), "oci-layout:///no/such/layout") == 1


# Patterns


def test_patterns(make: Make) -> None:
    store = make(
        "s",
        ("a", "alpine:3.16"),
        ("b", "org/alpine:3.17"),
        ("c", "ghcr.io/org/alpine:3.16"),
        ("d", "[::1]:5000/app:3.16"),
        ("e", "3.16"),
        ("f", None, f"alpine@{d('f')}"),
        ("0",),
        ("1", "localhost/alpine:Edge"),
    )
    oracle = Oracle([store])
    for ref, found in {
        "alpine:3.*": "a",
        "alpine:*": "a",
        "org/alpine:3.1[67]": "b",
        "org/alpine:3.1[!7]": "",
        "alp*": "a",
        "alp*:3.16": "a",
        "o*": "b",
        "*": "abcd1",
        "*alpine": "abc1",
        "*:3.16": "acd",
        "ghcr.io/*": "c",
        "ghcr.io/*:3.16": "c",
        "ghcr.io/alp*": "",
        "docker.io/*": "ab",
        "docker.io/alp*": "",
        "index.docker.io/library/alp*": "",
        "docker.io/alpine:3.1?": "a",
        "[::1]:5000/*": "d",
        "[::1]:5000/app:3.*": "d",
        "[ao]*": "ab",
        "[a]lpine": "a",
        "local*/alpine:[A-Z]*": "1",
        ":3.*": "abcde",
        ":*": "abcde1",
        ":[!3]*": "1",
        "alpine:3.16*": "a",
        "UPPER:*": "",
        "alpine@*": "",
    }.items():
        assert letters(oracle, ref) == found, ref
    assert answer(oracle, "alpine:*") == "a"
    assert answer(oracle, "*:3.16") == 3
    assert answer(oracle, "nothing*") == 1


# More than one match


def test_order_and_shadows_inside_a_store(make: Make) -> None:
    store = make(
        "s", ("a", "alpine:3.16"), ("b", "x", f"{ALPINE}:3.16"), ("c", f"{ALPINE}:3.16"), ("d", "x"), ("e", "x")
    )
    oracle = Oracle([store])
    assert letters(oracle, "alpine:3.16") == "bac"
    for ref in ("alpine:3.16", "docker.io/library/alpine:3.16", "oci-layout://s/alpine:3.16"):
        assert answer(oracle, ref) == "b"
    ref_key = Key(ALPINE, "3.16", "ref")
    x = Key(None, "x", "ref")
    assert oracle.shadowed() == {("s", 0, ref_key), ("s", 2, ref_key), ("s", 3, x), ("s", 4, x)}
    assert oracle.resolve(":3.16") == Outcome(3, candidates=frozenset({d("a"), d("b"), d("c")}))
    assert oracle.resolve("sha256:aaaaaa").digest == d("a")


def test_several_stores(make: Make) -> None:
    one = make("one", ("a", "alpine:1"), ("b", "alpine:1"), ("c", "alpine:2"), priority=1)
    two = make("two", ("a", "alpine:1"), ("d", "alpine:2"))
    three = make("three", ("e", "3"))
    oracle = Oracle([one, two, three])
    assert letters(oracle, "alpine:1") == "aab"
    assert oracle.resolve("alpine:1") == Outcome(0, d("a"), "two", frozenset({d("a")}))
    assert oracle.resolve("alpine:2") == Outcome(3, candidates=frozenset({d("c"), d("d")}))
    assert answer(oracle, "alpine:2", first=True) == "d"
    assert answer(oracle, "alpine:2", store="one") == "c"
    assert answer(oracle, "alpine:2", store="o*") == "c"
    assert answer(oracle, "alpine:2", store="three") == 1
    assert answer(oracle, "alpine:2", store="four") == 2
    assert answer(oracle, ":1", first=True) == "a"
    assert answer(oracle, ":1", store="one", first=True) == 3


# Digests below entries


def test_digests_below_entries(make: Make, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "s"))
    amd, arm = writers.make_image(path, "amd"), writers.make_image(path, "arm", arch="arm64")
    sparse = writers.fake_descriptor("not there")
    inner = writers.make_index_image(path, [arm, sparse])
    outer = writers.make_index_image(path, [amd | {"platform": writers.platform("linux", "amd64")}, inner])
    named = writers.name_entry(outer, "canonical", ALPINE, "1")
    writers.write_index(path, writers.empty_index(writers.name_entry(amd, "tag", "", "amd"), named))
    oracle, flat = Oracle([OracleStore("s", path)]), Oracle([OracleStore("s", path)], below=False)
    for image in (arm, inner, sparse):
        assert [each.position for each in oracle.query(image["digest"])] == [1]
        assert oracle.resolve(f"oci-layout://s@{image['digest']}").digest == image["digest"]
        assert oracle.resolve(f"alpine@{image['digest']}").digest == image["digest"]
        assert oracle.resolve(f"oci-layout://s/busybox@{image['digest']}").status == 1
        assert oracle.resolve(image["digest"][:20]).digest == image["digest"]
        assert flat.resolve(image["digest"]).status == 1
    assert [each.position for each in oracle.query(amd["digest"])] == [0, 1]
    assert [each.position for each in flat.query(amd["digest"])] == [0]
    blob = Path(path, "blobs", *inner["digest"].split(":"))
    good = blob.read_bytes()
    blob.write_bytes(
        writers.dump({"manifests": [outer, inner, {"digest": d("a")}]})
    )  # a cycle, and not what it is called
    # Nothing leads to the second one any more, but it is still in the store.
    assert [oracle.resolve(each).status for each in (d("a"), arm["digest"])] == [1, 0]
    other = OracleStore("t", writers.make_layout(str(tmp_path / "t")))
    Path(other.path, "blobs", *inner["digest"].split(":")).write_bytes(good)
    assert (
        Oracle([*oracle.stores, other]).resolve(arm["digest"]).store == "s"
    )  # a good copy is believed, wherever it lies
    blob.write_bytes(good)
    assert oracle.resolve(arm["digest"]).status == 0
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    assert oracle.resolve(inner["digest"]).status == 0  # the outer index lists it
    assert oracle.resolve(f"alpine@{arm['digest']}").status == 1
    shutil.move(f"{path}/blobs", tmp_path / "blobs")
    os.symlink(tmp_path / "blobs", f"{path}/blobs")
    assert oracle.resolve(inner["digest"]).status == 1


def test_answers_for_a_platform(tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "s"))
    spellings = [
        ("x86_64", None),
        ("aarch64", "v8"),
        ("arm", "v6"),
        ("amd64", "v2"),
        ("unknown", None),
        ("s390x", None),
    ]
    images = [writers.make_image(path, f"{arch} {variant}", arch=arch, variant=variant) for arch, variant in spellings]
    said = [
        image | {"platform": writers.platform("linux" if arch != "unknown" else arch, arch, variant)}
        for image, (arch, variant) in zip(images, spellings, strict=True)
    ]
    inner = writers.make_index_image(path, [images[2], *said[3:5]])  # of the first, its config says the platform
    outer = writers.make_index_image(path, [said[1], inner, said[0], inner, said[5]])
    os.unlink(Path(path, "blobs", *images[5]["digest"].split(":")))
    entries = [writers.name_entry(each, "short", ALPINE, tag) for each, tag in ((outer, "all"), (images[0], "one"))]
    plain = writers.name_entry(outer, "short", ALPINE, "one")  # shadowed
    writers.write_index(path, writers.empty_index(*entries, plain))
    oracle = Oracle([OracleStore("s", path)])

    def answered(ref: str, platform: str) -> str | None:
        return oracle.resolve(ref, platform=platform).digest

    digest = [image["digest"] for image in images]
    assert answered("alpine:all", "linux/amd64") == digest[0]
    assert answered("alpine:all", "linux/x86_64/v1") == digest[0]
    assert answered("alpine:all", "linux/amd64/v3") == digest[3]
    assert answered("alpine:all", "linux/arm64") == digest[1]
    assert answered("alpine:all", "linux/arm") == digest[2]
    assert answered("alpine:all", "linux/arm/v5") is None
    assert answered("alpine:all", "windows/amd64") is None
    assert answered("alpine:all", "linux/s390x") is None  # not there
    assert answered("alpine:all", "unknown/unknown") is None
    assert answered("alpine:one", "linux/amd64") == digest[0]
    assert answered("alpine:one", "linux/arm64") is None  # though the shadowed one has it
    assert answered(inner["digest"], "linux/arm") == digest[2]


@pytest.mark.parametrize(
    ("data", "broken"),
    [
        (b'{"manifests":null}', False),
        (b"{}", False),
        (b"", True),
        (b"null", True),
        (b"[]", True),
        (b'{"manifests":{}}', True),
        (b'{"manifests":[]} x', True),
        (b'{"manifests":[],"x":NaN}', True),
        (b'{"manifests":[]', True),
        (b"[" * 100_000, True),
        (b'\xef\xbb\xbf{"manifests":[]}', True),
        (b'{"manifests":[],"x":"\xff"}', False),
    ],
)
def test_an_index_that_cannot_be_read_has_no_entries(make: Make, data: bytes, broken: bool) -> None:
    store, other = make("s", ("a", "t")), make("t", ("b", "t"))
    oracle = Oracle([store, other])
    Path(store.path, "index.json").write_bytes(data)
    assert letters(oracle, ":t") == "b"
    assert oracle.broken == ({"s"} if broken else set())
    writers.write_index(store.path, writers.empty_index(entry("c", "t")))
    assert letters(oracle, ":t") == "cb"
    assert oracle.broken == set()


def test_an_index_that_is_not_a_regular_file_has_no_entries(make: Make) -> None:
    store = make("s", ("a", "t"))
    oracle = Oracle([store, OracleStore("gone", "/no/such")])
    os.rename(f"{store.path}/index.json", f"{store.path}/other.json")
    for put in (
        lambda file: os.symlink("other.json", file),
        os.mkfifo,
        os.mkdir,
    ):
        put(f"{store.path}/index.json")
        assert letters(oracle, ":t") == ""
        assert oracle.broken == {"s", "gone"}
        (os.rmdir if os.path.isdir(f"{store.path}/index.json") else os.unlink)(f"{store.path}/index.json")


# The writers


@pytest.mark.parametrize("style", writers.NAME_STYLES)
def test_every_style_of_name_is_found_by_what_it_says(make: Make, style: str) -> None:
    store = make("s")
    index = writers.empty_index(writers.name_entry(entry("a", "old", "old"), style, ALPINE, "3.16"))
    writers.write_index(store.path, index)
    oracle = Oracle([store])
    full = style in ("short", "canonical", "containerd", "crane", "joined")
    assert letters(oracle, "alpine:3.16") == ("a" if full else "")
    assert letters(oracle, ":3.16") == ("a" if full or style == "tag" else "")
    assert letters(oracle, ":3.16+build.5") == ("a" if style == "garbage" else "")
    assert letters(oracle, "alpine-too:3.16") == ("a" if style == "joined" else "")
    assert letters(oracle, d("a")) == "a"


@pytest.mark.parametrize("style", writers.WRITE_STYLES)
def test_every_writer_leaves_the_index_it_was_given_and_nothing_else(make: Make, style: str) -> None:
    store = make("s", ("a", "t"))
    for index in (
        writers.empty_index(*writers.big_entries(20)),
        writers.empty_index(entry("b", "t")),
        {"schemaVersion": 2, "manifests": None},
        writers.empty_index(entry("b", "ü")),
    ):
        writers.write_index(store.path, index, style)
        assert writers.read_index(store.path) == index
    beside = {"zot": {".uploads"}, "linuxkit": {".lock"}}.get(style, set())
    assert set(os.listdir(store.path)) == {"blobs", "index.json", "oci-layout"} | beside
    assert os.listdir(f"{store.path}/.uploads") == [] if style == "zot" else True
    mode = os.stat(f"{store.path}/index.json").st_mode & 0o777
    assert (mode == 0o600) == (style in ("umoci", "regctl"))


def test_what_a_reader_can_see_of_a_rewrite(make: Make) -> None:
    """Some writers keep the inode, and a slow one shows a mixture that is valid JSON but was never a real index."""
    store = make("s", ("a", "t"))
    file = f"{store.path}/index.json"
    for style, in_place in {"skopeo": True, "buildkit": True, "crane": True, "linuxkit": True, "umoci": False}.items():
        with open(file, "rb") as held:  # held open, so that its inode cannot be used again
            writers.write_index(store.path, writers.empty_index(entry("b", "t")), style)
            assert (os.fstat(held.fileno()).st_ino == os.stat(file).st_ino) == in_place, style
    new = writers.dump(writers.empty_index(entry("c", "t")))
    half = new.index(b"c" * 64) + 32
    slow = threading.Thread(target=writers.slow_in_place, args=(store.path, new), kwargs={"chunk": half, "pause": 0.3})
    slow.start()
    seen = set()
    while slow.is_alive():
        seen.add(Oracle([store]).query(":t")[0].digest)
    assert f"sha256:{'c' * 32}{'b' * 32}" in seen
    assert letters(Oracle([store]), ":t") == "c"
    writers.torn(store.path, new, half)
    assert Path(file).read_bytes() == new[:half]
    with pytest.raises(ValueError, match="length"):
        writers.slow_in_place(store.path, new, chunk=9, pause=0)


def test_changes_of_an_index_are_pure() -> None:
    a, b, t = entry("a", "t"), entry("b", "x"), entry("c", "t")
    index = writers.empty_index(a, b)
    unnamed = {key: value for key, value in a.items() if key != "annotations"}
    before = json.dumps(index)
    assert writers.append(index, t)["manifests"] == [a, b, t]
    assert writers.retag_skopeo(index, t)["manifests"] == [unnamed, b, t]
    assert writers.retag_skopeo(writers.retag_skopeo(index, t), entry("a", "u"))["manifests"] == [entry("a", "u"), b, t]
    assert writers.retag_replace(index, t)["manifests"] == [b, t]
    assert writers.retag_replace(writers.empty_index(unnamed), unnamed)["manifests"] == [unnamed, unnamed]
    assert writers.remove(index, 0)["manifests"] == [b]
    assert writers.duplicate(index, 0)["manifests"] == [a, b, a]
    assert writers.linuxkit_between(index, writers.retag_replace(index, t))["manifests"] == [b]
    many = writers.empty_index(*writers.big_entries(30))
    orders = [writers.reorder(many, random.Random(seed))["manifests"] for seed in (1, 2)]
    assert orders[0] != orders[1]
    assert sorted(map(json.dumps, orders[0])) == sorted(map(json.dumps, many["manifests"]))
    assert json.dumps(index) == before


def test_the_mix(tmp_path: Path) -> None:
    entries = Oracle([OracleStore("s", writers.big_layout(str(tmp_path / "s"), 480))]).read()[0].entries
    assert len({each.digest for each in entries}) == 240
    assert len({key.repository for each in entries for key in each.keys} - {None}) == 16
    assert sum(not each.keys for each in entries) == sum(each.image_name is not None for each in entries) == 96
    assert sum(len(set(each.annotations) - {REF_NAME, IMAGE_NAME}) for each in entries) == 160
    plain = Oracle([OracleStore("s", writers.big_layout(str(tmp_path / "p"), 50, seed=1, mix=False))])
    assert len({(each.digest, each.ref_name) for each in plain.read()[0].entries}) == 50
    assert plain.shadowed() == set()


# The tools themselves, where they are installed


def run(*command: str) -> str:
    skip_without(command[0])
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_skopeo_reads_what_is_written_and_retags_as_modelled(tmp_path: Path) -> None:
    path, source = (writers.make_layout(str(tmp_path / name)) for name in ("s", "source"))
    images = [writers.make_image(source, seed, layers=2, labels={"seed": seed}) for seed in "ab"]
    index = writers.empty_index(*(writers.name_entry(image, "tag", "", f"t{i}") for i, image in enumerate(images)))
    writers.write_index(source, index)
    multi = writers.make_index_image(
        source,
        [
            image | {"platform": writers.platform("linux", a)}
            for image, a in zip(images, ("amd64", "arm64"), strict=True)
        ],
    )
    writers.write_index(source, writers.append(index, writers.name_entry(multi, "short", ALPINE, "1")))
    store = OracleStore("source", source)
    for ref in ("t0", "t1", "alpine:1"):
        seen = json.loads(run("skopeo", "inspect", f"oci:{source}:{ref}"))
        assert seen["Digest"] == Oracle([store]).resolve(f"oci:{source}:{ref}").digest
    model = writers.empty_index()
    for number, name in ((0, "x"), (1, "x"), (0, "y"), (0, "x"), (0, "x"), (1, "alpine:1")):
        run("skopeo", "copy", "-q", f"oci:{source}:t{number}", f"oci:{path}:{name}")
        entry = images[number] | {"annotations": {REF_NAME: name}}
        model = writers.retag_skopeo(model, entry)
        assert writers.read_index(path) == model, (number, name)


def test_umoci_reads_and_writes_such_a_layout(tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "s"))
    image = writers.make_image(path, "a", arch="arm64", variant="v8", extra_annotations={"k": "v"})
    names = [writers.name_entry(image, style, ALPINE, "3.16") for style in ("tag", "short", "canonical", "containerd")]
    writers.write_index(path, writers.empty_index(*names[:3]))
    assert run("umoci", "ls", "--layout", path).split() == ["3.16", "alpine:3.16", f"{ALPINE}:3.16"]
    run("umoci", "tag", "--image", f"{path}:3.16", "new")
    run("umoci", "gc", "--layout", path)
    assert writers.read_index(path)["manifests"] == [*names[:3], writers.name_entry(image, "tag", "", "new")]
