"""What Python code costs, counted: lines that run, and the text that methods written in C go through."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

SIZES = 250, 1000
LARGE = 1_000, 4_000
"""How many parts an input has: the second is four times the first."""

FACTOR = 4.6
"""The most that four times the input may cost, as a factor. Sorting, and lists that double their size when full, take a little more."""
SPARE = 1_000
"""What an answer may cost beside that: the first use of something compiles or imports it."""

_PER_LINE = 64
"""How many characters or elements that a method in C reads count as one line."""
_WHOLE = frozenset(
    [
        "capitalize",
        "casefold",
        "copy",
        "count",
        "decode",
        "encode",
        "hex",
        "isalnum",
        "isalpha",
        "isascii",
        "isdecimal",
        "isdigit",
        "isprintable",
        "lower",
        "lstrip",
        "partition",
        "replace",
        "rpartition",
        "rsplit",
        "rstrip",
        "sort",
        "split",
        "splitlines",
        "strip",
        "title",
        "translate",
        "upper",
    ]
)
"""Methods that go through all of what they belong to."""


def cost(do: Callable[[], object]) -> int:
    """Lines of this project's code that `do` runs, and a share of one for all that built-in methods go through."""
    lines = 0
    through = 0

    def enter(frame: FrameType, _: str, __: Any) -> Any:
        return follow if "/catalog/" in frame.f_code.co_filename else None

    def follow(_: FrameType, event: str, __: Any) -> Any:  # apart from `enter`, because it is called for each line
        nonlocal lines
        if event == "line":
            lines += 1
        return follow

    def profile(_: FrameType, event: str, function: Any) -> None:
        nonlocal through
        if event == "c_call" and getattr(function, "__name__", "") in _WHOLE:
            owner = getattr(function, "__self__", None)
            if isinstance(owner, str | bytes | bytearray | list | dict):
                through += len(owner)

    sys.settrace(enter)
    sys.setprofile(profile)
    try:
        do()
    finally:
        sys.setprofile(None)
        sys.settrace(None)
    return lines + through // _PER_LINE


def is_linear(costs: tuple[int, int], factor: float = FACTOR, spare: int = SPARE) -> bool:
    """Whether the second of two costs, of four times the input, is about four times the first."""
    return costs[1] <= costs[0] * factor + spare
