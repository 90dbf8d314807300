"""Parse the text of a query into a `Query` (docs/resolution.md, "What you may ask").

This module only parses text. `catalog.lookup.stores` finds the store that an `oci-layout://` reference means.
"""

from __future__ import annotations

from catalog.errors import InvalidReference
from catalog.names.digest import HEX_LENGTHS, is_docker_digest
from catalog.names.escape import shown
from catalog.names.pattern import has_wildcard
from catalog.names.reference import is_tag, repository_name, split_reference

NAME = "name"
"""A canonical name: `repository` and `tag`."""
NAME_DIGEST = "name@digest"
"""A digest in a repository: `repository`, `digest`, and `tag` if the text has one."""
TAG = "tag"
"""A tag in any repository: `tag` is any text."""
TAG_PATTERN = "tag pattern"
DIGEST = "digest"
DIGEST_PREFIX = "digest prefix"
"""`digest` is an algorithm, `:` and at least PREFIX_DIGITS hex digits."""
PATTERN = "pattern"
OCI_LAYOUT = "oci-layout"
"""BuildKit's form: `place` is STORE[/IMAGE]; `tag` and `digest` are set if the text has them."""
OCI = "oci"
"""skopeo's forms `oci:` and `oci-archive:`: `place` is the path; `tag` is the raw ref.name, or None if the text has none."""
OCIDIR = "ocidir"
"""regctl's form: `place` is the path; `tag` and `digest` are set if the text has them."""

_HEX_ANY_CASE = {ord(c): None for c in "0123456789abcdefABCDEF"}
PREFIX_DIGITS = 6
"""The minimum number of hex digits in a digest prefix."""


class Query:
    """A parsed query: its `text`, its `kind` (a constant of this module), and the parts of that kind."""

    __slots__ = ("digest", "kind", "place", "repository", "tag", "text")

    def __init__(
        self,
        text: str,
        kind: str,
        *,
        repository: str | None = None,
        tag: str | None = None,
        digest: str | None = None,
        place: str | None = None,
    ) -> None:
        self.text = text
        self.kind = kind
        self.repository = repository
        self.tag = tag
        self.digest = digest
        self.place = place

    def __repr__(self) -> str:
        parts = (f"{slot}={value!r}" for slot in self.__slots__ if (value := getattr(self, slot)) is not None)
        return f"Query({', '.join(parts)})"

    @property
    def name(self) -> str:
        """The full canonical name that a query of kind NAME asks for."""
        return f"{self.repository}:{self.tag}"


def parse_query(text: str) -> Query:
    """Parse `text`, trying in turn: a scheme, a leading `:`, a digest, a name, a pattern.

    Raises InvalidReference, with a message of one line, for any other `text`.
    """
    if text.startswith("oci"):
        if text.startswith("oci-layout://"):
            return _oci_layout(text)
        if text.startswith("ocidir://"):
            return _ocidir(text)
        if text.startswith(("oci:", "oci-archive:")):
            scheme, _, rest = text.partition(":")
            path, colon, ref_name = rest.partition(":")
            if not path:
                raise InvalidReference(f"{shown(text)} names no layout: write {scheme}:PATH or {scheme}:PATH:REF")
            return Query(text, OCI, place=path, tag=clean(ref_name) if colon and ref_name else None)
    if text.startswith("docker-archive:"):
        raise InvalidReference(
            f"{shown(text)} refers to Docker's own list in an archive: ask for the name alone, or write oci-archive:PATH if"
            " 'tar tf' shows an index.json there (docker save has written one since version 25)"
        )
    if text.startswith(":"):
        return _tag(text)
    if (digest := _digest(text)) is not None:
        return digest
    parts = split_reference(text)
    if parts is not None:
        domain, path, tag, named_digest = parts
        repository = repository_name(domain, path)
        if named_digest is not None:
            return Query(text, NAME_DIGEST, repository=repository, tag=tag, digest=named_digest)
        return Query(text, NAME, repository=repository, tag=tag or "latest")
    if has_wildcard(text):
        return Query(clean(text), PATTERN)
    raise InvalidReference(_why_malformed(text))


def parse_digest(text: str) -> Query:
    """Parse a digest or a prefix of one, as `--digest` takes it. Raises InvalidReference for anything else.

    Bare hex digits are taken for a sha256 digest.
    """
    bare = text.removeprefix("@").removesuffix("…")
    if PREFIX_DIGITS <= len(bare) <= HEX_LENGTHS["sha256"] and not bare.translate(_HEX_ANY_CASE):
        text = f"sha256:{bare}"
    found = _digest(text)
    if found is None:
        raise InvalidReference(f"{shown(text)} is not a digest: write sha256: and at least {PREFIX_DIGITS} hex digits")
    return found


def clean(text: str) -> str:
    """Return `text` as the catalog stores it: with U+FFFD for NUL and for bytes that are not UTF-8 (lone surrogates)."""
    if text.isascii() and "\0" not in text:
        return text
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def _tag(text: str) -> Query:
    tag = text[1:]
    if not tag:
        raise InvalidReference("':' names no tag: write ':TAG', as in ':3.16'")
    return Query(text, TAG_PATTERN if has_wildcard(tag) else TAG, tag=clean(tag))


