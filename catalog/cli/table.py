"""Tables for people: aligned columns, no wider than the terminal (docs/scripts.md).

In a pipe, a table is never shortened. On a terminal it has to fit, so it is shortened in this order: digests and times are
abbreviated (`sha256:` and 12 digits, which is still a reference), columns that the command can spare are left out and named in
a line on stderr, the widest cells have their middle replaced by `…`, and a last column of prose is wrapped. If that is not
enough, each row is printed upright: one line per column, with its name before the value. If the column of tags may be left out,
the column of names shows `:TAG` for an image that has a tag and no name.

Widths are counted in columns of the terminal: a wide East Asian character takes two of them, a combining character none.
"""

from __future__ import annotations

import sys

from catalog.cli.messages import note
from catalog.cli.output import Format, cell, flush, write
from catalog.cli.widths import ZERO_WIDTH, first_of, is_local_time, short, terminal_width, width_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Get = Callable[[str], object]

_ROWS = 200  # how many rows are kept back to find the widths of the columns
_CHARACTERS = 1 << 20  # the most characters that are kept back
_WIDEST = 80  # without a terminal, a wider cell does not widen its column
_GAP = 2
_COMFORT = 24  # columns are left out until each of the others can have this width
_NARROW = 20  # a digest, a time or a tag is of use only if it is complete, so columns up to this width are not cut
_ENOUGH = 10  # unless the wider columns would have less than this
_LEAST = 8  # no column is cut to less than this
_TALLEST = 8  # a value in a row that is printed upright is cut to as many characters as fill this many lines
_BAD_STATES = frozenset({"invalid", "unreadable", "missing"})


class Table(Format):
    """A table with a header.

    `spare` are columns to leave out, in this order, if there is no room. `prose` is true if the last column holds sentences.
    A terminal shows the times in the columns `ages` relative to now, and those in `times` in the local zone (catalog.cli.times).
    """

    def __init__(
        self,
        columns: Sequence[str],
        spare: Sequence[str] = (),
        *,
        prose: bool = False,
        ages: Sequence[str] = (),
        times: Sequence[str] = (),
    ) -> None:
        self._columns = list(columns)
        self._spare = spare
        self._prose = prose
        self._room = terminal_width()
        self._shown: Mapping[str, Callable[[object], object]] = {}
        if self._room is not None and (ages or times):
            from catalog.cli.times import local, relative

            self._shown = dict.fromkeys(ages, relative) | dict.fromkeys(times, local)
        self._tags_are_names = self._room is not None and "name" in columns and "tag" in spare
        self._is_painted = _is_coloured()
        self._kept: list[list[str]] | None = []
        self._kept_characters = 0
        self._places: list[int] = []
        self._widths: list[int] = []
        self._is_short = False
        self._is_upright = False
        self._has_rows = False

    def row(self, get: Get) -> None:
        self._add([cell(self._value(column, get)) for column in self._columns])

    def _value(self, column: str, get: Get) -> object:
        if column in self._shown:
            return self._shown[column](get(column))
        name = get(column)
        if column != "name":
            return name
        tag = get("tag") if self._tags_are_names and name is None else None
        return name if tag is None else f":{tag}"

    def nothing(self) -> None:
        self._add(["" for _ in self._columns])

    def flush(self) -> None:
        if self._kept:  # the caller wants the rows to be read now, so the widths are those of the rows so far
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
        if not self._is_upright:
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
            widths = _natural([[short(text) for text in line] for line in lines])
            left_out = []
            for column in self._spare:
                if _total([min(widths[place], _COMFORT) for place in self._places]) <= self._room:
                    break
                self._places.remove(self._columns.index(column))
                left_out.append(column)
            shown = _levelled([widths[place] for place in self._places], self._room)
            if shown is None:
                self._places = list(range(len(self._columns)))
                self._is_upright = True
                return
            if left_out:
                note(f"no room for {', '.join(left_out)}: use a wider terminal or another --format to see everything")
            widths = [0] * len(widths)
            for place, width in zip(self._places, shown, strict=True):
                widths[place] = width
        self._widths = widths

    def _line(self, cells: list[str], *, is_header: bool = False) -> None:
        if self._is_upright:
            self._upright(cells, self._room or _WIDEST)
            return
        pieces, rest = [], []
        is_short = self._is_short or (self._room is not None and self._overruns(cells, self._room))
        for place in self._places:
            text, width = cells[place], self._widths[place]
            if is_short:
                text = short(text)
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

    def _upright(self, cells: list[str], room: int) -> None:
        """Print a row with one line per column, and a blank line between two rows."""
        labels = [cell(column.upper()) for column in self._columns]
        beside = max(map(width_of, labels)) + _GAP
        width = room - beside
        is_below = width < _LEAST  # the values go below their names
        if is_below:
            beside, width = _GAP, max(room - _GAP, _LEAST)
        if self._has_rows:
            write("\n")
        self._has_rows = True
        for place, text in enumerate(cells):
            label = first_of(labels[place], room)
            first, *rest = _wrapped(_cut(text if width_of(text) <= width else short(text), width * _TALLEST), width)
            if is_below:
                rest, first = [first, *rest], ""
            padding = " " * (beside - width_of(label)) if first else ""
            value = self._paint(first, first, place, is_header=False)
            write(f"{self._paint(label, label, place, is_header=True)}{padding}{value}\n")
            write("".join(f"{' ' * beside}{line}\n" for line in rest))

    def _overruns(self, cells: list[str], room: int) -> bool:
        """Return whether a row that came after the widths were chosen is too wide for them and for the terminal."""
        return _total([max(self._widths[place], width_of(cells[place])) for place in self._places]) > room

    def _paint(self, padded: str, text: str, place: int, *, is_header: bool) -> str:
        if not self._is_painted:
            return padded
        from catalog.cli.colour import BAD, BOLD, paint

        if is_header:
            return paint(padded, BOLD)
        return paint(padded, BAD) if self._columns[place] == "state" and text in _BAD_STATES else padded


