"""Patterns over `repository:tag` (docs/resolution.md): shell-style `*`, `?`, `[...]`, `[!...]`.

A pattern becomes one or more *globs* over full canonical names, each with its literal prefix, by which the catalog
searches an index range; what the range yields is then matched here.
"""

from __future__ import annotations

from catalog.names.reference import split_repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

_STAR = ("*", True)
_HEX_AND_COLON = {ord(c): None for c in "0123456789abcdefABCDEF:"}


def has_wildcard(text: str) -> bool:
    """Whether `text` holds one of the characters that make a pattern."""
    return "*" in text or "?" in text or "[" in text


class Glob:
    """One glob over whole texts; `host` is how many characters at its beginning stand for themselves, brackets too.

    `prefix` is its longest literal beginning, `literal` whether that is all of it.
    """

    __slots__ = ("_pieces", "_regex", "_shortest", "literal", "prefix", "text")

    def __init__(self, text: str, *, host: int = 0) -> None:
        self.text = text
        self._pieces = _pieces(text, host)
        self._shortest = len(self._pieces) - self._pieces.count(_STAR)
        self._regex: re.Pattern[str] | None = None
        literal = next((place for place, (_, wild) in enumerate(self._pieces) if wild), len(self._pieces))
        self.literal = literal == len(self._pieces)
        self.prefix = "".join(piece for piece, _ in self._pieces[:literal])

    def bounds(self) -> dict[str, str] | None:
        """The half-open range `low` to `high` that holds whatever matches; None where a prefix narrows nothing."""
        high = upper_bound(self.prefix)
        return None if high is None else {"low": self.prefix, "high": high}

    def matches(self, text: str) -> bool:
        """Whether the whole of `text` matches: in steps of the length of `text` times that of its longest piece without `*`."""
        if len(text) < self._shortest:  # so the expression is never much longer than a text that it is for
            return False
        if self._regex is None:
            import re  # a pattern is not the plain way to an answer: only it pays for `re`

            self._regex = re.compile(_translate(self._pieces), re.DOTALL)
        return self._regex.match(text) is not None


def upper_bound(prefix: str) -> str | None:
    """The least text above all texts that begin with `prefix`, for a half-open index range; None where there is none."""
    prefix = prefix.rstrip("\U0010ffff")
    if not prefix:
        return None
    following = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if 0xD800 <= following <= 0xDFFF else following)


def name_globs(text: str) -> tuple[Glob, ...]:
    """The globs over canonical names that the pattern `text` stands for; none where no name could match.

    Where the part before the tag has no wildcard it is normalised first; otherwise the pattern is tried as written and,
    where its first component is no domain, behind `docker.io/` and `docker.io/library/` too.
    """
    host = _ipv6_length(text)
    repository, tag = _split_tag(text, host)
    if not has_wildcard(repository[host:]):
        parts = split_repository(repository)
        if parts is None:
            return ()
        return (Glob(f"{'/'.join(part for part in parts if part)}:{tag}", host=host),)
    whole = f"{repository}:{tag}"
    first, slash, _ = repository.partition("/")
    if host or (slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first)):
        return (Glob(whole, host=host),)
    return (Glob(whole), Glob(f"docker.io/{whole}"), Glob(f"docker.io/library/{whole}"))


def _split_tag(text: str, host: int) -> tuple[str, str]:
    """The pattern's part before the tag, and that of the tag: `*` where there is no `:` after the last `/`."""
    colon = text.find(":", max(text.rfind("/") + 1, host))
    return (text, "*") if colon < 0 else (text[:colon], text[colon + 1 :])


def _ipv6_length(text: str) -> int:
    """How long a leading `[hex:...]` is, which is an IPv6 domain and no character class; 0 where there is none."""
    end = text.find("]")
    if not text.startswith("[") or end < 0 or ":" not in text[1:end] or text[1:end].translate(_HEX_AND_COLON):
        return 0
    return end + 1


def _pieces(text: str, host: int) -> list[tuple[str, bool]]:
    """What `_tokens` gives, of several `*` in a row the first."""
    found: list[tuple[str, bool]] = []
    for token in _tokens(text, host):
        if token == _STAR and found and found[-1] == _STAR:
            continue
        found.append(token)
    return found


def _tokens(text: str, host: int) -> Iterator[tuple[str, bool]]:
    """The pattern's pieces: a literal character, or a wildcard (`*`, `?`, or a whole class `[...]`)."""
    position, end = host, 0
    yield from ((character, False) for character in text[:host])
    while position < len(text):
        character = text[position]
        if character == "[" and end >= 0:  # once there is no `]` ahead there is none for a later one either
            end = text.find("]", position + (3 if text.startswith("[!", position) else 2))
            if end > 0:
                yield text[position : end + 1], True
                position = end + 1
                continue
        yield character, character in "*?"
        position += 1


def _translate(pieces: list[tuple[str, bool]]) -> str:
    """The pattern as a regular expression; each `*` takes the shortest run atomically, so that matching stays linear."""
    import re

    written: list[str] = []
    tail: list[str] = []  # what stands behind the last `*`
    stars = 0
    for piece in pieces:
        token, wild = piece
        if piece == _STAR:
            written += ["(?>.*?", *tail, ")"] if stars else tail
            tail = []
            stars += 1
        elif wild:
            tail.append("." if token == "?" else _class(token))  # noqa: S105
        else:
            tail.append(re.escape(token))
    written += [".*", *tail] if stars else tail
    return "".join(written) + r"\Z"


def _class(token: str) -> str:
    body = token[1:-1]
    negated = body.startswith("!")
    members = body[1:] if negated else body
    pieces: list[str] = []
    position = 0
    while position < len(members):
        if position + 2 < len(members) and members[position + 1] == "-":
            low, high = members[position], members[position + 2]
            position += 3
            if low <= high:
                pieces.append(f"\\U{ord(low):08x}-\\U{ord(high):08x}")
        else:
            pieces.append(f"\\U{ord(members[position]):08x}")
            position += 1
    if not pieces:  # only ranges that run backwards: they hold nothing
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{''.join(pieces)}]"
