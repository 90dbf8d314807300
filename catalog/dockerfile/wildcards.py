"""Shell patterns in `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?` and the escapes that BuildKit knows, without `[...]`.

BuildKit makes regular expressions of them (shell/lex.go, `convertShellPatternToRegex`). Here a pattern is its literal
pieces between stars, each looked for from where the last one ended: Python's `re` could be made to backtrack for hours.
"""

from __future__ import annotations

ANY = None
"""Stands for `?` in a piece."""

Piece = list[str | None]


class BadPattern(ValueError):
    """A pattern that BuildKit refuses."""


def pieces(pattern: str) -> list[Piece]:
    """The literal pieces between the stars of a pattern; one piece where it has no star. Raises BadPattern."""
    found: list[Piece] = [[]]
    characters = iter(pattern)
    for each in characters:
        if each == "*":
            found.append([])
            continue
        literal: str | None = ANY if each == "?" else each
        if each == "\\":
            literal = next(characters, "")
            if literal not in ("*", "?", "\\", "}", "/") or not literal:
                raise BadPattern(f"the escape \\{literal} is none: only \\*, \\?, \\\\, \\}} and \\/ are")
        found[-1].append(literal)
    return found


def trim_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """`value` without the beginning that matches, the shortest or the longest."""
    found = _match(value, pieces(pattern), 0, longest=longest)
    return value if found is None else value[found:]


def trim_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """`value` without the end that matches, the shortest or the longest."""
    backwards = [piece[::-1] for piece in reversed(pieces(pattern))]
    found = _match(value[::-1], backwards, 0, longest=longest)
    return value if found is None else value[: len(value) - found]


def replace(value: str, pattern: str, replacement: str, *, every: bool) -> str:
    """`value` with the first match, or every one, replaced; each is the longest that begins where it does."""
    wanted = pieces(pattern)
    written: list[str] = []
    position, last = 0, -1
    while position <= len(value):
        begin = _find(value, wanted[0], position)
        end = None if begin is None else _match(value, wanted, begin, longest=True)
        if begin is None or end is None:  # where the rest is not ahead of the first place, it is ahead of no later one
            break
        written.append(value[position:begin])
        if end > last:  # Go takes no empty match where the last one ended
            written.append(replacement)
        position = last = end
        if end == begin:
            written.append(value[begin : begin + 1])
            position = begin + 1
        if not every:
            break
    return "".join(written) + value[position:]


def _match(value: str, wanted: list[Piece], begin: int, *, longest: bool) -> int | None:
    """Where a match that begins at `begin` ends; None where there is none.

    Each piece at its first place gives the shortest match; the longest differs in the last piece alone, which is at its
    last place.
    """
    if not _is_at(value, wanted[0], begin):
        return None
    position = begin + len(wanted[0])
    for number, piece in enumerate(wanted[1:], 2):
        place = _find(value, piece, position)
        if place is None:
            return None
        if longest and number == len(wanted):
            place = _find_last(value, piece, place)
        position = place + len(piece)
    return position


def _is_at(value: str, piece: Piece, place: int) -> bool:
    if place + len(piece) > len(value):
        return False
    literal = _literal(piece)
    if literal is not None:
        return value.startswith(literal, place)
    return all(each is ANY or value[place + offset] == each for offset, each in enumerate(piece))


def _find(value: str, piece: Piece, begin: int) -> int | None:
    literal = _literal(piece)
    if literal is not None:
        found = value.find(literal, begin)
        return None if found < 0 else found
    places = range(begin, len(value) - len(piece) + 1)
    return next((place for place in places if _is_at(value, piece, place)), None)


def _find_last(value: str, piece: Piece, begin: int) -> int:
    literal = _literal(piece)
    if literal is not None:
        return max(value.rfind(literal, begin), begin)
    places = range(len(value) - len(piece), begin, -1)
    return next((place for place in places if _is_at(value, piece, place)), begin)


def _literal(piece: Piece) -> str | None:
    """The text of a piece without `?`: it is looked for in time of the value's length alone."""
    text = "".join(each or "" for each in piece)
    return text if len(text) == len(piece) else None
