"""The known word that a mistyped one probably means."""

from __future__ import annotations

import pytest

from catalog.names.nearest import did_you_mean, nearest, nearest_option

WORDS = ["resolve", "Query", "index", "inspect"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("resolv", "resolve"), ("RESOLV", "resolve"), ("qurey", "Query"), ("query", "Query"), ("resolve", None), ("indx", "index"),
        ("xyz", None), ("", None),
    ],
)  # fmt: skip
def test_the_nearest_word(text: str, expected: str | None) -> None:
    assert nearest(text, WORDS) == expected


def test_long_words_are_not_compared() -> None:
    word = "a" * 99
    assert nearest(word + "b", [word + "c"]) == word + "c"
    assert nearest(word + "bb", [word + "c"]) is None
    assert nearest(word + "b", [word + "cc"]) is None


def test_the_dashes_of_options_do_not_make_them_alike() -> None:
    assert nearest_option("--formt", ["--format", "-f", "--store"]) == "--format"
    assert nearest_option("-formt", ["--format"]) == "--format"
    assert nearest_option("--", ["--format", "-f"]) is None
    assert nearest_option("--xyz", ["--abc"]) is None


def test_a_suggestion_shows_no_control_characters() -> None:
    assert did_you_mean("indx", WORDS) == "did you mean 'index'? "
    assert did_you_mean("ab\x1bd", ["ab\x1bc"]) == "did you mean 'ab\\x1bc'? "
    assert did_you_mean("xyz", WORDS) == ""
