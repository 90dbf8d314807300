"""Digests: the grammars of the image-spec and go-digest, and that a digest never leads out of `blobs`."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.names.digest import HEX_LENGTHS, is_digest, is_docker_digest, is_hex
from tests.effort import examples

from . import own_vectors, shared_vectors

# descriptor.md, "Digests" and "Registered algorithms". go-digest's sha384 needs its exact length too.
GRAMMAR = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)", re.ASCII)
EXACT = {"sha256": 64, "sha384": 96, "sha512": 128, "blake3": 64}


def oracle(text: str) -> bool:
    match = GRAMMAR.fullmatch(text)
    if match is None:
        return False
    algorithm, encoded = match.groups()
    return algorithm not in EXACT or re.fullmatch(f"[a-f0-9]{{{EXACT[algorithm]}}}", encoded, re.ASCII) is not None


@pytest.mark.parametrize("row", own_vectors("digest.json"), ids=lambda row: row["input"][:40])
def test_agrees_with_both_grammars(row: dict[str, Any]) -> None:
    """Each vector has the answers of go-digest and of the image-spec's grammar."""
    assert is_digest(row["input"]) == row["image_spec_valid"]
    assert is_docker_digest(row["input"]) == row["go_digest_valid"]


def test_agrees_with_every_shared_vector() -> None:
    """The full set, both columns."""
    for row in shared_vectors("digest.json"):
        said = (is_digest(row["input"]), is_docker_digest(row["input"]))
        assert said == (row["image_spec_valid"], row["go_digest_valid"]), row["input"]


ALGORITHMS = st.one_of(
    st.sampled_from(
        [*EXACT, "md5", "sha256+b64", "multihash+base58", "SHA256", "a--b", "+a", "a+", "..", ".", "", "a/b"]
    ),
    st.text("aA0+._-", max_size=5),
)
ENCODED = st.one_of(
    st.sampled_from(["../../x", "..", ".", "", "a/b", "=", "x\n", "\u0663", "a" * 64 + "\n", "a" * 62 + " \n", "0x" + "a" * 62]),
    st.builds(
        lambda character, length: character * length,
        st.sampled_from("a0AgZ=_-. \u0663"),
        st.sampled_from([63, 64, 65, 96, 128]),
    ),
    st.text("aAg0=_-./\\\0\n", max_size=5),
)  # fmt: skip
TEXTS = st.one_of(st.builds(lambda *parts: ":".join(parts), ALGORITHMS, ENCODED), st.text(max_size=12))


@given(TEXTS)
@settings(max_examples=examples(500), deadline=None)
def test_agrees_with_the_regular_expression(text: str) -> None:
    """`is_digest` and the image-spec's grammar as a regular expression agree on every text."""
    assert is_digest(text) == oracle(text)


@given(TEXTS)
@settings(max_examples=examples(500), deadline=None)
def test_a_digest_cannot_leave_its_directory(text: str) -> None:
    """`blobs/ALGORITHM/ENCODED` is exactly two levels below `blobs`, whatever the layout says."""
    if is_digest(text):
        path = os.path.join("/layout/blobs", *text.split(":"))
        assert os.path.normpath(path) == path
        assert path.count("/") == 4
        assert path.isprintable()
        assert path.isascii()


@given(TEXTS)
@settings(deadline=None)
def test_docker_digests_are_image_spec_digests(text: str) -> None:
    """The image-spec accepts every digest that go-digest accepts."""
    assert is_digest(text) or not is_docker_digest(text)


@pytest.mark.parametrize("algorithm", HEX_LENGTHS)
def test_exact_lengths(algorithm: str) -> None:
    """Neither grammar accepts one digit more or less, a capital, or a letter after f."""
    encoded = "e5" * (HEX_LENGTHS[algorithm] // 2)
    assert is_digest(f"{algorithm}:{encoded}")
    assert is_docker_digest(f"{algorithm}:{encoded}")
    for wrong in (
        encoded[1:],
        f"{encoded}0",
        encoded.upper(),
        f"{encoded[:-1]}g",
        f"{encoded}\n",
        f"{encoded[:-2]}\n0",
        "",
    ):
        assert not is_digest(f"{algorithm}:{wrong}")
        assert not is_docker_digest(f"{algorithm}:{wrong}")


@given(st.one_of(st.text("09afAFg \n", max_size=6), st.text(max_size=6)))
def test_hex_is_pairs_of_lower_case_digits(text: str) -> None:
    """`is_hex` matches `([0-9a-f]{2})*`, although it uses `bytes.fromhex`, which skips spaces."""
    assert is_hex(text) == (re.fullmatch(r"(?:[0-9a-f]{2})*", text, re.ASCII) is not None)


@pytest.mark.parametrize(
    "text", ["a" * 2_000_000, "a:" * 1_000_000, f"sha256:{'a' * 2_000_000}", "a." * 1_000_000 + "a:b"]
)
def test_megabytes_are_parsed_in_linear_time(text: str) -> None:
    """A quadratic check would hang."""
    assert is_digest(text) == text.endswith("a:b")
    assert not is_docker_digest(text)
