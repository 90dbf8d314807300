"""Shell patterns in `${x#p}`, `${x%p}` and `${x/p/r}`: `*`, `?` and the escapes that BuildKit knows, without `[...]`.

BuildKit turns them into regular expressions (shell/lex.go, `convertShellPatternToRegex`). Python's `re` could be made to
backtrack for hours, so here a pattern is a list of the pieces between its stars, and each piece is searched for after the
end of the one before.
"""

from __future__ import annotations

ANY = None
"""Represents `?` in a piece."""

Piece = list[str | None]


class BadPattern(ValueError):
    """A pattern that BuildKit refuses."""


def pieces(pattern: str) -> list[Piece]:
    """Return the pieces between the stars of a pattern; one piece if it has no star. Raises BadPattern."""
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
                raise BadPattern(f"unknown escape \\{literal}: use \\*, \\?, \\\\, \\}} or \\/")
        found[-1].append(literal)
    return found


def trim_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """Return `value` without its shortest or longest prefix that matches. Raises BadPattern."""
    found = _match(value, pieces(pattern), 0, longest=longest)
    return value if found is None else value[found:]


def trim_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """Return `value` without its shortest or longest suffix that matches. Raises BadPattern."""
    backwards = [piece[::-1] for piece in reversed(pieces(pattern))]
    found = _match(value[::-1], backwards, 0, longest=longest)
    return value if found is None else value[: len(value) - found]


def replace(value: str, pattern: str, replacement: str, *, every: bool) -> str:
    """Return `value` with the first match, or every one, replaced. Matches are as long as possible. Raises BadPattern."""
    wanted = pieces(pattern)
    written: list[str] = []
    position, last = 0, -1
    while position <= len(value):
        begin = _find(value, wanted[0], position)
        end = None if begin is None else _match(value, wanted, begin, longest=True)
        if begin is None or end is None:  # if the other pieces do not follow the first place, they follow no later one
            break
        written.append(value[position:begin])
        if end > last:  # Go does not accept an empty match at the end of the previous one
            written.append(replacement)
        position = last = end
        if end == begin:
            written.append(value[begin : begin + 1])
            position = begin + 1
        if not every:
            break
    return "".join(written) + value[position:]


def _match(value: str, wanted: list[Piece], begin: int, *, longest: bool) -> int | None:
    """Return the end of the match that begins at `begin`, or None.

    In the shortest match, each piece is at the first place where it fits. The longest match differs only in the last piece, which
    is at the last such place.
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
    """Return the text of a piece without `?`, which `str.find` can find in linear time; None for a piece with `?`."""
    text = "".join(each or "" for each in piece)
    return text if len(text) == len(piece) else None
