"""Points in time, as `--at` parses them and as `history` prints them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UsageError
from catalog.names.moment import milliseconds, parse_moment, rfc3339

NOW = 1_800_000_000_123


@contextlib.contextmanager
def zone(name: str) -> Iterator[None]:
    before = os.environ.pop("TZ", None)
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    with zone("UTC"):
        yield


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2026-01-31", 1_769_817_600_000),
        ("2026-01-31T12:00:00Z", 1_769_860_800_000),
        ("2026-01-31t12:00:00z", 1_769_860_800_000),  # RFC 3339 allows both
        ("2026-01-31 12:00:00", 1_769_860_800_000),
        ("2026-01-31T12:00:00.123Z", 1_769_860_800_123),
        ("2026-01-31T12:00:00.123999Z", 1_769_860_800_123),
        ("2026-01-31T13:30:00+01:30", 1_769_860_800_000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("@0", 0),
        ("@1769860800", 1_769_860_800_000),
        ("0s", NOW),
        ("90s", NOW - 90_000),
        ("15m", NOW - 900_000),
        ("2h", NOW - 7_200_000),
        ("3d", NOW - 259_200_000),
        ("1w", NOW - 604_800_000),
    ],
)
def test_times(text: str, milliseconds: int) -> None:
    assert parse_moment(text, NOW) == milliseconds


@pytest.fixture
def berlin() -> Iterator[None]:
    with zone("Europe/Berlin"):
        yield


def local(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


# 2027-03-31 was a Wednesday, three days after the clocks had gone forward.
HERE = "2027-03-31T09:30:00+02:00"


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("2027-01-31", "2027-01-31T00:00:00+01:00"),
        ("2027-03-30T12:00", "2027-03-30T12:00:00+02:00"),
        ("2027-03-30T12:00:00Z", "2027-03-30T12:00:00+00:00"),
        ("now", HERE),
        ("today", "2027-03-31T00:00:00+02:00"),
        ("Yesterday", "2027-03-30T00:00:00+02:00"),
        ("tuesday", "2027-03-30T00:00:00+02:00"),
        ("wednesday", "2027-03-24T00:00:00+01:00"),
        ("THURSDAY", "2027-03-25T00:00:00+01:00"),
        ("1month", "2027-02-28T09:30:00+01:00"),
        ("13 months", "2026-02-28T09:30:00+01:00"),
        ("3months", "2026-12-31T09:30:00+01:00"),
        ("1year", "2026-03-31T09:30:00+02:00"),
        ("2025years", "0002-03-31T09:30:00+00:53:28"),
        ("2026years", "0001-03-31T09:30:00+00:53:28"),
        ("9999years", "0001-01-01T00:00:00+00:00"),
        ("2hours", "2027-03-31T07:30:00+02:00"),
        ("1day", "2027-03-30T09:30:00+02:00"),
        ("3 weeks", "2027-03-10T08:30:00+01:00"),
    ],
)
def test_times_in_words_and_without_a_zone_are_local(berlin: None, text: str, means: str) -> None:
    assert parse_moment(text, local(HERE)) == local(means)


@pytest.mark.parametrize(
    "text",
    ["", "s", "-5m", "5", "5y", "month", "1fortnight", "1.5h", "\u0665m", "@", "@x", "@-5", "someday", "12:00", "2026", "2026-02-30",
     "2026-01-31T25:00:00Z", "2026-01-31T12:00:00+99:00", "9" * 5000 + "d", "@" + "9" * 5000, "2026-01-31\n", "@1x", "@+1", "@ 1", "@\u0661", "5X", "5Xd", "5dX"],
)  # fmt: skip
def test_a_text_that_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_moment(text, NOW)


@given(st.integers(0, 253_402_300_799_999))
def test_a_printed_time_is_parsed_back_to_the_millisecond(milliseconds: int) -> None:
    assert parse_moment(str(rfc3339(milliseconds)), NOW) == milliseconds


@given(st.text())
def test_any_text_is_a_time_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_moment(text, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", 1_769_860_800_000), ("2026-01-31T13:30:00+01:30", 1_769_860_800_000), ("2026-01-31T12:00:00", 1_769_860_800_000),
        ("0001-01-01T00:00:00Z", None), ("0001-12-31T23:59:59Z", None), ("0002-01-01T00:00:00Z", -62_104_060_800_000), ("", None),
        ("yesterday", None),
    ],
)  # fmt: skip
def test_a_time_in_a_layout_without_a_zone_is_utc(berlin: None, text: str, expected: int | None) -> None:
    assert milliseconds(text) == expected


def test_a_time_of_the_catalog_is_printed_in_utc(berlin: None) -> None:
    assert rfc3339(1_769_860_800_007) == "2026-01-31T12:00:00.007Z"
    assert rfc3339(-1) == "1969-12-31T23:59:59.999Z"
    assert rfc3339(None) is None
