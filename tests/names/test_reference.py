"""Docker references, compared with the answers and the regular expressions of distribution/reference."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from catalog.errors import InvalidReference
from catalog.names.digest import is_docker_digest
from catalog.names.keys import split_named
from catalog.names.reference import (
    Reference,
    is_domain,
    is_tag,
    quoted,
    repository_familiar,
    split_reference,
    split_repository,
)
from tests.effort import examples

from . import PROJECT, own_vectors, shared_vectors

Parts = tuple[str, str, str | None, str | None]

HEX = "e58fcf7418d4390dec8e8fb69d88c06ec07039d651fedd3aa72af9972e7d046b"
DIGEST = f"sha256:{HEX}"

# The oracle: a literal translation of regexp.go and normalize.go.
ALPHANUMERIC = r"[a-z0-9]+"
SEPARATOR = r"(?:[._]|__|[-]+)"
DOMAIN_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
DOMAIN_NAME = rf"{DOMAIN_COMPONENT}(?:\.{DOMAIN_COMPONENT})*"
DOMAIN = rf"(?:{DOMAIN_NAME}|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
TAG = r"[\w][\w.-]{0,127}"
DIGEST_PAT = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*[:][0-9A-Fa-f]{32,}"
PATH_COMPONENT = rf"{ALPHANUMERIC}(?:{SEPARATOR}{ALPHANUMERIC})*"
REMOTE_NAME = rf"{PATH_COMPONENT}(?:/{PATH_COMPONENT})*"
NAME = rf"(?:{DOMAIN}/)?{REMOTE_NAME}"
REFERENCE_RE = re.compile(rf"({NAME})(?::({TAG}))?(?:@({DIGEST_PAT}))?", re.ASCII)
NAME_RE = re.compile(rf"(?:({DOMAIN})/)?({REMOTE_NAME})", re.ASCII)
DOMAIN_RE = re.compile(DOMAIN, re.ASCII)
TAG_RE = re.compile(TAG, re.ASCII)
IDENTIFIER_RE = re.compile(r"[a-f0-9]{64}", re.ASCII)
DIGEST_RE = re.compile(r"sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}", re.ASCII)


def split_docker_domain(name: str) -> tuple[str, str]:
    """Do what splitDockerDomain does."""
    first, slash, rest = name.partition("/")
    if not slash:
        return "docker.io", f"library/{name}"
    if first == "localhost":
        domain, remote = first, rest
    elif first == "index.docker.io":
        domain, remote = "docker.io", rest
    elif "." in first or ":" in first or first.lower() != first:
        domain, remote = first, rest
    else:
        domain, remote = "docker.io", name
    if domain == "docker.io" and "/" not in remote:
        remote = f"library/{remote}"
    return domain, remote


def oracle(text: str) -> Parts | None:
    """Do what ParseNormalizedNamed does, with regular expressions."""
    if IDENTIFIER_RE.fullmatch(text):
        return None
    domain, remainder = split_docker_domain(text)
    remote = remainder.partition(":")[0]
    if remote.lower() != remote:
        return None
    match = REFERENCE_RE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        return None
    name, tag, digest = match.groups()
    parts = NAME_RE.fullmatch(name)
    assert parts is not None
    if len(parts[2]) > 255 or (digest is not None and DIGEST_RE.fullmatch(digest) is None):
        return None
    return parts[1] or "", parts[2], tag, digest


def any_kind(text: str) -> str | None:
    """Do what ParseAnyReference does, with our functions: an identifier or a digest takes precedence over a name."""
    if IDENTIFIER_RE.fullmatch(text) or is_docker_digest(text):
        return "digest"
    return None if split_reference(text) is None else "named"


def answer(text: str) -> dict[str, Any]:
    """Return our answer for `text`, in the columns of the vectors."""
    row: dict[str, Any] = dict.fromkeys(("canonical", "domain", "path", "tag", "digest", "familiar"))
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return row | {"input": text, "valid": False, "any_kind": any_kind(text)}
    row |= {column: getattr(reference, column) for column in row}
    return row | {"input": text, "valid": True, "any_kind": any_kind(text)}


def expected(row: dict[str, Any]) -> dict[str, Any]:
    return {column: value for column, value in row.items() if column != "error"}


@pytest.mark.parametrize("row", own_vectors("reference.json"), ids=lambda row: row["input"][:40])
def test_agrees_with_distribution_reference(row: dict[str, Any]) -> None:
    """Every column of a vector is the answer of the library."""
    assert answer(row["input"]) == expected(row)


def test_agrees_with_every_shared_vector() -> None:
    """The full set, all columns."""
    rows = shared_vectors("reference.json")
    assert [row["input"] for row in rows if answer(row["input"]) != expected(row)] == []


def test_own_vectors_are_shared_ones() -> None:
    """Every row of the small set is a row of the full set."""
    for name in ("reference.json", "digest.json", "refname.json"):
        shared = shared_vectors(name)
        for row in own_vectors(name):
            assert any(row.items() <= other.items() for other in shared), row


def test_the_oracle_agrees_with_every_own_vector() -> None:
    """The regular expressions with which these tests compare are right themselves."""
    for row in own_vectors("reference.json"):
        parts = (row["domain"], row["path"], row["tag"], row["digest"]) if row["valid"] else None
        assert oracle(row["input"]) == parts, row["input"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        # A domain that is only valid as part of a path: the library's Domain() is "", and Path() is everything.
        ("my_host.com/alpine", ("", "my_host.com/alpine", None, None)),
        ("my_host.com/alpine:3.16", ("", "my_host.com/alpine", "3.16", None)),
        ("my__host.com/a/b", ("", "my__host.com/a/b", None, None)),
        ("my_host.com:5000/alpine", None),
        ("My_host.com/alpine", None),
        # The limit of 255 characters counts the path with library/ and without the domain.
        (f"a.b/{'x' * 255}", ("a.b", "x" * 255, None, None)),
        (f"a.b/{'x' * 256}", None),
        (f"{'d' * 300}.b/{'x' * 255}", (f"{'d' * 300}.b", "x" * 255, None, None)),
        ("x" * 247, ("docker.io", f"library/{'x' * 247}", None, None)),
        ("x" * 248, None),
        (f"docker.io/{'x' * 248}", None),
        (f"u/{'x' * 253}", ("docker.io", f"u/{'x' * 253}", None, None)),
        (f"u/{'x' * 254}", None),
        (f"my_host.com/{'x' * 243}", ("", f"my_host.com/{'x' * 243}", None, None)),
        (f"my_host.com/{'x' * 244}", None),
        # The limit of 128 characters for a tag.
        (f"a:{'T' * 128}", ("docker.io", "library/a", "T" * 128, None)),
        (f"a:{'T' * 129}", None),
        ("a:_", ("docker.io", "library/a", "_", None)),
        ("a:.b", None),
        ("a:-b", None),
        ("a:", None),
        ("a:b:c", None),
        ("a:b/c", None),
        ("a.b/c:d/e", None),
        # Digests, of exact length and in lower case.
        (f"a@sha384:{'c' * 96}", ("docker.io", "library/a", None, f"sha384:{'c' * 96}")),
        (f"a@sha384:{'c' * 95}", None),
        (f"a@{DIGEST.upper()}", None),
        (f"a@blake3:{'a' * 64}", None),
        (f"a@{DIGEST}@{DIGEST}", None),
        (f"a@{DIGEST}:t", None),
        ("a@", None),
        (DIGEST, ("docker.io", "library/sha256", HEX, None)),
        # Identifiers are 64 digits and nothing else.
        (HEX, None),
        (f"{HEX}:a", ("docker.io", f"library/{HEX}", "a", None)),
        (f"library/{HEX}", ("docker.io", f"library/{HEX}", None, None)),
        (HEX[:63], ("docker.io", f"library/{HEX[:63]}", None, None)),
        # IPv6 addresses in brackets, of which the grammar checks little.
        ("[:]/a", ("[:]", "a", None, None)),
        ("[dead]/a", None),  # without a '.', ':' or capital it does not count as a domain
        ("[DEAD:]:1/a:b", ("[DEAD:]:1", "a", "b", None)),
        ("[]/a", None),
        ("[::1]:/a", None),
        ("[::1]]:5/a", None),
        ("[::1/a", None),
        ("x[::1]/a", None),
        # What Python's `$`, `\w` and `\d` would accept.
        ("alpine\n", None),
        ("alpine:3.16\n", None),
        ("alpine:\u0663", None),
        ("alp\u0131ne", None),
        ("a.b:\u0665\u0660/c", None),
        ("\u00e9.fr/a", None),
        ("\u212a.com/a", None),  # the Kelvin sign, whose lower case is an ASCII k
        (f"alpine@{DIGEST}\n", None),
        ("alpine\0", None),
        ("a\udc80", None),
    ],
)
def test_limits_and_corners(text: str, parts: Parts | None) -> None:
    """Limits just met and just exceeded. The vectors have none of these, so the oracle has to agree."""
    assert split_reference(text) == split_named(text) == oracle(text) == parts


def test_every_short_text_is_split_as_the_regular_expressions_do() -> None:
    """All texts of up to five characters, with one or two characters from each class of the grammar."""
    for length in range(6):
        for characters in product("aA0._-:/[]", repeat=length):
            text = "".join(characters)
            assert split_reference(text) == split_named(text) == oracle(text), text


DOMAINS = st.sampled_from(
    [
        "docker.io", "index.docker.io", "localhost", "localhost:5000", "ghcr.io", "a.b:1", "Upper", "UP.case:80", "x-y.z",
        "my_host.com", "a__b.c", "[::1]", "[fd00::1]:5000", "[DEAD::]", "[]", "[::g]", "[fe80::1%eth0]", "127.0.0.1:80",
        "-a.b", "a-.b", "a..b", ".a", "a.", "a.b:", "a.b:http", "a.b:\u0663", "b:5000", "host", "docker.io.",
    ]
)  # fmt: skip
COMPONENTS = st.one_of(
    st.sampled_from(
        ["alpine", "library", "a", "0", "my-app", "a--b", "a---b", "a_b", "a__b", "a___b", "a.b", "a..b", "a-_b", "a._b",
         "a_-b", "a__-b", "-a", "a-", "_a", "a.", "", "Upper", "localhost", "docker.io", "\u00e9", HEX, "x" * 120]
    ),
    st.text("ab0_.-", min_size=1, max_size=6),
)  # fmt: skip
TAGS = st.one_of(
    st.sampled_from(["latest", "3.16", "_", "A-b.c", "t" * 128, "t" * 129, "", ".a", "-a", "a:b", "a/b", "\u0663", "a+b"]),
    st.text("aA0_.-", min_size=1, max_size=4),
)  # fmt: skip
DIGESTS = st.sampled_from(
    [DIGEST, DIGEST.upper(), f"{DIGEST}0", DIGEST[:-1], f"sha512:{HEX * 2}", f"sha384:{HEX}{HEX[:32]}", f"sha384:{HEX}",
     f"md5:{HEX}", f"sha256+b64:{HEX}", "sha256:", HEX, "", f"SHA256:{HEX}", f"sha256:{HEX[:62]} 0"]
)  # fmt: skip


@st.composite
def near_misses(draw: st.DrawFn) -> str:
    """Draw references made of valid and invalid pieces, and corrupt them in up to two places."""
    text = "/".join(draw(st.lists(COMPONENTS, min_size=1, max_size=4)))
    if draw(st.booleans()):
        text = f"{draw(DOMAINS)}/{text}"
    if draw(st.booleans()):
        text = f"{text}:{draw(TAGS)}"
    if draw(st.integers(0, 3)) == 0:
        text = f"{text}@{draw(DIGESTS)}"
    for _ in range(draw(st.integers(0, 2))):
        position = draw(st.integers(0, len(text)))
        inserted = draw(
            st.sampled_from([*"aA0._-:/@[]\n \0", "__", "//", "::", "\u0663", "\u212a", "\u00e9", "\udc80", ""])
        )
        text = text[:position] + inserted + text[position + draw(st.integers(0, 1)) :]
    return text + draw(st.sampled_from(["", "", "", "", "\n", "\r\n", " ", "/", ":", "@", "\u0085"]))


@st.composite
def references(draw: st.DrawFn) -> str:
    """Draw valid references, in every spelling that normalisation handles."""
    domain = draw(st.sampled_from(["", "", *VALID_DOMAINS]))
    components = draw(st.lists(st.sampled_from(VALID_COMPONENTS), min_size=1, max_size=3))
    tag = draw(st.sampled_from(["", "", ":latest", ":3.16", ":_", ":A-b.c", f":{'t' * 128}"]))
    digest = draw(st.sampled_from(["", "", f"@{DIGEST}", f"@sha512:{HEX * 2}"]))
    return "/".join([domain, *components] if domain else components) + tag + digest


VALID_DOMAINS = ["docker.io", "index.docker.io", "localhost", "ghcr.io", "a.b:1", "Upper", "my_host.com", "[::1]:5000"]
VALID_COMPONENTS = [
    "alpine",
    "library",
    "a",
    "my-app",
    "a--b",
    "a_b",
    "a__b",
    "a.b",
    "localhost",
    "docker.io",
    f"{HEX}0",
]


@given(st.one_of(near_misses(), st.text(max_size=20), st.text("ab0A._-/:@[]\n", max_size=12)))
@settings(max_examples=examples(1500), deadline=None)
def test_splits_any_text_as_the_regular_expressions_do(text: str) -> None:
    """`split_reference` and the regular expressions of distribution/reference agree, above all on near misses.

    So does the way of ingest, which remembers repositories.
    """
    assert split_reference(text) == split_named(text) == oracle(text)


@given(st.one_of(DOMAINS, near_misses(), st.text("aA0.-:[]\n", max_size=8)))
@settings(deadline=None)
def test_domains_are_those_of_the_regular_expression(text: str) -> None:
    """`is_domain` is DomainRegexp over the whole text."""
    assert is_domain(text) == (DOMAIN_RE.fullmatch(text) is not None)


@given(st.one_of(TAGS, near_misses(), st.text(max_size=8)))
@settings(deadline=None)
def test_tags_are_those_of_the_regular_expression(text: str) -> None:
    """`is_tag` is anchoredTagRegexp, in ASCII."""
    assert is_tag(text) == (TAG_RE.fullmatch(text) is not None)


def test_ref_names_are_split_as_the_regular_expressions_do() -> None:
    """Legal and illegal values of `org.opencontainers.image.ref.name`, some of which are also Docker references."""
    for row in own_vectors("refname.json"):
        assert split_reference(row["refname"]) == split_named(row["refname"]) == oracle(row["refname"]), row["refname"]


@pytest.mark.parametrize("length", [63, 64, 65, 300, 301])
@pytest.mark.parametrize("end", ["", ":", ":1", ":1:2", f"@{DIGEST}", f":1@{DIGEST}", ":\n", ":-"])
def test_names_of_any_length_are_split_with_and_without_remembering(length: int, end: str) -> None:
    """64 hex digits are the id of an image, but not with a tag."""
    for name in ("a" * length, "g" * length, f"b.c/{'a' * (length - 4)}", f"[::1]:5000/{'a' * (length - 11)}"):
        assert split_named(name + end) == split_reference(name + end) == oracle(name + end)


@given(references())
@settings(deadline=None)
def test_the_canonical_name_is_a_fixed_point(text: str) -> None:
    """A canonical name parses to itself, with the same repository and digest, and always has a tag or a digest."""
    first = Reference.parse(text)
    again = Reference.parse(first.canonical)
    assert again.canonical == first.canonical
    assert (again.repository, again.digest) == (first.repository, first.digest)
    assert again.tag == (first.tag or (None if first.digest else "latest"))


@given(references())
@settings(deadline=None)
@example("docker.io/library/alpine:3.16")
@example(f"docker.io/{HEX}:3.16")
def test_the_familiar_name_parses_back_to_the_same_reference(text: str) -> None:
    """Except if the library's short form means another name: an identifier, or a user that looks like a domain."""
    reference = Reference.parse(text)
    familiar = reference.familiar
    first, slash, _ = repository_familiar(reference.domain, reference.path).partition("/")
    reads_as_domain = slash and (first == "localhost" or "." in first)
    assume(not (reference.domain == "docker.io" and reads_as_domain))
    assume(IDENTIFIER_RE.fullmatch(familiar) is None)
    assert Reference.parse(familiar) == reference
    assert len(familiar) <= len(reference.canonical)


