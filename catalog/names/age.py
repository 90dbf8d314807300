"""Ages as people write them: `90m`, `24h`, `7d`."""

from __future__ import annotations

from datetime import datetime

from catalog.errors import UsageError
from catalog.names.escape import shown

_LONG = (("year", 31_536_000), ("month", 2_592_000), ("week", 604_800), ("day", 86_400), ("hour", 3600), ("minute", 60))
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_WORDS = dict(_LONG[2:]) | {"second": 1, "month": 31 * 86_400, "year": 366 * 86_400}
"""A month counts as 31 days and a year as 366, their greatest lengths, because whatever is younger than the given age is kept."""


def milliseconds(text: str, option: str) -> int:
    """Parse an age and return it in milliseconds.

    An age is a number followed by s, m, h, d, w or a word (`2weeks`, `1month`), or `0`. Raises UsageError, which names
    `option`, for any other `text`.
    """
    number = text[: len(text) - len(text.lstrip("0123456789"))]
    unit = text[len(number) :].strip(" ").lower()
    seconds = _UNITS.get(unit, _WORDS.get(unit.removesuffix("s")))
    if text == "0":
        return 0
    if seconds is None or not 0 < len(number) <= 9:
        from catalog.names.nearest import nearest

        word = nearest(unit, [*_WORDS, *(f"{each}s" for each in _WORDS)]) if number else None
        hint = f"did you mean '{number}{word}'? " if word else ""
        raise UsageError(f"{option} {shown(text)} is not an age: {hint}write 90m, 24h, 7d or 1month, or 0 for any age")
    return int(number) * seconds * 1000


def span(seconds: int) -> str:
    """Return a number of seconds in the largest unit that fits: `5 minutes`, `3 weeks`."""
    size = abs(seconds)
    unit, length = next((each for each in _LONG if size >= each[1]), ("second", 1))
    count = size // length
    return f"{count} {unit}{'' if count == 1 else 's'}"


def in_seconds(number: float) -> str:
    """Return a number of seconds with its unit: `1 second`, `2.5 seconds`."""
    return f"{number:g} second{'' if number == 1 else 's'}"


def ago(moment: str, now: float) -> str:
    """Return an RFC 3339 time relative to `now`, in seconds since 1970: `5 minutes ago`, `3 weeks ago`, `in 2 hours`."""
    seconds = int(now - datetime.fromisoformat(moment).timestamp())
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(seconds)}"
