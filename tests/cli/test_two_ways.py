"""A command line gives the same output and exit status whether click reads it or not."""

from __future__ import annotations

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from catalog.cli import start
from tests.cli.conftest import NASTY, Shelf
from tests.cli.program import by_click, called, ran
from tests.effort import examples

REFS = (
    "ctr:3.16", "busybox:3.16", "busybox", "hurt:3.17", "alpine", "nope", ":3.16", ":latest", ":nope", "3.16", "UPPER", "",
    "-", "ctr:3.*", "*:latest", "[", "a b", "sha256:abcdef", "@sha256:abcdef", "sha256:ab", "oci-layout://images/ctr:3.16",
    "oci-layout://images/multi", "oci-layout://nope", "oci:nope", "ocidir://x", NASTY, "\udcff", "query", "resolve", "--",
    "bytes:1", "multi:1",
)  # fmt: skip
OPTIONS = (
    ("--first",), ("--strict",), ("--store", "solo"), ("--store", "images/*"), ("--store=images/ctr",), ("--store", "nope"),
    ("--store=",), ("--store",), ("--format", "tsv"), ("--format", "json"), ("--format=jsonl",), ("--format", "csv"),
    ("--format", "table"), ("--format", "oci-layout"), ("--format", "{store} {digest}"), ("--format={reference}",),
    ("--format", "bogus"), ("--format", ""), ("--format=",), ("--format",), ("--format", "-"),
    ("--platform", "linux/amd64"), ("--platform=arm64",), ("--platform", "x/y/z/w"), ("--platform=",), ("--platform",),
    ("--at", "2999-01-01"), ("--at=2020-01-01",), ("--at", "@0"), ("--at", "whenever"), ("--at=",), ("--quiet",), ("-q",),
    ("--timeout", "600"), ("--timeout=1e300",), ("--timeout", "nan"), ("--timeout", "0"), ("--timeout=",), ("--timeout",),
)  # fmt: skip
OF_QUERY = (
    ("--tag", "3.16"), ("--tag=3.*",), ("--tag", "nope"), ("--tag", "["), ("--tag=",), ("--count",), ("--limit", "2"), ("--limit=0",),
    ("--limit", "-1"), ("--limit", "x"), ("--limit= 1",), ("--limit", "99999999999"), ("--limit=",), ("--limit",), ("--count=1",),
)  # fmt: skip
NEAR_MISSES = (
    ("--first=1",), ("--firs",), ("--strict", "--first"), ("-f",), ("--help",), ("--version",), ("--quiet=1",), ("-qv",),
    ("--unnamed",), ("--sort", "digest"), ("--db",), ("--db", ""), ("--db=",), ("--db", "/nowhere"),
    ("--db=sqlite://x",), ("--verbose",), ("--config", "/nowhere"), ("--bogus",), ("---",),
    ("--=x",), ("-",), ("--store", "--first"), ("--store", "-"), ("--fresh",), ("--check",), ("--quiet",),
)  # fmt: skip

plain_words = st.one_of(st.sampled_from(REFS).map(lambda ref: (ref,)), st.sampled_from(OPTIONS))
words = {
    "query": st.one_of(plain_words, plain_words, st.sampled_from(OF_QUERY), st.sampled_from(NEAR_MISSES)),
    "resolve": st.one_of(plain_words, plain_words, st.sampled_from(NEAR_MISSES)),
    "status": st.one_of(st.sampled_from(OPTIONS), st.sampled_from(OPTIONS), st.sampled_from(NEAR_MISSES)),
}
VARIABLES = st.sampled_from(
    (
        *({} for _ in range(6)), {"OCICAT_QUIET": "1"}, {"OCICAT_QUIET": "no"}, {"OCICAT_QUIET": ""}, {"OCICAT_QUIET": "maybe"},
        {"OCICAT_QUERY_FORMAT": "json", "OCICAT_RESOLVE_FORMAT": "csv"}, {"OCICAT_QUERY_FORMAT": "", "OCICAT_STATUS_FORMAT": "jsonl"},
        {"OCICAT_RESOLVE_FORMAT": "bogus"}, {"OCICAT_QUERY_LIMIT": "1"}, {"OCICAT_HOST": "a"}, {"OCICAT_SOCKET": ""},
    )
)  # fmt: skip


def flat(pieces: list[tuple[str, ...]]) -> list[str]:
    return [word for piece in pieces for word in piece]