def _digest(text: str) -> Query | None:
    """Parse a digest or a prefix of one. Returns None if `text` may be something else."""
    bare = text.removeprefix("@")
    algorithm, colon, digits = bare.partition(":")
    digits = digits.removesuffix("…")  # a table on a terminal ends a truncated digest with it
    if not colon:
        if len(text) == 64 and is_docker_digest(f"sha256:{text}"):
            return Query(text, DIGEST, digest=f"sha256:{text}")
    elif algorithm in HEX_LENGTHS and digits and not digits.translate(_HEX_ANY_CASE):
        length = HEX_LENGTHS[algorithm]
        if digits != digits.lower():
            raise InvalidReference(f"{shown(text)} is not a digest: write it in lower case, '{text.lower()}'")
        digest = f"{algorithm}:{digits}"
        if len(digits) == length:
            return Query(text, DIGEST, digest=digest)
        if len(digits) < PREFIX_DIGITS:
            raise InvalidReference(f"{shown(text)} is too short: give at least {PREFIX_DIGITS} hex digits")
        return Query(text, DIGEST_PREFIX, digest=digest)
    if not text.startswith("@") or has_wildcard(text):
        return None
    raise InvalidReference(f"{shown(text)} is not a digest: write '@sha256:' and at least {PREFIX_DIGITS} hex digits")


def _oci_layout(text: str) -> Query:
    place, tag, digest = _split_place(text, text[len("oci-layout://") :])
    return Query(text, OCI_LAYOUT, place=place, tag=tag, digest=digest)


def _ocidir(text: str) -> Query:
    place, tag, digest = _split_place(text, text[len("ocidir://") :])
    return Query(text, OCIDIR, place=place, tag=tag, digest=digest)


def _split_place(text: str, rest: str) -> tuple[str, str | None, str | None]:
    """Split off the digest after the last `@` and the tag after the last `:`, as buildx's parser does."""
    digest = None
    before, at, after = rest.rpartition("@")
    if at and _looks_like_digest(after):
        if not is_docker_digest(after):
            raise InvalidReference(f"{shown(text)} has an invalid digest after the @: {shown(after)}")
        rest, digest = before, after
    before, colon, after = rest.rpartition(":")
    tag = None
    if colon and before and is_tag(after):
        rest, tag = before, after
    if not rest:
        raise InvalidReference(
            f"{shown(text)} names no store: write {text.partition('//')[0]}//STORE or the path of a layout"
        )
    return rest, tag, digest


def _looks_like_digest(text: str) -> bool:
    """Return whether the text after an `@` is meant as a digest: `ALGORITHM:...`, in letters of any case.

    buildx's regular expression is not anchored, so buildx also takes `/sha256:HEX` for a digest and refuses it; so does
    ocicat. But only buildx refuses a path that contains an `@` and ends with a tag (`/srv/a@b/layout:1.3`).
    """
    head, colon, tail = text.partition(":")
    if "/" in head:
        return head.rpartition("/")[2] in HEX_LENGTHS and len(tail) >= 32 and not tail.translate(_HEX_ANY_CASE)
    parts = head.replace("+", ".").replace("_", ".").replace("-", ".").split(".")
    return bool(colon) and head.isascii() and all(part.isalnum() for part in parts)


def _lower_digest(text: str) -> Query | None:
    """Parse a digest or a prefix of one, in letters of any case. Returns None if `text` is neither."""
    try:
        return _digest(text.lower())
    except InvalidReference:
        return None


def _why_malformed(text: str) -> str:
    if not text:
        return "the reference is empty: write a name (alpine:3.16), ':TAG', '@sha256:...' or a pattern (alpine:3.*)"
    before, at, digest = text.rpartition("@")
    if at and before and (asked := _lower_digest(digest)) is not None and asked.kind == DIGEST_PREFIX:
        return f"{shown(text)} has a shortened digest, which cannot follow a name: write '{asked.digest}', or the whole digest"
    if _lower_digest(text) is not None:
        return f"{shown(text)} is not a digest: write it in lower case, '{text.lower()}'"
    scheme, slashes, rest = text.partition("://")
    if slashes and split_reference(rest) is not None:
        return f"{shown(text)} is not a reference: leave out {shown(scheme)}://, and write '{shown(rest)}'"
    repository, colon, tag = text.rpartition(":")
    lowered = f"{repository.lower()}:{tag}" if colon and "/" not in tag else text.lower()
    if lowered != text and split_reference(lowered) is not None:
        return f"{shown(text)} is not a reference: write the repository in lower case, '{shown(lowered)}'"
    return (
        f"{shown(text)} is not a reference, digest or pattern: "
        "write a name (alpine:3.16), ':TAG', '@sha256:...' or a pattern (alpine:3.*)"
    )
