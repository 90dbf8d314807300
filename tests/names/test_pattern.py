"""Patterns: what they match, compared with fnmatch and the oracle; their literal prefixes; a bound on matching time."""

from __future__ import annotations

import itertools
import subprocess
import sys
from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog.names.pattern import Glob, has_wildcard, name_globs, repository_globs, upper_bound
from catalog.names.reference import split_reference
from tests import oracle

SCALARS = st.characters(exclude_categories=["Cs"])  # every character that a catalog can store


@pytest.mark.parametrize(
    ("pattern", "globs"),
    [
        # no wildcard before the tag: normalised first
        ("alpine:3.*", ["docker.io/library/alpine:3.*"]),
        ("index.docker.io/alpine:?", ["docker.io/library/alpine:?"]),
        ("user/app:[12]", ["docker.io/user/app:[12]"]),
        ("localhost:5000/app:*", ["localhost:5000/app:*"]),
        ("[::1]:5000/app:*", ["[::1]:5000/app:*"]),
        ("my_host.com/app:*", ["my_host.com/app:*"]),
        ("UPPER:*", []),
        ("a/b:c/d:*", []),
        # a wildcard before the tag: as written, and with each prefix that Docker adds to a name
        ("alp*", ["alp*:*", "docker.io/alp*:*", "docker.io/library/alp*:*"]),
        ("alp*:3.16", ["alp*:3.16", "docker.io/alp*:3.16", "docker.io/library/alp*:3.16"]),
        ("user/*:3.16", ["user/*:3.16", "docker.io/user/*:3.16", "docker.io/library/user/*:3.16"]),
        ("*", ["*:*", "docker.io/*:*", "docker.io/library/*:*"]),
        ("*/app", ["*/app:*", "docker.io/*/app:*", "docker.io/library/*/app:*"]),
        # Docker adds no prefix if the first component is a domain
        ("docker.io/library/alp*", ["docker.io/library/alp*:*"]),
        ("quay.io/*", ["quay.io/*:*"]),
        ("localhost/*", ["localhost/*:*"]),
        ("reg*.io/app", ["reg*.io/app:*"]),
        ("localhost:*/app:1", ["localhost:*/app:1"]),
        ("[::1]:5000/a*:1", ["[::1]:5000/a*:1"]),
        ("[::1]*", ["[::1]*:*"]),
        ("[::1]/*", ["[::1]/*:*"]),
        ("[A-Z]*/app", ["[A-Z]*/app:*"]),
    ],
)
def test_a_pattern_stands_for_globs_over_full_names(pattern: str, globs: list[str]) -> None:
    assert [each.text for each in name_globs(pattern)] == globs


@pytest.mark.parametrize(
    ("glob", "prefix", "literal"),
    [
        ("docker.io/library/alpine:3.*", "docker.io/library/alpine:3.", False),
        ("docker.io/library/alpine:3.16", "docker.io/library/alpine:3.16", True),
        ("*", "", False),
        ("a[bc]d", "a", False),
        ("a[bc", "a[bc", True),
        ("a[]", "a[]", True),
        ("a[!]", "a[!]", True),
        ("a[!]]", "a", False),
        ("", "", True),
    ],
)
def test_a_glob_knows_its_literal_prefix(glob: str, prefix: str, literal: bool) -> None:
    found = Glob(glob)
    assert (found.prefix, found.literal) == (prefix, literal)
    bounds = found.bounds()
    assert bounds == ({"low": prefix, "high": upper_bound(prefix)} if prefix else None)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("app*", "docker.io/library/apple", "docker.io/other/apple"),
        ("quay.io/*", "quay.io/app", "docker.io/quay.io/app"),
        ("[::1]/a*", "[::1]/app", ":/app"),
        ("[:1]/a*", "[:1]/app", ":/app"),
        ("[!:]/a*", "b/app", "[!:]/app"),
    ],
)
def test_a_pattern_stands_for_globs_over_full_repositories(pattern: str, matching: str, other: str) -> None:
    globs = repository_globs(pattern)
    assert any(glob.matches(matching) for glob in globs)
    assert not any(glob.matches(other) for glob in globs)


