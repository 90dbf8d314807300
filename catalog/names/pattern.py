"""Patterns over `repository:tag` (docs/resolution.md): shell-style `*`, `?`, `[...]`, `[!...]`.

A pattern becomes one or more globs over full canonical names. The catalog searches the index range of a glob's literal
prefix, and this module matches the names in that range.
"""

from __future__ import annotations

from catalog.names.reference import split_repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from catalog.names.long_texts import LongMatch

_MOST_STEPS = 1 << 18
"""The most steps that a regular expression may take for a text: about a tenth of a millisecond. Above that, which no name needs,
LongMatch matches the text."""
_STAR = ("*", True)
_HEX_AND_COLON = {ord(c): None for c in "0123456789abcdefABCDEF:"}


def has_wildcard(text: str) -> bool:
    """Return whether `text` contains `*`, `?` or `[`, which make it a pattern."""
    return "*" in text or "?" in text or "[" in text


class Glob:
    """One glob, which matches whole texts. Its first `host` characters are literal, including brackets (an IPv6 address).

    `prefix` is the longest literal prefix; `literal` is True if that is the whole glob.
    """

    __slots__ = ("_long", "_pieces", "_regex", "_shortest", "literal", "prefix", "text")

    def __init__(self, text: str, *, host: int = 0) -> None:
        self.text = text
        self._pieces = _pieces(text, host)
        self._shortest = len(self._pieces) - self._pieces.count(_STAR)
        self._regex: re.Pattern[str] | None = None
        self._long: LongMatch | None = None
        literal = next((place for place, (_, wild) in enumerate(self._pieces) if wild), len(self._pieces))
        self.literal = literal == len(self._pieces)
        self.prefix = "".join(piece for piece, _ in self._pieces[:literal])

    def bounds(self) -> dict[str, str] | None:
        """Return the half-open range `low` to `high` that contains every match, or None if the prefix is empty."""
        high = upper_bound(self.prefix)
        return None if high is None else {"low": self.prefix, "high": high}

    def matches(self, text: str) -> bool:
        """Return whether all of `text` matches. Takes time in proportion to its length."""
        if len(text) < self._shortest:  # so an expression much longer than any text is never compiled
            return False
        if len(text) * self._shortest > _MOST_STEPS:
            return self._matches_long(text)
        if self._regex is None:
            import re  # only patterns pay for importing `re`

            self._regex = re.compile(_translate(self._pieces), re.DOTALL)
        return self._regex.match(text) is not None

    def _matches_long(self, text: str) -> bool:
        if self._long is None:
            from catalog.names.long_texts import LongMatch

            parts: list[list[tuple[str, bool]]] = [[]]
            for piece in self._pieces:
                if piece == _STAR:
                    parts.append([])
                else:
                    parts[-1].append(piece)
            self._long = LongMatch(parts, _members)
        return self._long(text)


def upper_bound(prefix: str) -> str | None:
    """Return the least text above all texts that begin with `prefix`, for a half-open index range, or None if there is none."""
    prefix = prefix.rstrip("\U0010ffff")
    if not prefix:
        return None
    following = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if 0xD800 <= following <= 0xDFFF else following)


def name_globs(text: str) -> tuple[Glob, ...]:
    """Return the globs over canonical names that the pattern `text` stands for; an empty tuple if no name can match.

    If the part before the tag has no wildcard, it is normalised first. Otherwise the pattern is used as written and, if
    its first component is not a domain, also with `docker.io/` and with `docker.io/library/` in front.
    """
    host = _ipv6_length(text)
    repository, tag = _split_tag(text, host)
    if not has_wildcard(repository[host:]):
        parts = split_repository(repository)
        if parts is None:
            return ()
        return (Glob(f"{'/'.join(part for part in parts if part)}:{tag}", host=host),)
    whole = f"{repository}:{tag}"
    return _in_domains(repository, whole, host)


def repository_globs(text: str) -> tuple[Glob, ...]:
    """Return the globs over canonical repositories for the pattern `text`, which has no tag. See `name_globs`."""
    return _in_domains(text, text, _ipv6_length(text))


def _in_domains(repository: str, whole: str, host: int) -> tuple[Glob, ...]:
    first, slash, _ = repository.partition("/")
    if host or (slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first)):
        return (Glob(whole, host=host),)
    return (Glob(whole), Glob(f"docker.io/{whole}"), Glob(f"docker.io/library/{whole}"))


class Wanted:
    """The value of a filter. It matches an equal text and, if it has wildcards, every text that matches it as a glob."""

    __slots__ = ("glob", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.glob = Glob(text) if has_wildcard(text) else None

    def __call__(self, text: str | None) -> bool:
        """Return whether `text` matches the filter."""
        return text == self.text or (self.glob is not None and text is not None and self.glob.matches(text))


def _split_tag(text: str, host: int) -> tuple[str, str]:
    """Split a pattern into repository and tag. The tag is `*` if there is no `:` after the last `/`."""
    colon = text.find(":", max(text.rfind("/") + 1, host))
    return (text, "*") if colon < 0 else (text[:colon], text[colon + 1 :])


def _ipv6_length(text: str) -> int:
    """Return the length of a leading `[hex:...]`, which is an IPv6 domain and not a character class, or 0 if there is none."""
    end = text.find("]")
    if not text.startswith("[") or end < 0 or ":" not in text[1:end] or text[1:end].translate(_HEX_AND_COLON):
        return 0
    return end + 1


def _pieces(text: str, host: int) -> list[tuple[str, bool]]:
    """Return the tokens of `text`, with each run of `*` reduced to one."""
    found: list[tuple[str, bool]] = []
    for token in _tokens(text, host):
        if token == _STAR and found and found[-1] == _STAR:
            continue
        found.append(token)
    return found


def _tokens(text: str, host: int) -> Iterator[tuple[str, bool]]:
    """Yield each token of the pattern, a literal character or a wildcard (`*`, `?`, `[...]`), and whether it is a wildcard."""
    position, end = host, 0
    yield from ((character, False) for character in text[:host])
    while position < len(text):
        character = text[position]
        if character == "[" and end >= 0:  # if no `]` followed an earlier `[`, none follows this one
            end = text.find("]", position + (3 if text.startswith("[!", position) else 2))
            if end > 0:
                yield text[position : end + 1], True
                position = end + 1
                continue
        yield character, character in "*?"
        position += 1


def _translate(pieces: list[tuple[str, bool]]) -> str:
    """Return the pattern as a regular expression. Each `*` takes the shortest run, atomically, so that nothing before it is tried again."""
    import re

    written: list[str] = []
    tail: list[str] = []  # the expressions after the last `*`
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


def _members(token: str) -> tuple[list[tuple[str, str]], bool]:
    """Return the ranges of the members of a class, and whether the class is negated."""
    body = token[1:-1]
    negated = body.startswith("!")
    members = body[1:] if negated else body
    ranges: list[tuple[str, str]] = []
    position = 0
    while position < len(members):
        if position + 2 < len(members) and members[position + 1] == "-":
            low, high = members[position], members[position + 2]
            position += 3
            if low <= high:  # a reversed range contains nothing
                ranges.append((low, high))
        else:
            ranges.append((members[position], members[position]))
            position += 1
    return ranges, negated


def _class(token: str) -> str:
    ranges, negated = _members(token)
    if not ranges:
        return "." if negated else "(?!)"
    written = "".join(f"\\U{ord(low):08x}-\\U{ord(high):08x}" for low, high in ranges)
    return f"[{'^' if negated else ''}{written}]"
