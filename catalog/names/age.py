"""Ages as people write them: `90m`, `24h`, `7d`."""

from __future__ import annotations

from datetime import datetime

from catalog.errors import UsageError
from catalog.names.escape import shown

_LONG = (("year", 31_536_000), ("month", 2_592_000), ("week", 604_800), ("day", 86_400), ("hour", 3600), ("minute", 60))
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def milliseconds(text: str, option: str) -> int:
    """Return an age in milliseconds: a number and s, m, h, d or w, or `0`. Raises UsageError, which names `option`."""
    number, unit = (text, "s") if text == "0" else (text[:-1], text[-1:])
    if unit not in _UNITS or not (number.isascii() and number.isdecimal()) or len(number) > 9:
        raise UsageError(f"{option} {shown(text)} is not an age: write 90m, 24h or 7d, or 0 for any age")
    return int(number) * _UNITS[unit] * 1000


def shortest(seconds: int) -> str:
    """Return an age in the largest unit that fits, such as `3d`."""
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS[unit]:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{max(seconds, 0)}s"


def ago(moment: str, now: float) -> str:
    """Return an RFC 3339 time relative to `now`, in seconds since 1970: `5 minutes ago`, `3 weeks ago`, `in 2 hours`."""
    seconds = int(now - datetime.fromisoformat(moment).timestamp())
    size = abs(seconds)
    unit, length = next((each for each in _LONG if size >= each[1]), ("second", 1))
    count = size // length
    words = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{words} ago" if seconds >= 0 else f"in {words}"
