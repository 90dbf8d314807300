"""Points in time: as `--at` takes one, and as layouts hold them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from catalog.errors import UsageError
from catalog.names.escape import shown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999
"""The first and the last millisecond that a date has; what lies beyond them is taken for them."""
_AGES_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def parse_moment(text: str, now: int) -> int:
    """Milliseconds since 1970, UTC, of an RFC 3339 time or date, an age (`90s`, `15m`, `2h`, `3d`, `1w`), or `@SECONDS`.

    A time without a zone is UTC; a date is its first moment. `now` is in milliseconds too. Raises UsageError.
    """
    number, unit = text[:-1], text[-1:]
    try:
        if unit in _AGES_MS and number.isascii() and number.isdigit():
            return max(now - int(number) * _AGES_MS[unit], _FIRST)
        if text.startswith("@") and text[1:].isascii() and text[1:].isdigit():
            return min(int(text[1:]) * 1000, _LAST)
        found = datetime.fromisoformat(text.upper())
    except ValueError as error:  # no date, or a number of thousands of digits
        raise UsageError(
            f"no time: {shown(text)}: write 2026-01-31, 2026-01-31T12:00:00Z, an age such as 15m, 2h or 3d, or @SECONDS"
        ) from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return (found - _EPOCH) // _MILLISECOND  # in whole numbers: a span is found by its own beginning


def milliseconds(text: str) -> int | None:
    """Milliseconds since 1970, UTC, of an RFC 3339 time out of a layout; None for what is none, and for Go's zero time."""
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return (found - _EPOCH) // _MILLISECOND if found.year > 1 else None


def rfc3339(milliseconds: int | None) -> str | None:
    """A time of the catalog as RFC 3339 text in UTC of one fixed width, as the views write it; None stays None."""
    if milliseconds is None:
        return None
    import time

    seconds, rest = divmod(milliseconds, 1000)
    at = time.gmtime(seconds)
    return f"{at.tm_year:04d}{time.strftime('-%m-%dT%H:%M:%S', at)}.{rest:03d}Z"