def test_familiar_names_that_do_not_parse_back() -> None:
    """The two exceptions of the test above, as FamiliarString prints them."""
    assert Reference.parse("docker.io/localhost/app").familiar == "localhost/app"
    assert Reference.parse("localhost/app").domain == "localhost"
    assert Reference.parse(f"docker.io/{HEX}").familiar == HEX
    assert split_reference(HEX) is None


@given(st.one_of(references(), near_misses()))
@settings(deadline=None)
def test_a_repository_is_a_reference_with_neither_tag_nor_digest(text: str) -> None:
    """`split_repository` returns the first half of `split_reference` if the second half is empty."""
    parts = split_reference(text)
    bare = parts is not None and parts[2:] == (None, None)
    assert split_repository(text) == (parts[:2] if parts and bare else None)


@given(st.one_of(near_misses(), st.text(max_size=300)))
@settings(deadline=None)
def test_an_error_message_is_one_printable_line(text: str) -> None:
    """The message for an invalid text is printable and short, and gives advice after a colon."""
    assume(split_reference(text) is None)
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300
    assert ": " in message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "names no image"),
        (":3.16", "names no image"),
        ("[::1]:5000", "write a path after the address"),
        ("UPPER", "upper-case"),
        (HEX, "write sha256: in front of it"),
        ("a@sha256:abc", "no digest after '@'"),
        (f"a:{'t' * 129}", "invalid tag"),
        ("a b", "it contains ' '"),
        ("a\x1b[2J", r"it contains '\x1b'"),
        ("a_b.c:80/d", "invalid domain"),
        (f"a.b/{'x' * 256}", "more than 255 characters"),
        ("x" * 248, "more than 255 characters"),
        ("a" * 248, "more than 255 characters"),  # hex digits, but no image id
        ("G" * 64, "upper-case"),
        ("a//b", "each part between '/'"),
        ("v1+build.5", "it contains '+'"),
    ],
)
def test_an_error_message_says_what_is_wrong(text: str, part: str) -> None:
    """Each kind of mistake has its own message."""
    with pytest.raises(InvalidReference, match=re.escape(part)):
        Reference.parse(text)


