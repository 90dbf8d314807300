"""Tables for people: columns below one another, no wider than the terminal (docs/scripts.md).

Strategy. Into a pipe a table is whole. On a terminal it has to fit, and gives way in this order: digests and times are told
shortly (`sha256:` and 12 digits, which is a reference still), columns that the command can spare are left out, and a line on
stderr names them, the widest cells lose their middle to `…`, and a last column of prose goes on below itself. A table of too
many columns for any of this is left to the terminal as it is.

Widths are those of characters on a terminal: east asian ones take two places, combining ones none.
"""

from __future__ import annotations

import os
import sys

from catalog.cli.messages import note
from catalog.cli.output import Format, cell, flush, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Get = Callable[[str], object]

_ROWS = 200  # so many rows are kept back to find the widths of the columns
_CHARACTERS = 1 << 20  # and no more than so many characters of them
_WIDEST = 80  # where no terminal sets a limit, a wider cell does not widen its column
_GAP = 2
_COMFORT = 24  # columns are spared as long as the others cannot have so much each
_NARROW = 20  # a digest, a time, a tag: of use only whole
_ENOUGH = 10  # what the wider ones must have besides
_LEAST = 8  # no column is cut further
_ZERO_WIDTH = 4  # so many characters at most for each place: marks without width could be any number
_TROUBLES = frozenset({"invalid", "unreadable", "missing"})


class Table(Format):
    """A table with a header. `spare` are columns to leave out where there is no room, the first one first; with `prose` the
    last column is sentences.
    """

    def __init__(self, columns: Sequence[str], spare: Sequence[str] = (), *, prose: bool = False) -> None:
        self._columns = list(columns)
        self._spare = spare
        self._prose = prose
        self._room = terminal_width()
        self._is_painted = _is_coloured()
        self._kept: list[list[str]] | None = []
        self._kept_characters = 0
        self._places: list[int] = []
        self._widths: list[int] = []
        self._is_short = False

    def row(self, get: Get) -> None:
        self._add([cell(get(column)) for column in self._columns])

    def nothing(self) -> None:
        self._add(["" for _ in self._columns])

    def flush(self) -> None:
        if self._kept:  # somebody waits for them: the widths are those of what came so far
            self._begin()
        flush()

    def end(self) -> None:
        if self._kept:
            self._begin()

    def _add(self, cells: list[str]) -> None:
        if self._kept is None:
            self._line(cells)
            return
        self._kept.append(cells)
        self._kept_characters += sum(map(len, cells))
        if len(self._kept) >= _ROWS or self._kept_characters >= _CHARACTERS:
            self._begin()

    def _begin(self) -> None:
        kept, self._kept = self._kept or [], None
        header = [cell(column.upper()) for column in self._columns]
        self._fit([header, *kept])
        self._line(header, is_header=True)
        for line in kept:
            self._line(line)

    def _fit(self, lines: list[list[str]]) -> None:
        """Choose the columns to show, and their widths."""
        self._places = list(range(len(self._columns)))
        widths = _natural(lines)
        if self._room is None:
            widths = [min(width, _WIDEST) for width in widths]
        elif _total(widths) > self._room:
            self._is_short = True
            widths = _natural([[_short(text) for text in line] for line in lines])
            left_out = []
            for column in self._spare:
                if _total([min(widths[place], _COMFORT) for place in self._places]) <= self._room:
                    break
                self._places.remove(self._columns.index(column))
                left_out.append(column)
            if left_out:
                note(f"no room for {', '.join(left_out)}: a wider terminal, or --format, shows all")
            shown = _levelled([widths[place] for place in self._places], self._room)
            widths = [0] * len(widths)
            for place, width in zip(self._places, shown, strict=True):
                widths[place] = width
        self._widths = widths

    def _line(self, cells: list[str], *, is_header: bool = False) -> None:
        pieces, rest = [], []
        is_short = self._is_short or (self._room is not None and self._overruns(cells, self._room))
        for place in self._places:
            text, width = cells[place], self._widths[place]
            if is_short:
                text = _short(text)
                if self._prose and place == self._places[-1]:
                    text, *rest = _wrapped(text, width)
                else:
                    text = _cut(text, width)
            padded = text if place == self._places[-1] else text + " " * (width - width_of(text))
            pieces.append(self._paint(padded, text, place, is_header=is_header))
        write((" " * _GAP).join(pieces).rstrip() + "\n")
        indent = " " * sum(self._widths[place] + _GAP for place in self._places[:-1])
        for text in rest:
            write(f"{indent}{text}\n")

    def _overruns(self, cells: list[str], room: int) -> bool:
        """Whether a row that came after the widths were chosen is too wide for them and for the terminal."""
        return _total([max(self._widths[place], width_of(cells[place])) for place in self._places]) > room

    def _paint(self, padded: str, text: str, place: int, *, is_header: bool) -> str:
        if not self._is_painted:
            return padded
        from catalog.cli.colour import BAD, BOLD, paint

        if is_header:
            return paint(padded, BOLD)
        return paint(padded, BAD) if self._columns[place] == "state" and text in _TROUBLES else padded


