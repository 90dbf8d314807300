"""Draws plots as SVG text: days as a stepped line, and bars of two parts. Uses neither SQL nor Datasette."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from catalog.names.sizes import human

_WIDTH, _HEIGHT = 900, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 110, 20, 16, 34
_ROW = 24
_DAY = 60  # the largest width of a day
_LABEL = 260
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


def line(days: Sequence[Day], title: str) -> str:
    """Return an SVG of the days, in order, as a stepped line with an axis from 0. `days` must not be empty."""
    top = max(1, *(day.entries for day in days))
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    step = min(_DAY, width / len(days))

    def y(entries: int) -> float:
        return _TOP + height * (1 - entries / top)

    path = f"M{_LEFT},{_TOP + height}"
    for number, day in enumerate(days):
        path += f"V{y(day.entries):.1f}H{_LEFT + step * (number + 1):.1f}"
    path += f"V{_TOP + height}Z"
    marks = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,}</text>'
        for value in sorted({0, top // 2, top})
    )
    labels = "".join(
        f'<text x="{_LEFT + step * (number + 0.5):.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{html.escape(day.day)}</text>'
        for number, day in _some(days)
    )
    tips = "".join(
        f'<rect class="tip" x="{_LEFT + step * number:.1f}" y="{_TOP}" width="{step:.1f}" height="{height}">'
        f"<title>{html.escape(day.day)}: {day.entries:,}</title></rect>"
        for number, day in enumerate(days)
    )
    return _svg(_HEIGHT, title, f'{marks}<path class="first" d="{path}"/>{labels}{tips}')


def bars(rows: Sequence[Bar], title: str, names: tuple[str, str]) -> str:
    """Return an SVG with one bar per row, scaled to the longest one. `names` are the names of the two parts, for the legend."""
    longest = max(1, *(row.first + row.second for row in rows))
    width = _WIDTH - _LABEL - 110
    parts = []
    for number, name in enumerate(names):
        x = _LABEL + 200 * number
        parts.append(f'<rect class="{_PARTS[number]}" x="{x}" y="6" width="12" height="12"/>')
        parts.append(f'<text x="{x + 18}" y="16">{html.escape(name)}</text>')
    for number, row in enumerate(rows):
        y = 30 + number * _ROW
        first, second = (width * part / longest for part in (row.first, row.second))
        tip = f"{row.label}: {size(row.first)} {names[0]}, {size(row.second)} {names[1]}"
        parts.append(
            f"<g><title>{html.escape(tip)}</title>"
            f'<text x="{_LABEL - 8}" y="{y + 13}" text-anchor="end">{html.escape(_cut(row.label))}</text>'
            f'<rect class="first" x="{_LABEL}" y="{y}" width="{first:.1f}" height="{_ROW - 7}"/>'
            f'<rect class="second" x="{_LABEL + first:.1f}" y="{y}" width="{second:.1f}" height="{_ROW - 7}"/>'
            f'<text x="{_LABEL + first + second + 6:.1f}" y="{y + 13}">{size(row.first + row.second)}</text></g>'
        )
    return _svg(36 + len(rows) * _ROW, title, "".join(parts))


def size(count: int) -> str:
    """Return a number of bytes in binary units, for a person to read."""
    return human(count, "bytes")


def _some(days: Sequence[Day]) -> list[tuple[int, Day]]:
    every = max(1, -(-len(days) // 8))
    return [(number, day) for number, day in enumerate(days) if number % every == 0]


def _cut(label: str) -> str:
    return label if len(label) <= 36 else f"…{label[-35:]}"


def _svg(height: int, title: str, inner: str) -> str:
    return (
        f'<svg class="plot" role="img" aria-label="{html.escape(title)}" viewBox="0 0 {_WIDTH} {height}"'
        f' xmlns="http://www.w3.org/2000/svg">{inner}</svg>'
    )
