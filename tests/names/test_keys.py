"""Lookup keys of a descriptor: each rule of docs/resolution.md, the naming policies, and a comparison with the oracle."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog.errors import UsageError
from catalog.names.keys import CONTAINERD, REF, Key, Naming, derive_keys, is_ref_name
from catalog.names.limits import KEY_BYTES, is_long
from tests import oracle

from . import own_vectors, shared_vectors

H = "e58fcf7418d4390dec8e8fb69d88c06ec07039d651fedd3aa72af9972e7d046b"
D = f"sha256:{H}"
OTHER = f"sha256:{'0' * 64}"
BLAKE = f"blake3:{H}"
ALPINE = "docker.io/library/alpine"
LONG = "a" * 300


def c(repository: str | None, tag: str | None) -> Key:
    return Key(repository, tag, CONTAINERD)


def r(repository: str | None, tag: str | None) -> Key:
    return Key(repository, tag, REF)


@pytest.mark.parametrize(
    ("ref_name", "image_name", "keys", "problems"),
    [
        # io.containerd.image.name
        (None, "docker.io/library/alpine:3.16", [c(ALPINE, "3.16")], []),
        (None, "alpine:3.16", [c(ALPINE, "3.16")], []),
        (None, "alpine", [c(ALPINE, "latest")], []),
        (None, "3.16", [c("docker.io/library/3.16", "latest")], []),
        (None, f"alpine@{D}", [c(ALPINE, None)], []),
        (None, f"alpine:3.16@{D}", [c(ALPINE, "3.16")], []),
        (None, "my_host.com/alpine:1", [c("my_host.com/alpine", "1")], []),
        (None, "a:1,b:2", [], ["unusable-name"]),
        (None, "", [], ["unusable-name"]),
        (None, "UPPER", [], ["unusable-name"]),
        (None, H, [], ["unusable-name"]),
        (None, f"alpine:3.16@{OTHER}", [], ["name-digest"]),
        # a ref.name in the form of a tag
        ("3.16", None, [r(None, "3.16")], []),
        ("alpine", None, [r(None, "alpine")], []),
        ("UPPER", None, [r(None, "UPPER")], []),
        ("latest", None, [r(None, "latest")], []),
        (H, None, [r(None, H)], []),
        (f"3.16@{D}", None, [r(None, "3.16")], []),
        (f"3.16@{OTHER}", None, [], ["name-digest"]),
        (f"@{D}", None, [], []),
        (f"@{OTHER}", None, [], ["name-digest"]),
        # a ref.name that is another reference
        ("alpine:3.16", None, [r(ALPINE, "3.16")], []),
        ("library/alpine:3.16", None, [r(ALPINE, "3.16")], []),
        ("docker.io/library/alpine:3.16", None, [r(ALPINE, "3.16")], []),
        ("index.docker.io/library/alpine:3.16", None, [r(ALPINE, "3.16")], []),
        ("docker.io/library/alpine", None, [r(ALPINE, "latest")], []),
        (f"docker.io/library/alpine@{D}", None, [r(ALPINE, None)], []),
        (f"docker.io/library/alpine:3.16@{D}", None, [r(ALPINE, "3.16")], []),
        (f"docker.io/library/alpine:3.16@{OTHER}", None, [], ["name-digest"]),
        ("localhost:5000/app", None, [r("localhost:5000/app", "latest")], []),
        # any other ref.name
        ("v1+build.5", None, [r(None, "v1+build.5")], []),
        (f"v1+build.5@{D}", None, [r(None, "v1+build.5")], []),
        ("a//b", None, [r(None, "a//b")], ["unusable-name"]),
        (".x", None, [r(None, ".x")], ["unusable-name"]),
        ("x y\n", None, [r(None, "x y\n")], ["unusable-name"]),
        ("3.16@sha256:abc", None, [r(None, "3.16@sha256:abc")], []),
        ("t" * 129, None, [r("docker.io/library/" + "t" * 129, "latest")], []),
        ("a/" + "t" * 300, None, [r(None, "a/" + "t" * 300)], []),
        (f"alpine@{D}@{D}", None, [r(None, f"alpine@{D}")], []),
        ("", None, [], ["unusable-name"]),
        # both annotations: a key that repeats another is left out
        ("3.16", "docker.io/library/alpine:3.16", [c(ALPINE, "3.16")], []),
        ("alpine:3.16", "docker.io/library/alpine:3.16", [c(ALPINE, "3.16")], []),
        (f"3.16@{D}", f"docker.io/library/alpine:3.16@{D}", [c(ALPINE, "3.16")], []),
        ("latest", "docker.io/library/alpine", [c(ALPINE, "latest")], []),
        ("latest", f"alpine@{D}", [c(ALPINE, None), r(None, "latest")], []),
        ("3.17", "docker.io/library/alpine:3.16", [c(ALPINE, "3.16"), r(None, "3.17")], []),
        ("busybox:3.16", "alpine:3.16", [c(ALPINE, "3.16"), r("docker.io/library/busybox", "3.16")], []),
        ("3.16", "UPPER", [r(None, "3.16")], ["unusable-name"]),
        # no annotation
        (None, None, [], []),
        # a list of names
        ("a:1,b:2", None, [r("docker.io/library/a", "1"), r("docker.io/library/b", "2")], []),
        ("1,2", None, [r(None, "1"), r(None, "2")], []),
        ("1,1,", None, [r(None, "1")], []),
        (",", None, [], []),
        (f"a:1@{D},b:2@{OTHER},c", None, [r("docker.io/library/a", "1"), r(None, "c")], ["name-digest"]),
        # Over 1,024 bytes there is no key
        ("x+" + "y" * (KEY_BYTES - 3), None, [r(None, "x+" + "y" * (KEY_BYTES - 3))], []),
        ("x+" + "y" * (KEY_BYTES - 2), None, [], ["long-name"]),
        ("é" * 512, None, [], ["long-name", "unusable-name"]),
        (f"{'d.' * 600}io/alpine:3.16,3.17", None, [r(None, "3.17")], ["long-name"]),
    ],
)
def test_annotations_become_keys(
    ref_name: str | None, image_name: str | None, keys: list[Key], problems: list[str]
) -> None:
    found, complaints = derive_keys(ref_name, image_name, D, None)
    assert found == keys
    assert sorted(problem.kind for problem in complaints) == problems
    assert all("\n" not in problem.detail and len(problem.detail) < 250 for problem in complaints)


@pytest.mark.parametrize(
    ("ref_name", "image_name", "keys"),
    [
        ("3.16", None, [r(ALPINE, "3.16")]),
        ("v1+build.5", None, [r(ALPINE, "v1+build.5")]),
        (f"3.16@{D}", None, [r(ALPINE, "3.16")]),
        ("busybox:3.16", None, [r("docker.io/library/busybox", "3.16")]),
        # repeated keys are left out after the policy is applied: a tag with another repository is a key of its own
        ("3.16", "alpine:3.16", [c(ALPINE, "3.16")]),
        ("3.16", "busybox:3.16", [c("docker.io/library/busybox", "3.16"), r(ALPINE, "3.16")]),
        ("3.16,alpine:3.16", None, [r(ALPINE, "3.16")]),
    ],
)
def test_a_policy_gives_bare_tags_their_repository(
    ref_name: str | None, image_name: str | None, keys: list[Key]
) -> None:
    assert derive_keys(ref_name, image_name, D, ALPINE)[0] == keys


def test_a_name_may_end_with_the_digest_of_its_descriptor_in_any_algorithm() -> None:
    assert derive_keys(f"3.16@{BLAKE}", None, BLAKE, None)[0] == [r(None, "3.16")]
    assert derive_keys(f"3.16@{BLAKE}", None, D, None)[0] == [r(None, f"3.16@{BLAKE}")]


def test_the_length_of_a_key_includes_the_repository_of_the_policy() -> None:
    tag = "x+" + "y" * (KEY_BYTES - 30)
    assert derive_keys(tag, None, D, None)[0] == [r(None, tag)]
    keys, problems = derive_keys(tag, None, D, ALPINE + "/" + "z" * 20)
    assert (keys, [problem.kind for problem in problems]) == ([], ["long-name"])
    assert len(problems[0].subject) == 60  # the beginning, by which the entry is found


@pytest.mark.parametrize(
    ("text", "long"),
    [("a" * 1024, False), ("a" * 1025, True), ("é" * 512, False), ("é" * 513, True), ("\U0001f600" * 256, False),
     ("\U0001f600" * 257, True), ("\ud800" * 1024, False), ("\ud800" * 1025, True)],
)  # fmt: skip
def test_length_is_counted_in_bytes(text: str, long: bool) -> None:
    assert is_long(text) == long


def test_names_agree_with_the_image_spec() -> None:
    """refname.json has the grammar of org.opencontainers.image.ref.name as umoci checks it."""
    for row in own_vectors("refname.json"):
        assert is_ref_name(row["refname"]) == row["valid"], row


def test_every_vector_agrees_with_the_image_spec() -> None:
    for row in shared_vectors("refname.json"):
        assert is_ref_name(row["refname"]) == row["valid"], row


PIECES = st.sampled_from(
    ["alpine", "3.16", "latest", "UPPER", "docker.io", "library", "localhost:5000", ":", "/", "@", ",", "+", " ", "",
     D, f"@{D}", f"@{OTHER}", f"@{BLAKE}", "@sha256:abc", H, LONG, "é" * 200, "\n", "[::1]"]
)  # fmt: skip
NAMES = st.none() | st.lists(PIECES, max_size=6).map("".join) | st.text(max_size=8)


@given(NAMES, NAMES, st.sampled_from([D, BLAKE]), st.sampled_from([None, ALPINE, "quay.io/user/app"]))
@example(f"alpine@{OTHER}@{D}", None, D, None)
@example(f"3.16@{OTHER}@{D}", None, D, None)
@example("latest", "alpine", D, ALPINE)
def test_keys_agree_with_the_oracle(
    ref_name: str | None, image_name: str | None, digest: str, repository: str | None
) -> None:
    keys, problems = derive_keys(ref_name, image_name, digest, repository)
    wanted = oracle.derive(image_name, ref_name, digest, repository)
    assert [(key.repository, key.tag, ("containerd", "ref")[key.source]) for key in keys] == [
        (key.repository, key.tag, key.source) for key in wanted
    ]
    for key in keys:
        assert (key.name is None) == (key.repository is None or key.tag is None)
        assert key.name in (None, f"{key.repository}:{key.tag}")
    assert all(problem.detail.isprintable() and problem.subject.isprintable() for problem in problems)


@pytest.mark.parametrize(
    ("text", "path", "prefix", "repository"),
    [
        ("annotations", "library/alpine", None, None),
        ("annotations", None, None, None),
        ("fixed=alpine", None, None, ALPINE),
        ("fixed=quay.io/user/app", "x", None, "quay.io/user/app"),
        ("fixed=my_host.com/app", "x", None, "my_host.com/app"),
        ("path", "alpine", None, ALPINE),
        ("path", "library/alpine", None, ALPINE),
        ("path", "user/app", None, "docker.io/user/app"),
        ("path", "quay.io/user/app", None, "quay.io/user/app"),
        ("path", "library/alpine", "registry.example.com", "registry.example.com/library/alpine"),
        ("path", "alpine", "registry.example.com:5000/mirror", "registry.example.com:5000/mirror/alpine"),
        ("path", "alpine", "docker.io", ALPINE),
    ],
)
def test_a_policy_gives_a_repository(text: str, path: str | None, prefix: str | None, repository: str | None) -> None:
    naming = Naming.parse(text)
    assert naming.repository(path, prefix) == (repository, None)
    assert Naming.parse(str(naming)) == naming


@pytest.mark.parametrize("path", [None, ".", "UPPER", "a b", "a:1", f"a@{D}", "..", "é", "\udcff"])
def test_a_path_that_is_not_a_repository_is_a_problem(path: str | None) -> None:
    repository, problem = Naming.parse("path").repository(path, None)
    assert repository is None
    assert problem is not None
    assert problem.kind == "no-repository"
    assert problem.detail.isprintable()


@pytest.mark.parametrize("text", ["", "paths", "fixed", "fixed=", "fixed=UPPER", "fixed=alpine:3.16", f"fixed=a@{D}",
                                  f"fixed={H}", "path=x", "annotations "])  # fmt: skip
def test_an_unknown_policy_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Naming.parse(text)


def test_a_list_of_names_has_a_limit() -> None:
    """Old BuildKit joined a few names. Of thousands, the first 1,000 become keys, and the rest is reported."""
    keys, problems = derive_keys(",".join(f"t{number}" for number in range(1000)), None, "sha256:" + "0" * 64, None)
    assert (len(keys), problems) == (1000, [])
    keys, problems = derive_keys(",".join(f"t{number}" for number in range(5000)), None, "sha256:" + "0" * 64, None)
    assert [key.tag for key in keys] == [f"t{number}" for number in range(1000)]
    assert [(each.kind, each.subject) for each in problems] == [("long-name", "org.opencontainers.image.ref.name")]
    assert "only the first 1000" in problems[0].detail