def width_of(text: str) -> int:
    """How many places `text`, which is printable, takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        2 if east_asian_width(c) in "WF" else 0 if category(c) in ("Mn", "Me") or "\u1160" <= c <= "\u11ff" else 1
        for c in text
    )


def terminal_width() -> int | None:
    """The width of the terminal that stdout is, COLUMNS before what it says itself; None where there is none."""
    if not sys.stdout.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _is_coloured() -> bool:
    if not sys.stdout.isatty():
        return False  # and nothing is loaded for it
    from catalog.cli.colour import is_coloured

    return is_coloured(sys.stdout)


def _natural(lines: list[list[str]]) -> list[int]:
    return [max(map(width_of, column)) for column in zip(*lines, strict=True)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _levelled(widths: list[int], room: int) -> list[int]:
    """The widths, the largest of them cut to one level, as high as there is room for; as they are where there is none.

    What is narrow stays whole where the others can have enough.
    """
    for whole, least in ((_NARROW, _ENOUGH), (0, _LEAST)):
        level = max(widths)
        while level >= least:
            levelled = [width if width <= whole else min(width, level) for width in widths]
            if _total(levelled) <= room:
                return _spent(levelled, widths, room)
            level -= 1
    return widths


def _spent(levelled: list[int], widths: list[int], room: int) -> list[int]:
    """What the level has left over is spent, one place a column."""
    for place, width in enumerate(widths):
        if levelled[place] < width and _total(levelled) < room:
            levelled[place] += 1
    return levelled


def _short(text: str) -> str:
    """A digest by its first 12 digits, a time without milliseconds."""
    if text.startswith(("sha256:", "sha384:", "sha512:")) and len(text) >= 71:
        return text[:19]
    if len(text) == 24 and text[10] == "T" and text[19] == "." and text[23] == "Z":
        return f"{text[:19]}Z"
    return text


def _cut(text: str, width: int) -> str:
    """At most `width` places of `text`: without its middle; without its end where the beginning says most."""
    if width_of(text) <= width and len(text) <= width * _ZERO_WIDTH:
        return text
    room = max(width - 1, 1)
    is_time = len(text) == 20 and text[10] == "T" and text[19] == "Z"
    behind = 0 if is_time or text.startswith("sha") else room // 2
    return _first(text, room - behind) + "…" + _first(text[::-1], behind)[::-1]


def _first(text: str, width: int) -> str:
    """As much of the beginning as takes no more than `width` places."""
    taken = 0
    for end, character in enumerate(text):
        taken += width_of(character)
        if taken > width or end >= width * _ZERO_WIDTH:
            return text[:end]
    return text


def _wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` places, at blanks where there are some; one line at least."""
    lines = []
    while width_of(text) > width or len(text) > width * _ZERO_WIDTH:
        line = _first(text, width) or text[0]
        blank = line.rfind(" ") if text[len(line) : len(line) + 1] != " " else len(line)
        if blank > 0:
            line = text[:blank]
        lines.append(line.rstrip(" "))
        text = text[len(line) :].lstrip(" ")
    return [*lines, text]
