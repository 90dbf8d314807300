"""Parsing of queries: the tables of docs/resolution.md, buildx's own parser, and arbitrary text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog.errors import InvalidReference
from catalog.names import query as kinds
from catalog.names.query import Query, parse_digest, parse_query
from catalog.names.reference import split_reference

from . import shared_vectors

H = "e58fcf7418d4390dec8e8fb69d88c06ec07039d651fedd3aa72af9972e7d046b"
D = f"sha256:{H}"
ALPINE = "docker.io/library/alpine"


def parts(query: Query) -> tuple[str, str | None, str | None, str | None, str | None]:
    return query.kind, query.place, query.repository, query.tag, query.digest


@pytest.mark.parametrize(
    ("text", "kind", "place", "repository", "tag", "digest"),
    [
        # names
        ("alpine", kinds.NAME, None, ALPINE, "latest", None),
        ("alpine:3.16", kinds.NAME, None, ALPINE, "3.16", None),
        ("library/alpine:3.16", kinds.NAME, None, ALPINE, "3.16", None),
        ("docker.io/library/alpine:3.16", kinds.NAME, None, ALPINE, "3.16", None),
        ("index.docker.io/alpine", kinds.NAME, None, ALPINE, "latest", None),
        ("3.16", kinds.NAME, None, "docker.io/library/3.16", "latest", None),
        ("[::1]:5000/app", kinds.NAME, None, "[::1]:5000/app", "latest", None),
        ("my_host.com/alpine", kinds.NAME, None, "my_host.com/alpine", "latest", None),
        ("sha256:xyz", kinds.NAME, None, "docker.io/library/sha256", "xyz", None),
        ("sha1:abcdef12", kinds.NAME, None, "docker.io/library/sha1", "abcdef12", None),
        ("oci", kinds.NAME, None, "docker.io/library/oci", "latest", None),
        ("ocidir:1", kinds.NAME, None, "docker.io/library/ocidir", "1", None),
        ("oci-layout", kinds.NAME, None, "docker.io/library/oci-layout", "latest", None),
        ("sha256:123456/app", kinds.NAME, None, "sha256:123456/app", "latest", None),
        # partial tags
        (":3.16", kinds.TAG, None, None, "3.16", None),
        (":v1+build.5", kinds.TAG, None, None, "v1+build.5", None),
        (":docker.io/library/alpine:3.16", kinds.TAG, None, None, "docker.io/library/alpine:3.16", None),
        ("::", kinds.TAG, None, None, ":", None),
        (":@", kinds.TAG, None, None, "@", None),
        (": ", kinds.TAG, None, None, " ", None),
        (":a\0b", kinds.TAG, None, None, "a\ufffdb", None),
        (":\udce2\udc82", kinds.TAG, None, None, "\ufffd\ufffd", None),
        (":\ud800", kinds.TAG, None, None, "\ufffd", None),
        (":3.*", kinds.TAG_PATTERN, None, None, "3.*", None),
        (":[a:b]", kinds.TAG_PATTERN, None, None, "[a:b]", None),
        # digests under a name
        (f"alpine@{D}", kinds.NAME_DIGEST, None, ALPINE, None, D),
        (f"alpine:3.16@{D}", kinds.NAME_DIGEST, None, ALPINE, "3.16", D),
        # digests
        (D, kinds.DIGEST, None, None, None, D),
        (f"@{D}", kinds.DIGEST, None, None, None, D),
        (H, kinds.DIGEST, None, None, None, D),
        (f"sha384:{'a' * 96}", kinds.DIGEST, None, None, None, f"sha384:{'a' * 96}"),
        (f"@sha512:{'a' * 128}", kinds.DIGEST, None, None, None, f"sha512:{'a' * 128}"),
        ("sha256:abc123", kinds.DIGEST_PREFIX, None, None, None, "sha256:abc123"),
        ("@sha256:abc123", kinds.DIGEST_PREFIX, None, None, None, "sha256:abc123"),
        (f"sha512:{H}", kinds.DIGEST_PREFIX, None, None, None, f"sha512:{H}"),
        (f"{D}0", kinds.DIGEST_PREFIX, None, None, None, f"{D}0"),  # finds nothing
        # patterns
        ("alpine:3.*", kinds.PATTERN, None, None, None, None),
        ("*", kinds.PATTERN, None, None, None, None),
        ("@*", kinds.PATTERN, None, None, None, None),
        ("sha256:abc123*", kinds.PATTERN, None, None, None, None),
        ("UPPER*", kinds.PATTERN, None, None, None, None),
        ("[::1]:5000/*", kinds.PATTERN, None, None, None, None),
        # BuildKit's form
        ("oci-layout://S/alpine", kinds.OCI_LAYOUT, "S/alpine", None, None, None),
        ("oci-layout://S/alpine:3.16", kinds.OCI_LAYOUT, "S/alpine", None, "3.16", None),
        ("oci-layout://S:3.16", kinds.OCI_LAYOUT, "S", None, "3.16", None),
        ("oci-layout://S", kinds.OCI_LAYOUT, "S", None, None, None),
        (f"oci-layout://S@{D}", kinds.OCI_LAYOUT, "S", None, None, D),
        (f"oci-layout://S:3.16@{D}", kinds.OCI_LAYOUT, "S", None, "3.16", D),
        ("oci-layout:///srv/a@b/layout:1.3", kinds.OCI_LAYOUT, "/srv/a@b/layout", None, "1.3", None),
        ("oci-layout://./a@_:1.3", kinds.OCI_LAYOUT, "./a@_", None, "1.3", None),
        ("oci-layout://./a@:1.3", kinds.OCI_LAYOUT, "./a@", None, "1.3", None),
        (r"oci-layout://C:\layout", kinds.OCI_LAYOUT, r"C:\layout", None, None, None),
        ("oci-layout://S/localhost:5000/app", kinds.OCI_LAYOUT, "S/localhost:5000/app", None, None, None),
        # the forms of skopeo and regctl
        ("oci:/p", kinds.OCI, "/p", None, None, None),
        ("oci:/p:", kinds.OCI, "/p", None, None, None),
        ("oci:p:3.16", kinds.OCI, "p", None, "3.16", None),
        ("oci:p:docker.io/library/alpine:3.16", kinds.OCI, "p", None, "docker.io/library/alpine:3.16", None),
        ("oci:3.16", kinds.OCI, "3.16", None, None, None),
        ("ocidir://p", kinds.OCIDIR, "p", None, None, None),
        ("ocidir://p:3.16", kinds.OCIDIR, "p", None, "3.16", None),
        (f"ocidir://p:3.16@{D}", kinds.OCIDIR, "p", None, "3.16", D),
    ],
)
def test_a_query_is_parsed_as_the_contract_says(
    text: str, kind: str, place: str | None, repository: str | None, tag: str | None, digest: str | None
) -> None:
    assert parts(parse_query(text)) == (kind, place, repository, tag, digest)
    assert parse_query(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "@",
        " ",
        "UPPER",
        "alpine:",
        "alpine::3",
        "alpine@",
        "alpine\n",
        "alpine@sha256:abc123",
        f"alpine@{D.upper()}",
        f"@{H}",
        "@alpine",
        "sha256:abc12",
        "@sha256:abc12",
        "sha256:ABC123",
        f"sha256:{H.upper()}",
        "@sha1:abcdef12",
        "@sha256:",
        "oci:",
        "oci::3.16",
        "oci-layout://",
        f"oci-layout://@{D}",
        "ocidir://",
        "oci-layout://S@sha256:abc123",
        "oci-layout://S@sha1:abcdef",
        f"oci-layout://S@SHA256:{H}",
        f"oci-layout://S@{D}:3.16",
        f"ocidir://p@{D}0",
        "a" * 256,
    ],
)
def test_a_text_of_no_known_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_query(text)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "is empty: write a name (alpine:3.16)"),
        ("docker-archive:app.tar", "write oci-archive:PATH"),
        ("docker-archive:app.tar:alpine:3.16", "write oci-archive:PATH"),
        ("oci-archive::1", "write oci-archive:PATH or oci-archive:PATH:REF"),
        ("Alpine:3.16", "write the repository in lower case, 'alpine:3.16'"),
        ("Alpine:Edge", "write the repository in lower case, 'alpine:Edge'"),
        ("Library/Alpine", "write the repository in lower case, 'library/alpine'"),
        ("localhost:5000/App", "write the repository in lower case, 'localhost:5000/app'"),
        ("https://quay.io/app:1", "leave out https://, and write 'quay.io/app:1'"),
        (f"alpine@{D[:20]}", f"a shortened digest, which cannot follow a name: write '{D[:20]}'"),
        (D.upper(), f"write it in lower case, '{D}'"),
        ("@alpine", f"write '@sha256:' and at least {kinds.PREFIX_DIGITS} hex digits"),
        ("alpine::3", "is not a reference, digest or pattern"),
    ],
)
def test_a_refused_text_gets_advice(text: str, advice: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_query(text)
    assert advice in str(caught.value)


def test_a_query_shows_the_parts_that_it_has() -> None:
    """In the report of a failed test, for example."""
    assert repr(parse_query(":3.16")) == "Query(kind='tag', tag='3.16', text=':3.16')"


def test_a_bare_identifier_of_another_length_is_a_name() -> None:
    assert parse_query(H[1:]).kind == kinds.NAME
    assert parse_query(f"{H}0").kind == kinds.NAME


def test_layout_references_are_split_as_buildx_does() -> None:
    """The vectors are from buildx, which refuses the same digests, and adds `latest` while parsing."""
    for row in shared_vectors("oci_layout_ref.json"):
        if not row["match"]:
            continue
        if not row["valid"]:
            with pytest.raises(InvalidReference):
                parse_query(row["input"])
            continue
        query = parse_query(row["input"])
        tag = query.tag or ("" if query.digest else "latest")
        assert (query.place, tag, query.digest or "") == (row["path"], row["tag"], row["digest"]), row["input"]


@pytest.mark.parametrize("text", [D, f"@{D}", H, "sha256:abc123", "@sha256:abc123"])
def test_parse_digest_reads_a_digest_like_parse_query(text: str) -> None:
    assert parts(parse_digest(text)) == parts(parse_query(text))


@pytest.mark.parametrize("text", ["", "alpine", ":3.16", f"alpine@{D}", "sha256:abc12", "sha256:abc*", "@*"])
def test_parse_digest_refuses_anything_else(text: str) -> None:
    with pytest.raises(InvalidReference, match="hex digits"):
        parse_digest(text)


PIECES = st.sampled_from(
    ["alpine", "A", "3.16", ":", "@", "/", "//", "*", "?", "[", "]", "!", "sha256:", "sha512:", H, "abc123", "oci:",
     "oci-layout://", "ocidir://", ".", "-", "localhost", "\0", "\n", "\ud800", "\udcff", "\u0663", "é", " "]
)  # fmt: skip


@given(st.lists(PIECES, max_size=7).map("".join) | st.text(max_size=20))
@example("@sha256:\u0663\u0663\u0663\u0663\u0663\u0663")
@example("sha256:abc1\u0663")
def test_every_text_is_parsed_or_refused(text: str) -> None:
    """No other error is raised. The parts can be bound in SQL. A valid reference of no other form is a name."""
    query, complaint = None, ""
    try:
        query = parse_query(text)
    except InvalidReference as error:
        complaint = str(error)
    if query is None:
        assert complaint.isprintable()
        assert split_reference(text) is None or text.startswith(("oci", "sha"))
        return
    for value in (query.repository, query.tag, query.digest):
        assert value is None or value.encode().decode() == value
    assert "\0" not in (query.tag or "")
    if query.kind == kinds.PATTERN:
        query.text.encode()
    if query.kind in (kinds.NAME, kinds.NAME_DIGEST):
        found = split_reference(text)
        assert found is not None
        assert "/".join(part for part in found[:2] if part) == query.repository
        assert (query.tag, query.digest) == (found[2] or (None if found[3] else "latest"), found[3])
    assert repr(query).startswith("Query(")


@given(st.text(max_size=12))
def test_a_leading_colon_always_means_a_tag(text: str) -> None:
    if not text:
        return
    query = parse_query(f":{text}")
    assert query.kind in (kinds.TAG, kinds.TAG_PATTERN)
    assert (query.kind == kinds.TAG_PATTERN) == any(c in text for c in "*?[")


def test_after_a_slash_only_32_hex_digits_or_more_look_like_a_digest() -> None:
    """buildx's expression asks for that many (docs/resolution.md)."""
    with pytest.raises(InvalidReference):
        parse_query(f"oci-layout:///srv/a@b/sha256:{'0' * 32}")
    assert parse_query(f"oci-layout:///srv/a@b/sha256:{'0' * 31}").tag == "0" * 31
