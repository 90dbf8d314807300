"""Ages, as options and reports take them."""

from __future__ import annotations

import pytest

from catalog.errors import UsageError
from catalog.names.age import milliseconds

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
    "text", ["", "1", "h", "-1h", "1.5h", "1x", "1y", "1mo", "hours", "\u0661h", "9" * 10 + "s", "1ms", "1 h h", "0x1h"]
)
def test_no_age(text: str) -> None:
    with pytest.raises(UsageError, match=r"--older-than .* is not an age: write 90m"):
        milliseconds(text, "--older-than")
