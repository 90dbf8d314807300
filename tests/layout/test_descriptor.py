"""Descriptors: what is kept, what is reported as unusable, and what a fingerprint depends on."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.layout.descriptor import (
    IMAGE_NAME,
    REF_NAME,
    Descriptor,
    FlawedDescriptor,
    Platform,
    decode,
    decode_tolerant,
)
from catalog.layout.text import clean, loads, mend, shorten
from catalog.layout.text import decode as decode_text

DIGEST = "sha256:" + "0123456789abcdef" * 4
FULL: dict[str, Any] = {
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "digest": DIGEST,
    "size": 1234,
    "artifactType": "application/x",
    "platform": {"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1"},
    "annotations": {REF_NAME: "3.16", IMAGE_NAME: "docker.io/library/alpine:3.16", "other": "ä"},
    "urls": ["https://example.com"],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def element(**fields: Any) -> bytes:
    return json.dumps({"digest": DIGEST, **fields}).encode()


def usable(raw: bytes) -> Descriptor:
    found = decode(raw)
    assert isinstance(found, Descriptor), found
    return found


def test_a_descriptor_keeps_what_the_catalog_needs() -> None:
    found = usable(json.dumps(FULL).encode())
    assert found == Descriptor(
        DIGEST, FULL["mediaType"], 1234, "application/x", Platform("linux", "arm", "v7", "1"), FULL["annotations"]
    )
    assert found.flaws == ()
    assert (found.ref_name, found.image_name) == ("3.16", "docker.io/library/alpine:3.16")
    assert found.other_annotations == {"other": "ä"}
    assert found.platform_text == "linux(1)/arm/v7"


def test_only_the_digest_is_required() -> None:
    found = usable(element())
    assert found == Descriptor(DIGEST, "", None, None, None, None)
    assert (found.ref_name, found.image_name, found.other_annotations, found.platform_text) == (None, None, {}, None)


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        ({"os": "linux", "architecture": "amd64"}, "linux/amd64"),
        ({"os": "linux", "architecture": "amd64", "variant": ""}, "linux/amd64"),
        ({"os": "Linux", "architecture": "X86_64", "variant": "v3"}, "linux/amd64/v3"),
        ({"os": "linux"}, None),
        ({"architecture": "amd64"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_platform_is_normalised(platform: Any, text: str | None) -> None:
    assert usable(element(platform=platform)).platform_text == text


@pytest.mark.parametrize(
    ("fields", "kept", "flaws"),
    [
        ({"size": "12"}, {}, ["size is a string"]),
        ({"size": True}, {}, ["size is a boolean"]),
        ({"size": 1.5}, {}, ["size is not an integer"]),
        ({"size": -1}, {}, ["size is negative"]),
        ({"size": 2**63}, {}, ["size does not fit in an int64"]),
        ({"size": 10**4000}, {}, ["size does not fit in an int64"]),
        ({"size": 2**63 - 1}, {"size": 2**63 - 1}, []),
        ({"size": None}, {}, []),
        ({"mediaType": 1}, {}, ["mediaType is a number, not a string"]),
        ({"mediaType": None, "artifactType": None}, {}, []),
        ({"artifactType": []}, {}, ["artifactType is an array, not a string"]),
        ({"platform": "linux/amd64"}, {}, ["platform is a string, not an object"]),
        ({"platform": {"os": 1, "variant": "v8"}}, {"platform": Platform(variant="v8")}, ["platform.os is a number, not a string"]),
        ({"annotations": []}, {}, ["annotations is an array, not an object"]),
        ({"annotations": None}, {}, []),
        (
            {"annotations": {"a": 1, "b": "x", "c": None}},
            {"annotations": {"b": "x"}},
            ["annotation 'a' is a number, not a string", "annotation 'c' is null, not a string"],
        ),
    ],
)  # fmt: skip
def test_a_part_of_the_wrong_type_is_dropped_and_reported(fields: Any, kept: dict[str, Any], flaws: list[str]) -> None:
    found = usable(element(**fields))
    assert found.flaws == tuple(flaws)
    assert {name: getattr(found, name) for name in ("digest", "media_type", "size", "artifact_type", "platform")} == {
        "digest": DIGEST,
        "media_type": kept.get("media_type", ""),
        "size": kept.get("size"),
        "artifact_type": None,
        "platform": kept.get("platform"),
    }
    assert found.annotations == kept.get("annotations")
    assert isinstance(found, FlawedDescriptor) == bool(flaws)


def test_a_size_with_more_digits_than_python_converts_is_a_flaw() -> None:
    assert usable(b'{"digest": "%s", "size": %s}' % (DIGEST.encode(), b"9" * 5000)).flaws == (
        "size does not fit in an int64",
    )


def test_flaws_are_few_and_short() -> None:
    found = usable(element(annotations={f"{i}{'k' * 500}": i for i in range(500)}))
    assert len(found.flaws) == 11
    assert found.flaws[-1] == "490 more parts are unusable"
    assert max(map(len, found.flaws)) <= 200


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"[]", "an array, not an object"),
        (b"7", "a number, not an object"),
        (b'"x"', "a string, not an object"),
        (b"null", "null, not an object"),
        (b"true", "a boolean, not an object"),
        (b"{}", "no digest"),
        (b'{"Digest": "x"}', "digest 'x' is not valid"),
        (b'{"digest": null}', "no digest"),
        (b'{"digest": 1}', "digest is a number, not a string"),
        (b'{"digest": ""}', "digest '' is not valid"),
        (b'{"digest": "sha256:../../../etc/passwd"}', "digest 'sha256:../../../etc/passwd' is not valid"),
        (b'{"digest": "sha256:%s"}' % (b"A" * 64), f"digest 'sha256:{'A' * 64}' is not valid"),
        (b'{"digest": "sha256:%s\\n"}' % (b"a" * 64), "digest 'sha256:" + "a" * 64 + "\\n' is not valid"),
        (b'{"digest": "a:%s"}' % (b"b" * 5000), "digest of 5002 characters, more than 1024"),
    ],
)
def test_an_element_without_a_usable_digest_is_refused_with_a_reason(raw: bytes, reason: str) -> None:
    assert decode(raw) == reason
    assert decode_tolerant(raw) == reason


@pytest.mark.parametrize("raw", [b"", b"{", b'{"digest": NaN}', b'{"digest"', b"nonsense", b"\xff", b'{"a":"\x00"}'])
def test_malformed_json_is_refused_with_a_reason(raw: bytes) -> None:
    assert isinstance(decode_tolerant(raw), str)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_absurd_nesting_is_refused_without_a_recursion_error(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    raw = b'{"digest": "%s", "x": %s1%s}' % (DIGEST.encode(), opening * 200_000, closing * 200_000)
    assert decode(raw) == decode_tolerant(raw) == "not JSON: nested too deep"


@pytest.mark.parametrize(
    "digest", ["sha512:" + "a" * 128, "a:b", "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564"]
)
def test_every_digest_of_the_image_spec_is_accepted(digest: str) -> None:
    assert usable(element(digest=digest)).digest == digest


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (rb"\ud800", "\ufffd"),
        (rb"\udc00", "\ufffd"),
        (rb"\uD83D\uDE00", "😀"),
        (rb"\ud83d\ud83d\ude00", "\ufffd😀"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (rb"\ud800\u0041", "\ufffdA"),
        (rb"\\ud800", r"\ud800"),
        (rb"\\\ud800", "\\\ufffd"),
        (rb"\u0000", "\ufffd"),
        (rb"\\u0000", r"\u0000"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\xe2\x82z", "a\ufffd\ufffdz"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"),
        (b"\xc0\x80", "\ufffd\ufffd"),
        ("\x7fä\u2028\ufffe".encode(), "\x7fä\u2028\ufffe"),
        (rb"\u001b[31m", "\x1b[31m"),
    ],
)
def test_text_is_replaced_as_in_go(value: bytes, text: str) -> None:
    raw = b'{"digest": "%s", "annotations": {"%s": "%s"}}' % (DIGEST.encode(), value, value)
    assert usable(raw).annotations == {text: text}
    assert usable(raw).flaws == ()
    assert usable(mend(raw)) == usable(raw)
    assert len(mend(raw)) == len(raw)


@given(st.binary(max_size=40))
def test_each_byte_that_is_not_utf8_becomes_one_replacement(raw: bytes) -> None:
    text = decode_text(raw)
    rest, at = b"", 0
    while at < len(raw):  # as in Go: decode a rune, or replace one byte
        for size in (1, 2, 3, 4):
            try:
                raw[at : at + size].decode()
            except UnicodeDecodeError:
                continue
            rest, at = rest + raw[at : at + size], at + size
            break
        else:
            rest, at = rest + "\ufffd".encode(), at + 1
    assert text.encode() == rest


@given(st.text(st.characters()))
def test_clean_text_can_be_stored(text: str) -> None:
    found = clean(text)
    assert "\0" not in found
    assert found.encode().decode() == found
    assert clean(found) == found
    assert len(found) == len(text)
    assert len(shorten(text, 5)) <= 5


def test_the_last_of_equal_keys_counts() -> None:
    raw = (
        b'{"digest": "x", "size": 1, "digest": "%s", "size": 2, "annotations": {"a": "1", "a": "2"}}' % DIGEST.encode()
    )
    expected = Descriptor(DIGEST, "", 2, None, None, {"a": "2"})
    assert usable(raw) == expected
    assert decode_tolerant(raw) == expected


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FULL, JSON) | {"extra": JSON}), st.booleans())
def test_both_decoders_agree_on_any_element(fields: dict[str, Any], has_digest: bool) -> None:
    raw = json.dumps(fields | ({"digest": DIGEST} if has_digest else {})).encode()
    assert decode(raw) == decode_tolerant(raw)


def test_a_fingerprint_depends_only_on_the_meaning() -> None:
    plain = json.dumps(FULL)
    others = [
        json.dumps(FULL, indent=3),
        json.dumps(dict(reversed(FULL.items()))),
        json.dumps(FULL, ensure_ascii=False),
        json.dumps({**FULL, "annotations": dict(sorted(FULL["annotations"].items(), reverse=True))}),
        plain.replace("application/x", r"application\/\u0078"),
        json.dumps({**FULL, "urls": [], "unknown": "aGVsbG8="}),
    ]
    assert {usable(text.encode()).fingerprint() for text in others} == {usable(plain.encode()).fingerprint()}


def test_a_fingerprint_depends_on_every_field_and_every_flaw() -> None:
    variants: list[dict[str, Any]] = [
        FULL,
        {**FULL, "digest": "sha256:" + "f" * 64},
        {**FULL, "mediaType": "x"},
        {**FULL, "size": 1235},
        {**FULL, "size": None},
        {**FULL, "size": "1234"},
        {**FULL, "size": -1},
        {**FULL, "artifactType": ""},
        {**FULL, "data": "aGVsbG8="},
        {**FULL, "artifactType": None},
        {**FULL, "platform": {"os": "linux", "architecture": "arm"}},
        {**FULL, "platform": {"os": "linux", "architecture": "arm", "os.version": "1"}},
        {**FULL, "platform": {"os": "linux", "architecture": "arm", "os.features": ["a"]}},
        {**FULL, "annotations": {}},
        {**FULL, "annotations": {REF_NAME: "3.17"}},
        {**FULL, "annotations": {REF_NAME: "3.17", "a": 1}},
    ]
    prints = [usable(json.dumps(variant).encode()).fingerprint() for variant in variants]
    assert len(set(prints)) == len(variants)
    assert {len(value) for value in prints} == {16}  # a collision of 64 bits can be found in minutes


def test_a_fingerprint_is_the_same_in_every_process_and_version() -> None:
    """Catalogs contain these bytes. If they changed, every entry of every store would be written again."""
    raw = json.dumps(FULL)
    code = "import sys; from catalog.layout.descriptor import decode; print(decode(sys.argv[1].encode()).fingerprint().hex())"
    seen = subprocess.run([sys.executable, "-c", code, raw], capture_output=True, check=True, text=True, timeout=60)
    assert seen.stdout.strip() == usable(raw.encode()).fingerprint().hex() == "a90e6dec91beed59da6402852c235832"
    assert usable(element()).fingerprint().hex() == "4dc82b17765d92e182b820734560b290"
    assert usable(element(size=-1)).fingerprint().hex() == "4fdaf9db7cca57f500b40fd266ed521b"


@pytest.mark.parametrize("raw", [b"NaN", b"-Infinity", b"[1,]", b"01", b"'a'", b"\xef\xbb\xbf1", b"1 2", b""])
def test_the_lenient_reader_accepts_only_json(raw: bytes) -> None:
    with pytest.raises(ValueError):
        loads(raw)
