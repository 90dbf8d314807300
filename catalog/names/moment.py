"""Points in time: parse what `--at` and layouts say, and format what the catalog stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from catalog.errors import UsageError
from catalog.names.escape import shown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999
"""The first and last millisecond that a `datetime` can hold. Earlier and later times are clamped to them."""
_AGES_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def parse_moment(text: str, now: int) -> int:
    """Parse an RFC 3339 time or date, an age (`90s`, `15m`, `2h`, `3d`, `1w`) or `@SECONDS`.

    Returns milliseconds since 1970, UTC; `now` is in the same unit. A time without a zone is UTC, and a date means its
    first moment. Raises UsageError for any other `text`.
    """
    number, unit = text[:-1], text[-1:]
    try:
        if unit in _AGES_MS and number.isascii() and number.isdigit():
            return max(now - int(number) * _AGES_MS[unit], _FIRST)
        if text.startswith("@") and text[1:].isascii() and text[1:].isdigit():
            return min(int(text[1:]) * 1000, _LAST)
        found = datetime.fromisoformat(text.upper())
    except ValueError as error:  # not a date, or a number of thousands of digits
        raise UsageError(
            f"{shown(text)} is not a time: write 2026-01-31, 2026-01-31T12:00:00Z, an age such as 15m, 2h or 3d, "
            "or @SECONDS"
        ) from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return (found - _EPOCH) // _MILLISECOND  # exact integers, so that the `since` of a span finds that span


def milliseconds(text: str) -> int | None:
    """Parse an RFC 3339 time found in a layout. Returns milliseconds since 1970, UTC; None if invalid or Go's zero time."""
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return (found - _EPOCH) // _MILLISECOND if found.year > 1 else None


def rfc3339(milliseconds: int | None) -> str | None:
    """Format a time of the catalog as the views do: RFC 3339, UTC, with milliseconds. None stays None."""
    if milliseconds is None:
        return None
    import time

    seconds, rest = divmod(milliseconds, 1000)
    at = time.gmtime(seconds)
    return f"{at.tm_year:04d}{time.strftime('-%m-%dT%H:%M:%S', at)}.{rest:03d}Z"
