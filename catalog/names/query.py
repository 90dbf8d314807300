"""What a query may say (docs/resolution.md): a text becomes one `Query`.

Pure text: which store an `oci-layout://` text means is settled against the catalog by `catalog.lookup.stores`.
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
"""A digest under a repository: `repository`, `digest`, and `tag` where the text had one."""
TAG = "tag"
"""A partial tag: `tag` is any text; whatever the repository."""
TAG_PATTERN = "tag pattern"
DIGEST = "digest"
DIGEST_PREFIX = "digest prefix"
"""`digest` is `sha256:` and at least six digits."""
PATTERN = "pattern"
OCI_LAYOUT = "oci-layout"
"""`place` is STORE[/IMAGE]; `tag` and `digest` where the text had them."""
OCI = "oci"
"""skopeo's form: `place` is the path; `tag` is the raw ref.name, None where the text had none."""
OCIDIR = "ocidir"
"""regctl's form: `place` is the path; `tag` and `digest` where the text had them."""

_HEX_ANY_CASE = {ord(c): None for c in "0123456789abcdefABCDEF"}
PREFIX_DIGITS = 6
"""The fewest hex digits of a digest prefix."""


class Query:
    """One reference as asked: its `text`, its `kind` (a constant of this module), and the parts that kind has."""

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
        """The full canonical name that a NAME asks for."""
        return f"{self.repository}:{self.tag}"


def parse_query(text: str) -> Query:
    """Read `text` in the order of section 5: a scheme, a leading `:`, digests, names, patterns.

    Raises InvalidReference, with a message of one line, for what is none of them.
    """
    if text.startswith("oci"):
        if text.startswith("oci-layout://"):
            return _oci_layout(text)
        if text.startswith("ocidir://"):
            return _ocidir(text)
        if text.startswith("oci:"):
            path, colon, ref_name = text[4:].partition(":")
            if not path:
                raise InvalidReference(f"{shown(text)} names no layout: write oci:PATH or oci:PATH:REF")
            return Query(text, OCI, place=path, tag=clean(ref_name) if colon and ref_name else None)
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
    """A whole digest or a prefix of one, as `--digest` takes it; raises InvalidReference for anything else."""
    found = _digest(text)
    if found is None:
        raise InvalidReference(f"{shown(text)} is no digest: write sha256: and at least {PREFIX_DIGITS} hex digits")
    return found


def clean(text: str) -> str:
    """Text as the catalog keeps it: NUL and each byte that is no UTF-8 (a lone surrogate here) became U+FFFD there."""
    if text.isascii() and "\0" not in text:
        return text
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def _tag(text: str) -> Query:
    tag = text[1:]
    if not tag:
        raise InvalidReference("':' names no tag: write ':TAG', as in ':3.16'")
    return Query(text, TAG_PATTERN if has_wildcard(tag) else TAG, tag=clean(tag))


def _digest(text: str) -> Query | None:
    """A digest, whole or a prefix; None for what reads as something else."""
    bare = text.removeprefix("@")
    algorithm, colon, digits = bare.partition(":")
    if not colon:
        if len(text) == 64 and is_docker_digest(f"sha256:{text}"):
            return Query(text, DIGEST, digest=f"sha256:{text}")
    elif algorithm in HEX_LENGTHS and digits and not digits.translate(_HEX_ANY_CASE):
        length = HEX_LENGTHS[algorithm]
        if digits != digits.lower():
            raise InvalidReference(f"{shown(text)} is no digest: its hex digits are lower-case")
        if len(digits) == length:
            return Query(text, DIGEST, digest=bare)
        if len(digits) < PREFIX_DIGITS:
            raise InvalidReference(f"{shown(text)} is too short: give at least {PREFIX_DIGITS} hex digits")
        return Query(text, DIGEST_PREFIX, digest=bare)
    if not text.startswith("@") or has_wildcard(text):
        return None
    raise InvalidReference(f"{shown(text)} is no digest: write '@sha256:' and at least {PREFIX_DIGITS} hex digits")


def _oci_layout(text: str) -> Query:
    place, tag, digest = _split_place(text, text[len("oci-layout://") :])
    return Query(text, OCI_LAYOUT, place=place, tag=tag, digest=digest)


def _ocidir(text: str) -> Query:
    place, tag, digest = _split_place(text, text[len("ocidir://") :])
    return Query(text, OCIDIR, place=place, tag=tag, digest=digest)


def _split_place(text: str, rest: str) -> tuple[str, str | None, str | None]:
    """Take the digest behind the last `@` and the tag behind the last `:` off (section 6, as buildx's parser does)."""
    digest = None
    before, at, after = rest.rpartition("@")
    if at and _looks_like_digest(after):
        if not is_docker_digest(after):
            raise InvalidReference(f"{shown(text)} has no valid digest behind its @: {shown(after)}")
        rest, digest = before, after
    before, colon, after = rest.rpartition(":")
    tag = None
    if colon and before and is_tag(after):
        rest, tag = before, after
    if not rest:
        raise InvalidReference(
            f"{shown(text)} names no store: write {text.partition('//')[0]}//STORE or a path of a layout"
        )
    return rest, tag, digest


def _looks_like_digest(text: str) -> bool:
    """Whether what stands behind an `@` is meant as a digest: `ALGORITHM:...`, in letters of any case.

    buildx's expression is not anchored, so it takes `/sha256:HEX` for one (and refuses it, and so do we). A path with an
    `@` in it and a tag behind (`/srv/a@b/layout:1.3`) is one only to buildx.
    """
    head, colon, tail = text.partition(":")
    if "/" in head:
        return head.rpartition("/")[2] in HEX_LENGTHS and len(tail) >= 32 and not tail.translate(_HEX_ANY_CASE)
    parts = head.replace("+", ".").replace("_", ".").replace("-", ".").split(".")
    return bool(colon) and head.isascii() and all(part.isalnum() for part in parts)


def _why_malformed(text: str) -> str:
    if not text:
        return (
            "an empty text is no reference: write a name (alpine:3.16), ':TAG', '@sha256:...' or a pattern (alpine:3.*)"
        )
    if text.lower() != text and split_reference(text.lower()) is not None:
        return f"{shown(text)} is no reference: a repository is lower-case"
    return f"{shown(text)} is no reference, digest or pattern: write a name (alpine:3.16), ':TAG', '@sha256:...' or alpine:3.*"
