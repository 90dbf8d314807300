"""Texts as they are printed."""

from __future__ import annotations

import pytest

from catalog.names.escape import csv_text, escape, shown

PIECE = 1 << 16
"""How many characters are escaped at a time."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""), ("plain é 漢", "plain é 漢"), ("\\", "\\\\"), ("a\tb\nc\rd", "a\\tb\\nc\\rd"), ("\x00", "\\x00"), ("\x1b[0m", "\\x1b[0m"),
        ("\x9f", "\\x9f"), ("\xad", "\\xad"), ("\u0378", "\\u0378"), ("\u202e", "\\u202e"), ("\uffff", "\\uffff"), ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"), ("\U00100000", "\\U00100000"),
    ],
)  # fmt: skip
def test_a_text_is_escaped(text: str, expected: str) -> None:
    assert escape(text) == expected


@pytest.mark.parametrize("length", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 1])
def test_a_long_text_is_escaped_in_pieces_and_loses_nothing(length: int) -> None:
    assert escape("a" * (length - 1) + "\n") == "a" * (length - 1) + "\\n"
    assert escape("\x01" * length) == "\\x01" * length


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""), ("a=1", "a=1"), ("é", "é"), ("=1", "'=1"), ("+1", "'+1"), ("-1", "'-1"), ("@a", "'@a"), ("\uff1d1", "'\uff1d1"), ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"), ("\uff20a", "'\uff20a"), (" X=1", " X=1"), ("  =1", "'  =1"), ("'=1", "''=1"), ("' @", "'' @"), ("'a", "'a"), ("(=1)", "(=1)"), ("\t=1", "\\t=1"),
    ],
)  # fmt: skip
def test_no_cell_is_a_formula(text: str, expected: str) -> None:
    assert csv_text(text) == expected


def test_a_message_shows_a_text_up_to_a_limit() -> None:
    assert shown("a" * 120) == "a" * 120
    assert shown("a" * 121) == "a" * 117 + "..."
    assert shown("\n" * 5, 4) == "\\n..."
