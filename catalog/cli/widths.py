"""The widths of texts and of the terminal, in columns of the terminal, and the short forms of digests and times."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

ZERO_WIDTH = 4  # the most characters per column, because a text may contain any number of marks without width


def width_of(text: str) -> int:
    """Return how many columns `text`, which must be printable, takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        2 if east_asian_width(c) in "WF" else 0 if category(c) in ("Mn", "Me") or "\u1160" <= c <= "\u11ff" else 1
        for c in text
    )


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Return the width of the terminal on stdout or `stream`: COLUMNS if it is set, else what the terminal reports.

    Returns None if the stream is not a terminal, or if the terminal does not report a width.
    """
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and len(given) <= 9 and int(given):
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def first_of(text: str, width: int) -> str:
    """Return as much of the beginning of `text` as fits into `width` columns."""
    taken = 0
    for end, character in enumerate(text):
        taken += width_of(character)
        if taken > width or end >= width * ZERO_WIDTH:
            return text[:end]
    return text


def short(text: str) -> str:
    """Shorten a digest to its first 12 digits, and a time to seconds; return other text unchanged."""
    if text.startswith(("sha256:", "sha384:", "sha512:")) and len(text) >= 71:
        return text[:19]
    if len(text) == 24 and text[10] == "T" and text[19] == "." and text[23] == "Z":
        return f"{text[:19]}Z"
    return text[:19] if is_local_time(text) and text[19:20] == "." else text


def is_local_time(text: str) -> bool:
    """Return whether `text` is a time of catalog.cli.times.local, with or without milliseconds."""
    return len(text) in (19, 23) and text[4] + text[7] + text[10] + text[13] + text[16] == "-- ::"