@given(st.text(max_size=300))
def test_quoted_text_is_short_and_printable(text: str) -> None:
    """`quoted` returns no control characters and at most about a line. Short text stays whole."""
    shown = quoted(text)
    assert shown.isprintable()
    assert len(shown) <= 120
    if len(text) < 50 and text.isalnum() and text.isprintable():
        assert text in shown


def test_quoted_text_is_whole_up_to_a_hundred_characters() -> None:
    assert quoted("a" * 100) == f"'{'a' * 100}'"
    assert quoted("a" * 101) == f"'{'a' * 99}..."


@pytest.mark.parametrize(
    "piece", ["a", "a/", "a.", "a-", "-", "_", ".", ":", "@", "[", "]", "A", "0", "\u00e9", "a:", "a@"]
)
@pytest.mark.parametrize("frame", ["{}", "{}a", "a.b/{}", "a:{}", "a@{}", "a@sha256:{}", "{}.b/a:t"])
def test_megabytes_are_parsed_in_linear_time(piece: str, frame: str) -> None:
    """Two megabytes of any repeated piece are split, or refused with a short message. A quadratic parser would hang."""
    text = frame.format(piece * (2_000_000 // len(piece)))
    if split_reference(text) is None:
        with pytest.raises(InvalidReference) as caught:
            Reference.parse(text)
        assert len(str(caught.value)) < 300
    else:
        assert frame == "{}.b/a:t"  # only the length of a domain is not limited by the grammar


def test_equality_compares_normalised_parts() -> None:
    """The spelling does not matter. A missing tag does not equal the tag `latest`."""
    short, full = Reference.parse("alpine:3.16"), Reference.parse("index.docker.io/alpine:3.16")
    assert short == full
    assert hash(short) == hash(full)
    assert {short: 1}[full] == 1
    assert short != Reference.parse("alpine:3.17")
    assert Reference.parse("alpine") != Reference.parse("alpine:latest")
    assert Reference.parse("alpine").canonical == Reference.parse("alpine:latest").canonical
    assert short != "alpine:3.16"
    assert (short.text, repr(short)) == ("alpine:3.16", "Reference('alpine:3.16')")
    assert not hasattr(short, "__dict__")


@pytest.mark.parametrize("module", ["digest", "reference", "platform"])
def test_importing_loads_nothing_from_the_standard_library(module: str) -> None:
    """A question is answered without further imports: nothing is loaded that a bare interpreter has not loaded already."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules); "
        f"import catalog.names.{module}; print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(PROJECT)], capture_output=True, text=True, check=True
    )
    loaded = {name for name in run.stdout.split() if name.partition(".")[0] != "catalog"}
    assert loaded <= {"__future__"}
    ours = {name for name in run.stdout.split() if name.startswith("catalog.names.")}
    assert ours <= {"catalog.names.digest", "catalog.names.reference", f"catalog.names.{module}"}
