"""Colour, where it helps somebody who looks at a terminal: headers, states that are not well, the word `error`.

Never into a pipe or a file, never with NO_COLOR set (no-color.org: to anything but the empty text), never where TERM says
that the terminal cannot do it. Only our own words are painted, and never the whole of what a layout says.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

BOLD = "1"
BAD = "31"


def is_coloured(stream: TextIO) -> bool:
    """Whether what is written to `stream` may have colour."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb") and stream.isatty()


def paint(text: str, how: str) -> str:
    """`text` in a colour or weight, and what stands behind it as before."""
    return f"\x1b[{how}m{text}\x1b[0m"
