"""Docker references, with the grammar, limits and normalisation of Go's distribution/reference (docs/resolution.md).

    reference   [DOMAIN/] PATH [:TAG] [@DIGEST]
    domain      HOST [:PORT]; a host is labels joined by `.`, or `[` hex digits and colons `]`
    label       ASCII letters and digits, with `-` inside
    path        components joined by `/`: lower-case letters and digits, separated by one `.`, `_`, `__` or any run of `-`
    tag         [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
    digest      go-digest's: sha256, sha384 or sha512 in lower-case hex

The Go library uses regular expressions. This module uses `str` methods, each of which is one pass in C, because importing
`re` takes longer than answering a question, and ingest parses millions of names. Nothing here is quadratic, and the module
imports nothing from the standard library.
"""

from __future__ import annotations

from catalog.errors import InvalidReference
from catalog.names.digest import is_docker_digest, is_hex

DEFAULT_DOMAIN = "docker.io"
"""normalize.go, `defaultDomain`: the domain of a name without one."""
LEGACY_DEFAULT_DOMAIN = "index.docker.io"
"""normalize.go, `legacyDefaultDomain`: an older spelling of the same registry."""
OFFICIAL_PREFIX = "library/"
"""normalize.go, `officialRepoPrefix`: the prefix that Docker Hub puts before a name of one component."""
DEFAULT_TAG = "latest"
"""normalize.go, `defaultTag`: the tag that `TagNameOnly` adds."""
MAX_PATH = 255
"""reference.go, `RepositoryNameTotalLengthMax`: the longest path, with `library/` and without the domain."""
MAX_TAG = 128
"""regexp.go, `tag`: the longest tag."""

_DIGITS = "0123456789"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TAG = f"{_DIGITS}{_LETTERS}._-"
_IPV6 = f"{_DIGITS}abcdefABCDEF:"
_REFERENCE = f"{_TAG}/:@[]"
_ECHO = 100


def split_reference(text: str) -> tuple[str, str, str | None, str | None] | None:
    """Return `text` as normalised `(domain, path, tag, digest)`, or None if it is not a reference.

    This is `ParseNormalizedNamed` without an object or an exception, which is what ingest needs. A missing tag stays None.
    As in the library, the domain is "" if the first component cannot be a domain, as in `my_host.com/alpine`.
    """
    name, digest = text, None
    if "@" in text:
        name, _, digest = text.partition("@")
        if not is_docker_digest(digest):
            return None
    first, slash, rest = name.partition("/")
    # A path has no colon and a tag no slash, so the first colon after the first component begins the tag.
    path, colon, tag = (rest if slash else name).partition(":")
    if colon and not is_tag(tag):
        return None
    if not slash:
        if len(text) == 64 and is_hex(text):
            return None  # anchoredIdentifierRegexp: the id of an image, not a name
        domain, path = DEFAULT_DOMAIN, OFFICIAL_PREFIX + path
    elif first in (DEFAULT_DOMAIN, LEGACY_DEFAULT_DOMAIN):
        domain = DEFAULT_DOMAIN
        if "/" not in path:
            path = OFFICIAL_PREFIX + path
    elif _means_domain(first):
        domain = first
        if not is_domain(first):
            domain, path = "", f"{first}/{path}"
    else:
        domain, path = DEFAULT_DOMAIN, f"{first}/{path}"
    return (domain, path, tag or None, digest) if len(path) <= MAX_PATH and _is_remote_name(path) else None


def split_repository(text: str) -> tuple[str, str] | None:
    """Return `text` as normalised `(domain, path)` if it is a name without tag and digest, else None."""
    parts = split_reference(text)
    if parts is None or parts[2] is not None or parts[3] is not None:
        return None
    return parts[0], parts[1]


def repository_name(domain: str, path: str) -> str:
    """Return the canonical name of a normalised repository. An empty domain is left out."""
    return f"{domain}/{path}" if domain else path


def repository_familiar(domain: str, path: str) -> str:
    """Return the short form of a normalised repository (normalize.go, `familiarizeName`): `alpine`, `user/app`.

    As in the library, it may parse as another name: `docker.io/localhost/app` becomes `localhost/app`.
    """
    if domain == DEFAULT_DOMAIN:
        official = path.removeprefix(OFFICIAL_PREFIX)
        return path if "/" in official else official
    return repository_name(domain, path)


def is_tag(text: str) -> bool:
    """Return whether `text` is a valid tag (regexp.go, `anchoredTagRegexp`)."""
    return 0 < len(text) <= MAX_TAG and text[0] not in ".-" and not text.strip(_TAG)


def is_domain(text: str) -> bool:
    """Return whether `text` is a host, optionally with a port (regexp.go, `DomainRegexp`). The length is not limited."""
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        if not bracket or not address or address.strip(_IPV6):
            return False
        return not port or (port[0] == ":" and len(port) > 1 and not port[1:].strip(_DIGITS))
    host, colon, port = text.partition(":")
    return text.isascii() and (not colon or port.isdigit()) and _are_labels(host)


