"""Draw plots as SVG text: days as a stepped line, and bars of two parts. This module uses neither SQL nor Datasette.

SVG does not reflow, so each plot is drawn for wide and for narrow windows (WIDE, NARROW), and the style sheet shows one.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from catalog.names.sizes import human

_HEIGHT = 260
_RIGHT, _TOP, _BOTTOM = 20, 16, 34
_DAY = 60  # the largest width of a day
_PARTS = ("first", "second")


class Day(NamedTuple):
    """A day in UTC, `YYYY-MM-DD`, and the number of entries at its end."""

    day: str
    entries: int


class Bar(NamedTuple):
    """A bar of two parts; their sum is its length."""

    label: str
    first: int
    second: int


class Shape(NamedTuple):
    """The dimensions of a plot: its `width`, the space `left` of its axis, how many `days` have a label, the width of a bar's
    `label` (0: the label is above its bar), the height of a `row`, and the space for a size `behind` a bar.
    """

    name: str
    width: int
    left: int
    days: int
    label: int
    row: int
    behind: int


WIDE = Shape("wide", 900, 110, 8, 260, 24, 110)
NARROW = Shape("narrow", 360, 44, 3, 0, 40, 0)


def line(days: Sequence[Day], title: str, shape: Shape = WIDE) -> str:
    """Return an SVG of the days, in order, as a stepped line with an axis from 0. `days` must not be empty."""
    top = max(1, *(day.entries for day in days))
    left, right = shape.left, shape.width - _RIGHT
    width, height = right - left, _HEIGHT - _TOP - _BOTTOM
    step = min(_DAY, width / len(days))

    def y(entries: int) -> float:
        return _TOP + height * (1 - entries / top)

    path = f"M{left},{_TOP + height}"
    for number, day in enumerate(days):
        path += f"V{y(day.entries):.1f}H{left + step * (number + 1):.1f}"
    path += f"V{_TOP + height}Z"
    marks = "".join(
        f'<line class="grid" x1="{left}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,}</text>'
        for value in sorted({0, top // 2, top})
    )
    labels = "".join(
        f'<text x="{left + step * (number + 0.5):.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{html.escape(day.day)}</text>'
        for number, day in _some(days, shape.days)
    )
    tips = "".join(
        f'<rect class="tip" x="{left + step * number:.1f}" y="{_TOP}" width="{step:.1f}" height="{height}">'
        f"<title>{html.escape(day.day)}: {day.entries:,}</title></rect>"
        for number, day in enumerate(days)
    )
    return _svg(shape, _HEIGHT, title, f'{marks}<path class="first" d="{path}"/>{labels}{tips}')


def bars(rows: Sequence[Bar], title: str, names: tuple[str, str], shape: Shape = WIDE) -> str:
    """Return an SVG with one bar per row, scaled to the longest one. `names` are the names of the two parts, for the legend."""
    longest = max(1, *(row.first + row.second for row in rows))
    left, is_above = shape.label, not shape.label
    width = shape.width - left - shape.behind
    parts = []
    for number, name in enumerate(names):
        x = left + (width // 2 if is_above else 200) * number
        parts.append(f'<rect class="{_PARTS[number]}" x="{x}" y="6" width="12" height="12"/>')
        parts.append(f'<text x="{x + 18}" y="16">{html.escape(name)}</text>')
    for number, row in enumerate(rows):
        at = 30 + number * shape.row
        y = at + (17 if is_above else 0)
        first, second = (width * part / longest for part in (row.first, row.second))
        tip = f"{row.label}: {size(row.first)} {names[0]}, {size(row.second)} {names[1]}"
        parts.append(
            f"<g><title>{html.escape(tip)}</title>"
            f'<text x="{0 if is_above else left - 8}" y="{at + 13}" text-anchor="{"start" if is_above else "end"}">'
            f"{html.escape(_cut(row.label))}</text>"
            f'<rect class="first" x="{left}" y="{y}" width="{first:.1f}" height="17"/>'
            f'<rect class="second" x="{left + first:.1f}" y="{y}" width="{second:.1f}" height="17"/>'
            f'<text x="{shape.width if is_above else left + first + second + 6:.1f}" y="{at + 13}"'
            f' text-anchor="{"end" if is_above else "start"}">{size(row.first + row.second)}</text></g>'
        )
    return _svg(shape, 36 + len(rows) * shape.row, title, "".join(parts))


def size(count: int) -> str:
    """Return a number of bytes in binary units, for a person to read."""
    return human(count, "bytes")


def _some(days: Sequence[Day], most: int) -> list[tuple[int, Day]]:
    every = max(1, -(-len(days) // most))
    return [(number, day) for number, day in enumerate(days) if number % every == 0]


def _cut(label: str) -> str:
    return label if len(label) <= 36 else f"…{label[-35:]}"


def _svg(shape: Shape, height: int, title: str, inner: str) -> str:
    return (
        f'<svg class="plot {shape.name}" role="img" aria-label="{html.escape(title)}" viewBox="0 0 {shape.width} {height}"'
        f' xmlns="http://www.w3.org/2000/svg">{inner}</svg>'
    )