def test_brackets_are_an_ipv6_domain_only_at_the_beginning_of_a_name() -> None:
    """In the pattern of a tag, in the name of a store, and inside a name they are a character class."""
    assert [each.matches("[a:b]/x:1") for each in name_globs("[a:b]/*")] == [True]
    assert not name_globs("[a:b]/*")[0].matches("a/x:1")
    assert Glob("[a:b]c").matches("ac")
    assert not Glob("[a:b]c").matches("[a:b]c")
    assert any(each.matches("docker.io/library/b:1") for each in name_globs("library/[a:b]:1"))


ALPHABET = "ab:/.-!]["
GLOBS = st.text(alphabet=ALPHABET + "*?^\\\n0", max_size=12)
TEXTS = st.text(alphabet=ALPHABET + "^\\\n0", max_size=12)


@given(GLOBS, TEXTS)
@example("[]]", "]")
@example("[!]]", "]")
@example("[b-a]", "b")
@example("[!b-a]", "b")
@example("[--0]", "/")
@example("[a-b-0]", "-")
@example("[-a]", "-")
@example("[a-]", "-")
@example("[^a]", "^")
@example("[!^]", "a")
@example("[\\]", "\\")
@example("[[]", "[")
@example("[a&&b]", "&")
@example("*\n", "a\n")
@example("a", "a\n")
def test_a_glob_matches_what_fnmatch_matches(glob: str, text: str) -> None:
    found = Glob(glob)
    assert found.matches(text) == fnmatchcase(text, glob)
    if found.matches(text):
        assert text.startswith(found.prefix)
        assert not found.literal or text == glob


@given(st.lists(st.sampled_from(["a", "b", "ab", "*", "?", "[ab]", "[!a]"]), max_size=12), st.text("ab", max_size=16))
def test_many_stars_match_what_fnmatch_matches(pieces: list[str], text: str) -> None:
    assert Glob("".join(pieces)).matches(text) == fnmatchcase(text, "".join(pieces))


REPOSITORIES = (
    "docker.io/library/alpine", "docker.io/library/a", "docker.io/user/app", "localhost/app", "localhost:5000/app",
    "[::1]:5000/app", "[a:b]/app", "my_host.com/app", "quay.io/user/app",
)  # fmt: skip
TAGS = ("latest", "3.16", "a", "v1+build.5", "x y", "a:b")
PATTERN_PIECES = (
    "*", "?", "[", "]", "[a:b]", "[::1]", "[!a]", "a", "alpine", "app", ":", "/", "docker.io", "library", "localhost",
    "localhost:5000", "quay.io", "user", "3.16", "latest", "v1+build.5", "A", "my_host.com", "-",
)  # fmt: skip


@given(st.lists(st.sampled_from(PATTERN_PIECES), min_size=1, max_size=6).map("".join))
@example("alpine*:3.16")
@example("[::1*")
@example("[a:b]*")
@example("[a:b]/a*:?atest")
def test_patterns_over_names_agree_with_the_oracle(pattern: str) -> None:
    if pattern.startswith(":") or not has_wildcard(pattern) or split_reference(pattern) is not None:
        return
    rank = oracle.by_pattern(pattern)
    globs = name_globs(pattern)
    for repository in REPOSITORIES:
        for tag in TAGS:
            entry = oracle.Entry(
                oracle.OracleStore("s", "/"), 0, "", None, None, None, None, {}, (oracle.Key(repository, tag, "ref"),)
            )
            found = any(each.matches(f"{repository}:{tag}") for each in globs)
            assert found == (rank(entry) is not None), (pattern, repository, tag)


