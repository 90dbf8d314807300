"""Ages, as options and reports take them."""

from __future__ import annotations

import pytest

from catalog.errors import UsageError
from catalog.names.age import ago, in_seconds, milliseconds, span

DAY = 86_400_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("0s", 0), ("90m", DAY // 16), ("24h", DAY), ("24 hours", DAY), ("1d", DAY), ("1Day", DAY), ("2w", 14 * DAY),
        ("2weeks", 14 * DAY), ("30minutes", DAY // 48), ("5seconds", 5000), ("1month", 31 * DAY), ("2years", 732 * DAY),
    ],
)  # fmt: skip
def test_an_age(text: str, expected: int) -> None:
    assert milliseconds(text, "--older-than") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "h",
        "-1h",
        "1.5h",
        "1x",
        "1y",
        "1mo",
        "hours",
        "\u0661h",
        "9" * 10 + "s",
        "1ms",
        "1 h h",
        "0x1h",
        "1Xs",
        "1sX",
    ],
)
def test_no_age(text: str) -> None:
    with pytest.raises(UsageError, match=r"--older-than .* is not an age: write 90m"):
        milliseconds(text, "--older-than")


@pytest.mark.parametrize(
    ("text", "hint"), [("1dya", "did you mean '1day'? "), ("3 wekes", "did you mean '3weeks'? "), ("dya", "")]
)
def test_the_nearest_age_is_suggested(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        milliseconds(text, "--older-than")
    assert (
        str(raised.value) == f"--older-than {text} is not an age: {hint}write 90m, 24h, 7d or 1month, or 0 for any age"
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 seconds"), (1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (3599, "59 minutes"), (3600, "1 hour"), (-7200, "2 hours"),
        (86_400, "1 day"), (604_800, "1 week"), (2_592_000, "1 month"), (31_535_999, "12 months"), (2 * 31_536_000, "2 years"),
    ],
)  # fmt: skip
def test_a_span_in_its_largest_unit(seconds: int, expected: str) -> None:
    assert span(seconds) == expected


def test_a_time_relative_to_now() -> None:
    assert ago("1970-01-01T00:10:00.000Z", 900) == "5 minutes ago"
    assert ago("1970-01-01T00:10:00.000Z", 600) == "0 seconds ago"
    assert ago("1970-01-01T00:10:00.000Z", 0) == "in 10 minutes"
    assert (in_seconds(1), in_seconds(2.5), in_seconds(0)) == ("1 second", "2.5 seconds", "0 seconds")
