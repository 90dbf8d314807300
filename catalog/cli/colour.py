"""Colour on a terminal: headers, bad states and the word `error`.

`--color` decides. With `auto`, the default, there is no colour in a pipe or a file, if NO_COLOR is set and not empty (no-color.org), or
if TERM is empty, unset or `dumb`. Only ocicat's own words are coloured, never text from a layout.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

HOW = ("auto", "always", "never")


class _Chosen:
    how = "auto"


chosen = _Chosen()
"""The value of --color, in `how`: one of HOW."""

BOLD = "1"
BAD = "31"


def is_coloured(stream: TextIO) -> bool:
    """Return whether text written to `stream` may be coloured."""
    if chosen.how != "auto":
        return chosen.how == "always"
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb") and stream.isatty()


def paint(text: str, how: str) -> str:
    """Return `text` in the colour or weight `how`, followed by a reset."""
    return f"\x1b[{how}m{text}\x1b[0m"
