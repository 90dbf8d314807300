"""Points in time: parse the value of `--at` and the times in layouts, and format the times that the catalog stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from catalog.errors import UsageError
from catalog.names.escape import shown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DAY = timedelta(days=1)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999
"""The first and last millisecond that a `datetime` can hold. Earlier and later times are clamped to them."""
_AGES_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_WORDS = {"second": "s", "minute": "m", "hour": "h", "day": "d", "week": "w"}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = {"month": 1, "year": 12}


def parse_moment(text: str, now: int) -> int:
    """Parse a time, as the help of `--at` describes it. Returns milliseconds since 1970, UTC; `now` is in the same unit.

    A time is an RFC 3339 time, a date, an age (`90s`, `15m`, `2h`, `3d`, `1w`, `2hours`, `1month`, `1year`), `now`, `today`,
    `yesterday`, the name of a day, which means the last such day before today, or `@SECONDS`. A time without a zone is local,
    and a day means its first moment. Raises UsageError for any other `text`.
    """
    try:
        found = _relative(text.lower(), now)
        if found is not None:
            return max(found, _FIRST)
        if text.startswith("@") and text[1:].isascii() and text[1:].isdigit():
            return min(int(text[1:]) * 1000, _LAST)
        return _as_milliseconds(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError, OSError) as error:  # not a date, or a number of thousands of digits
        raise UsageError(
            f"{shown(text)} is not a time: write 2026-01-31, 2026-01-31T12:00:00Z, yesterday, tuesday, an age such as 15m, "
            "2h, 3d or 1month, or @SECONDS"
        ) from error


def _relative(text: str, now: int) -> int | None:
    """Return the time that an age or a day means, or None if `text` is neither. Raises ValueError and OverflowError."""
    number = text[: len(text) - len(text.lstrip("0123456789"))]
    unit = text[len(number) :].strip(" ")
    if number and (unit in _AGES_MS or unit.removesuffix("s") in _WORDS):
        return now - int(number) * _AGES_MS[unit if unit in _AGES_MS else _WORDS[unit.removesuffix("s")]]
    here = (_EPOCH + now * _MILLISECOND).astimezone()
    if number and unit.removesuffix("s") in _MONTHS:
        return _as_milliseconds(_months_before(here, int(number) * _MONTHS[unit.removesuffix("s")]))
    if text == "now":
        return now
    if text in ("today", "yesterday"):
        days = int(text == "yesterday")
    elif text in _DAYS:
        days = (here.weekday() - _DAYS.index(text) - 1) % 7 + 1
    else:
        return None
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    return _as_milliseconds(midnight - days * _DAY)


def _months_before(moment: datetime, months: int) -> datetime:
    """Return the same local time `months` earlier, on the last day if that month is too short."""
    month = moment.year * 12 + moment.month - 1 - months
    if month < 12:  # before the year 1
        return datetime(1, 1, 1, tzinfo=UTC)
    first = moment.replace(year=month // 12, month=month % 12 + 1, day=1, tzinfo=None)
    following = (first + 31 * _DAY).replace(day=1)
    return first.replace(day=min(moment.day, (following - _DAY).day))


def _as_milliseconds(found: datetime) -> int:
    if found.tzinfo is None:
        found = found.astimezone()  # in the local zone
    return (found - _EPOCH) // _MILLISECOND  # integer arithmetic is exact, so the `since` of a span finds that span


def milliseconds(text: str) -> int | None:
    """Parse an RFC 3339 time found in a layout. Returns milliseconds since 1970, UTC, or None if invalid or Go's zero time."""
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
