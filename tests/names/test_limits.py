"""How long a key and a word of a dictionary may be."""

from __future__ import annotations

import pytest

from catalog.names.limits import KEY_BYTES, clipped, is_long


@pytest.mark.parametrize("character", ["a", "é", "漢", "\U0001f600", "\ud800"])
def test_the_limit_is_in_bytes(character: str) -> None:
    size = len(character.encode("utf-8", "replace"))
    fits = character * (KEY_BYTES // size)
    assert not is_long(fits)
    assert is_long(fits + character)
    assert clipped(fits) == fits
    assert clipped(fits + character) == character * 200 + "…"