@given(st.text(SCALARS, max_size=4), st.text(SCALARS, max_size=6))
@example("\ud7ff", "\ue000")
@example("a\U0010ffff", "b")
@example("\U0010ffff", "\U0010ffff")
@example("", "a")
def test_a_prefix_and_its_upper_bound_enclose_exactly_the_texts_that_begin_with_it(prefix: str, text: str) -> None:
    high = upper_bound(prefix)
    assert (high is None) == (not prefix.strip("\U0010ffff"))
    for each in (text, prefix + text):
        inside = prefix.encode() <= each.encode() and (high is None or each.encode() < high.encode())
        assert inside == each.startswith(prefix)


PATHOLOGICAL = [
    ("*a" * 30 + "b", "a" * 20_000),
    ("a*" * 200 + "b", "a" * 5_000),
    ("*" * 500 + "b", "a" * 20_000),
    ("?" * 500 + "*b", "a" * 20_000),
    ("*[!b]" * 40 + "b", "a" * 10_000),
    ("*?" * 300 + "b", "a" * 10_000),
    ("*ab" * 40 + "c", "ab" * 10_000),
    ("[" * 100_000 + "*", "[" * 100_000),
    ("[!" * 5_000, "a" * 10_000),
]


def test_pathological_patterns_match_in_bounded_time() -> None:
    """A backtracking matcher would never finish. All of these together get ten seconds of CPU time."""
    source = f"""
import resource
from catalog.names.pattern import Glob, name_globs
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
for glob, text in {PATHOLOGICAL!r}:
    Glob(glob).matches(text)
    for each in name_globs(glob):
        each.matches(text)
"""
    done = subprocess.run([sys.executable, "-"], input=source, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


LONG_PATHOLOGICAL = [
    ("*" + "a" * 8_000 + "b", "a" * 2_000_000),
    ("*" + "a?" * 4_000 + "b*", "a" * 500_000),
    ("*" + "[a-c]" * 1_600 + "d*", "abc" * 150_000),
    (
        "*" + "".join(f"[!{chr(0x4E00 + n)}]" for n in range(1_600)) + "b*",
        "".join(map(chr, range(0x3400, 0x9FFF))) * 5,
    ),
]


def test_a_long_text_and_a_long_pattern_are_matched_in_bounded_time() -> None:
    """An expression would take as many steps as both have characters, multiplied: minutes, in which a server answers nobody."""
    source = f"""
import resource
from catalog.names.pattern import Wanted
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
for glob, text in {LONG_PATHOLOGICAL!r}:
    assert not Wanted(glob)(text)
"""
    done = subprocess.run([sys.executable, "-"], input=source, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@given(
    st.lists(
        st.sampled_from(["a", "b", "ab", "*", "*", "?", "[ab]", "[!a]", "[!a-b\U0010ffff]", "[b-a]", "c"]), max_size=9
    ),
    st.text("abc\n\U0010ffff", max_size=12),
)
def test_a_long_text_matches_what_fnmatch_matches(pieces: list[str], text: str) -> None:
    """As it is, and with more of the same around it, as a long text has."""
    pattern = "".join(pieces)
    for glob, long in ((pattern, text), (f"*{pattern}", "abc" * 50 + text), (f"{pattern}*{pattern}", text * 3)):
        assert Glob(glob)._matches_long(long) == fnmatchcase(long, glob)


def test_every_short_pattern_matches_long_texts_as_fnmatch_does() -> None:
    """Of the random patterns above, few have a class that decides."""
    texts = ["".join(letters) for size in range(4) for letters in itertools.product("ab", repeat=size)]
    for pieces in itertools.product(["", "a", "*", "?", "[ab]", "[!a]", "[b-a]"], repeat=4):
        glob = Glob(pattern := "".join(pieces))
        assert [glob._matches_long(text) for text in texts] == [fnmatchcase(text, pattern) for text in texts], pattern


def test_a_text_that_takes_an_expression_too_many_steps_is_matched_all_the_same() -> None:
    wanted = Glob(f"*{'a?' * 300}")
    assert wanted.matches("ab" * 1_000)
    assert not wanted.matches("ab" * 700 + "b" * 600)


def test_a_range_of_one_character_matches_it() -> None:
    assert Glob("[b-b]x").matches("bx")
    assert not Glob("[c-b]x").matches("bx")