@st.composite
def arguments(draw: st.DrawFn) -> list[str]:
    before = draw(st.lists(st.sampled_from(NEAR_MISSES), max_size=1)) if draw(st.booleans()) else []
    command = draw(st.sampled_from(("query", "query", "resolve", "resolve", "status")))
    return [*flat(before), command, *flat(draw(st.lists(words[command], max_size=5)))]


@settings(max_examples=examples(250))
@given(arguments(), st.sampled_from((b"", b"ctr:3.16\nnope\n\nUPPER\nbusybox", b"\xff\n:3.17\r\n")), VARIABLES)
@example(["query"], b"", {})
@example(["resolve"], b"", {})
@example(["query", "-"], b"ctr:3.16", {})
@example(["resolve", "-", "-"], b"ctr:3.16", {})
@example(["resolve", "ctr:3.16", "--store", "a", "--store", "b"], b"", {})
@example(["resolve", "ctr:3.16", "--format", "json", "--format", "tsv"], b"", {})
@example(["resolve", "multi:1", "--platform", "arm64", "--at", "now"], b"", {})
@example(["query", "ctr:3.16", "--platform", "arm64", "--at", "now"], b"", {})
@example(["query", "hurt:3.17", "--tag", "3.17", "--count", "--quiet", "--limit", "1"], b"", {})
@example(["query", "ctr:3.16", "--json"], b"", {"OCICAT_QUERY_FORMAT": "csv"})
@example(["resolve", "ctr:3.16", "--fresh"], b"", {})
@example(["query", "--fresh", "--platform", "arm64", "--count"], b"", {})
@example(["status", "--check"], b"", {})
@example(["status", "--check", "--quiet"], b"", {"OCICAT_STATUS_FORMAT": "json"})
@example(["query", "--db"], b"", {})
def test_with_and_without_click_the_output_is_the_same(
    shelf: Shelf, words: list[str], stdin: bytes, variables: dict[str, str]
) -> None:
    event("plain" if start.plain(words) is not None else "click")
    plain = called(*words, db=shelf.db, stdin=stdin, env=variables)
    click = called(*words, db=shelf.db, stdin=stdin, env=variables, run=by_click)
    assert plain == click


PLAIN = (
    ["query"], ["query", "ctr:3.16"], ["query", "-"], ["resolve", "ctr:3.16"], ["resolve", "-"], ["resolve", "a", "b", "--first"],
    ["resolve", "--strict", "ctr:3.16", "--store", "images/ctr", "--format=json"], ["query", "--format", "table", ":3.16"],
    ["resolve", "x", "--timeout", "0.5"], ["query", "--timeout=600"], ["--quiet", "query"], ["query", "x", "--count", "-q"],
    ["query", "--limit", "1"], ["query", "--tag", "3.*", "--platform=amd64"], ["resolve", "x", "--at", "1h", "--platform", "amd64"],
    ["status"], ["status", "--check", "--json"],
)  # fmt: skip
CLICK: tuple[list[str], ...] = (
    [], ["resolve"], ["--help"], ["--version"], ["stores"], ["query", "--help"], ["query", "--limit", "x"], ["query", "--", "x"],
    ["query", "--store"], ["query", "--store", "--first"], ["query", "--first"], ["resolve", "x", "--bogus"], ["--verbose", "query"],
    ["resolve", "x", "--first=1"], ["resolve", "x", "--count"], ["db", "path"], ["status", "x"], ["query", "--check"],
    ["resolve", "x", "--timeout", "nan"], ["query", "--timeout", "1e9"], ["resolve", "x", "--timeout=0"], ["query", "--timeout", "x"],
)  # fmt: skip


@pytest.mark.parametrize("words", PLAIN)
def test_these_are_plain(words: list[str]) -> None:
    assert start.plain(words) is not None


@pytest.mark.parametrize("words", CLICK)
def test_these_are_left_to_click(words: list[str]) -> None:
    assert start.plain(words) is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OCICAT_QUERY_LIMIT", "1"),
        ("OCICAT_X", ""),
        ("OCICAT_QUIET", "maybe"),
        ("OCICAT_DEBUG", "yes"),
        ("OCICAT_CHECK_FORMAT", "csv"),
    ],
)
def test_with_an_option_in_a_variable_click_reads_them(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert start.plain(["query"]) is None


@pytest.mark.parametrize(
    "words", [["query", ":3.16"], ["resolve", "ctr:3.16", "nope", "busybox:3.16"], ["resolve", "hurt:3.16"]]
)
def test_the_output_is_the_same_in_separate_processes(shelf: Shelf, words: list[str]) -> None:
    assert ran(*words, db=shelf.db) == ran(*words, db=shelf.db, env={"OCICAT_X": "1"})