class Reference:
    """A parsed Docker reference: the original `text` and its normalised parts. Made by `parse`; treat it as immutable.

    Two references are equal if their normalised parts are. `alpine` and `alpine:latest` differ, as Named and NamedTagged
    do in the library, but have the same `canonical`.
    """

    __slots__ = ("digest", "domain", "path", "tag", "text")

    def __init__(self, text: str, domain: str, path: str, tag: str | None, digest: str | None) -> None:
        self.text = text
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parse `text` as `ParseNormalizedNamed` does. Raises InvalidReference, which says what is wrong with it."""
        parts = split_reference(text)
        if parts is None:
            raise InvalidReference(_complaint(text))
        return cls(text, *parts)

    @property
    def repository(self) -> str:
        """The normalised name without tag and digest: `docker.io/library/alpine` (the library's `Name()`)."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def canonical(self) -> str:
        """The full name: `docker.io/library/alpine:3.16`. Without tag and digest, the tag is `latest` (TagNameOnly)."""
        return self.repository + (self._suffix() or f":{DEFAULT_TAG}")

    @property
    def familiar(self) -> str:
        """The short form: `alpine:3.16` (FamiliarString). A missing tag stays missing."""
        return repository_familiar(self.domain, self.path) + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag

    def _parts(self) -> tuple[str, str, str | None, str | None]:
        return self.domain, self.path, self.tag, self.digest

    def __eq__(self, other: object) -> bool:
        return self._parts() == other._parts() if isinstance(other, Reference) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"Reference({self.text!r})"


def quoted(text: str) -> str:
    """Return `text` for use in a message: in quotes, escaped, and truncated to about 100 characters."""
    shown = repr(text[: _ECHO + 1])
    return shown if len(text) <= _ECHO and len(shown) <= _ECHO + 20 else f"{shown[:_ECHO]}..."


def _means_domain(first: str) -> bool:
    """Return whether the first of several components counts as a domain (normalize.go, `splitDockerDomain`)."""
    return "." in first or ":" in first or first == "localhost" or first.lower() != first


def _is_remote_name(text: str) -> bool:
    """Return whether `text` is a valid path (regexp.go, `remoteName`). The length is not limited.

    Replacing each separator and each `/` by `.` must leave valid labels. `__` is replaced first, so `___` becomes `..`.
    """
    if not text.isascii() or text.lower() != text:
        return False
    labels = text.replace("/", ".")
    if "_" in labels:
        labels = labels.replace("__", ".").replace("_", ".")
    return _are_labels(labels)


def _are_labels(text: str) -> bool:
    """Return whether ASCII `text` is letters and digits with single `.` or runs of `-`, but not both, between them."""
    edged = f".{text}."
    if "-" in text and (".-" in edged or "-." in edged):
        return False
    return ".." not in edged and text.replace(".", "").replace("-", "").isalnum()


def _complaint(text: str) -> str:
    """Return one line that says what is wrong with an invalid reference and what to do, in the order of `split_reference`."""
    strange = text.lstrip(_REFERENCE)
    if strange:
        return f"{quoted(text)} is not a reference: it contains {quoted(strange[0])}, which is not allowed; remove it"
    name, at, digest = text.partition("@")
    if at and not is_docker_digest(digest):
        return (
            f"{quoted(text)} has no digest after '@': "
            "write sha256:, sha384: or sha512: and all 64, 96 or 128 hex digits, in lower case"
        )
    first, slash, rest = name.partition("/")
    path, colon, tag = (rest if slash else name).partition(":")
    if not path:
        return f"{quoted(text)} names no image: write a name, as in alpine:3.16"
    if not slash and "[" in path:
        return f"{quoted(text)} names no image: write a path after the address, as in [::1]:5000/app"
    if colon and not is_tag(tag):
        return (
            f"{quoted(text)} has an invalid tag: a tag has at most {MAX_TAG} letters, digits, '_', '.' and '-', "
            "and does not begin with '.' or '-'"
        )
    if len(text) == 64 and is_hex(text):
        return f"{quoted(text)} is an image id, not a name: write sha256: in front of it to ask for a digest"
    if path.lower() != path:
        return f"{quoted(text)} has upper-case letters in its repository: write it in lower case"
    if slash and _means_domain(first) and not is_domain(first) and not _is_remote_name(first):
        return f"{quoted(text)} has an invalid domain: write a host name or [IPv6 address], and a port of digits"
    if _is_remote_name(path) and (not slash or is_domain(first) or _is_remote_name(first)):
        return f"{quoted(text)} has a path of more than {MAX_PATH} characters, including 'library/': shorten it"
    return (
        f"{quoted(text)} is not a reference: each part between '/' must be lower-case letters and digits, "
        "separated by one '.', '_', '__' or any number of '-'"
    )
