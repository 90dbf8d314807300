"""Points in time, as `--at` parses them and as `history` prints them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UsageError
from catalog.names.moment import parse_moment, rfc3339

NOW = 1_800_000_000_123


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


@pytest.mark.parametrize(
    "text",
    ["", "s", "-5m", "5", "5y", "1.5h", "\u0665m", "@", "@x", "@-5", "yesterday", "12:00", "2026", "2026-02-30",
     "2026-01-31T25:00:00Z", "2026-01-31T12:00:00+99:00", "9" * 5000 + "d", "@" + "9" * 5000, "2026-01-31\n"],
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
