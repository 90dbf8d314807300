"""The plots show the values that they are given, and a label is never more than text."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from catalog.browse.drawing import Bar, Day, bars, line, size

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 70, "1048576.0 PiB"),
    ],
)
def test_sizes_are_in_binary_units(count: int, text: str) -> None:
    assert size(count) == text


def test_the_parts_of_a_bar_are_as_long_as_they_are_large() -> None:
    drawn = ET.fromstring(bars([Bar("a", 300, 100), Bar("b", 0, 0), Bar("c", 0, 200)], "t", ("one", "two")))
    widths = [[float(rect.attrib["width"]) for rect in row.iter(f"{SVG}rect")] for row in drawn.iter(f"{SVG}g")]
    whole = sum(widths[0])
    assert widths[0] == pytest.approx([whole * 3 / 4, whole / 4], abs=0.2)
    assert widths[1] == [0, 0]
    assert widths[2] == pytest.approx([0, whole / 2], abs=0.2)


def test_no_bars_of_nothing_and_one_day_are_drawn_too() -> None:
    ET.fromstring(bars([Bar("empty", 0, 0)], "t", ("one", "two")))
    drawn = ET.fromstring(line([Day("2026-01-01", 0)], "t"))
    assert [each.text for each in drawn.iter(f"{SVG}title")] == ["2026-01-01: 0"]


def test_each_day_of_many_has_its_number_and_few_have_a_label() -> None:
    days = [Day(f"2026-01-{number:02}", number * 1000) for number in range(1, 32)]
    drawn = ET.fromstring(line(days, "t"))
    assert [each.text for each in drawn.iter(f"{SVG}title")] == [f"{day.day}: {day.entries:,}" for day in days]
    assert sum((each.text or "").startswith("2026") for each in drawn.iter(f"{SVG}text")) == 8


def test_a_label_is_text_and_is_cut() -> None:
    label = "<script>alert(1)</script>&\"'" + "x" * 80
    drawn = ET.fromstring(bars([Bar(label, 1, 1)], label, ("one", "two")))
    assert [each.tag for each in drawn.iter() if "script" in each.tag] == []
    assert f"…{'x' * 35}" in [each.text for each in drawn.iter(f"{SVG}text")]
    assert any((each.text or "").startswith(label) for each in drawn.iter(f"{SVG}title"))