def _is_coloured() -> bool:
    if not sys.stdout.isatty() and "catalog.cli.colour" not in sys.modules:  # `--color` would have loaded it
        return False
    from catalog.cli.colour import is_coloured

    return is_coloured(sys.stdout)


def _natural(lines: list[list[str]]) -> list[int]:
    return [max(map(width_of, column)) for column in zip(*lines, strict=True)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _levelled(widths: list[int], room: int) -> list[int] | None:
    """Return the widths with the largest ones cut to a common level that fits into `room`, or None if nothing fits.

    Narrow columns stay whole if that leaves enough for the others.
    """
    for whole, least in ((_NARROW, _ENOUGH), (0, _LEAST)):
        level = min(max(widths), max(room, 0))  # a cell may have megabytes
        while level >= least:
            levelled = [width if width <= whole else min(width, level) for width in widths]
            if _total(levelled) <= room:
                return _spent(levelled, widths, room)
            level -= 1
    return None


def _spent(levelled: list[int], widths: list[int], room: int) -> list[int]:
    """Return the levelled widths with the remaining room added, at most 1 per column that was cut."""
    for place, width in enumerate(widths):
        if levelled[place] < width and _total(levelled) < room:
            levelled[place] += 1
    return levelled


def _cut(text: str, width: int) -> str:
    """Return `text` with its middle, or the end of a digest or time, replaced by `…` if it is wider than `width`."""
    if width_of(text) <= width and len(text) <= width * ZERO_WIDTH:
        return text
    room = max(width - 1, 1)
    is_time = (len(text) == 20 and text[10] == "T" and text[19] == "Z") or is_local_time(text)
    behind = 0 if is_time or text.startswith("sha") else room // 2
    return first_of(text, room - behind) + "…" + first_of(text[::-1], behind)[::-1]


def _wrapped(text: str, width: int) -> list[str]:
    """Return the lines of `text`, none of them wider than `width`, split at spaces if possible; at least one line."""
    lines: list[str] = []
    at = 0
    while True:
        line = first_of(text[at : at + width * ZERO_WIDTH + 1], width)
        if at + len(line) == len(text):
            return [*lines, line]
        line = line or text[at]
        blank = line.rfind(" ") if text[at + len(line)] != " " else len(line)
        if blank > 0:
            line = line[:blank]
        lines.append(line.rstrip(" "))
        at += len(line)
        while text[at : at + 1] == " ":
            at += 1
