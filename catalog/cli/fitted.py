"""Break lines on stderr between words so that they fit the terminal, which would break them inside words. A pipe gets them unchanged.

A quoted command stays on one line if it fits, so that it can be copied. A word longer than the terminal is wide, such as a path, is
left for the terminal to break, because the terminal still copies it as one word.
"""

from __future__ import annotations

import re
import sys

from catalog.cli.widths import short, terminal_width, width_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST = 20
"""A width below this is ignored."""
_PIECE = re.compile(r"'[^']*'\S*|\S+")
_INDENT = "  "


def fitted(line: str) -> str:
    """Return a line without control characters as lines that fit the terminal on stderr, all but the first indented."""
    width = _width()
    if width is None or width_of(line) <= width:
        return line
    lines = [""]
    for piece in _pieces(line, width - len(_INDENT)):
        joined = f"{lines[-1]} {piece}" if lines[-1].strip() else lines[-1] + piece
        if width_of(joined) > width and lines[-1].strip():
            lines.append(_INDENT + piece)
        else:
            lines[-1] = joined
    return "\n".join(lines)


def fitted_row(row: str) -> str:
    """Return a row, whose cells are separated by tabs, as text that fits the terminal on stderr; unchanged if that is not a terminal.

    The row stays on one line if it fits, if necessary with short digests and times; otherwise each cell gets a line.
    """
    width = _width()
    cells = row.split("\t")
    if width is None or len(cells) == 1:
        return row
    line = _INDENT.join(cell for cell in cells if cell)
    for made in (line, _INDENT.join(short(cell) for cell in cells if cell)):
        if width_of(made) + len(_INDENT) <= width:
            return made
    first, *rest = (cell if width_of(cell) + 2 * len(_INDENT) <= width else short(cell) for cell in cells if cell)
    return "\n".join([first, *(2 * _INDENT + cell for cell in rest)])


def _width() -> int | None:
    width = terminal_width(sys.stderr)
    return width if width is not None and width >= _LEAST else None


def _pieces(line: str, most: int) -> Iterator[str]:
    """Yield the pieces that must not be broken: words, and quoted text that is at most `most` columns wide."""
    for found in _PIECE.finditer(line):
        piece = found[0]
        yield from (piece,) if width_of(piece) <= most else piece.split()
