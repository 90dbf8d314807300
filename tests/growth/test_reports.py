"""No report and no view takes more than about four times as long for four times as much in the layouts."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.db.views import VIEWS
from catalog.reports.reports import REPORTS
from tests.conftest import Catalogue
from tests.growth.counting import FACTOR
from tests.growth.layouts import LAYOUTS
from tests.growth.test_walks import SPARE, steps

SIZES = 25, 100

WALKS = ("total_size", "platforms", "created")
"""Columns of `images` and `unnamed` that walk down from each row: who asks for them pays for each row's walk."""

REPORTED = {report.name: report.statement() for report in REPORTS}
VIEWED = {
    view.name: f"SELECT {', '.join(name for name, *_ in view.columns if name not in WALKS)} FROM {view.name}"
    for view in VIEWS
}
PARAMETERS = {
    report.name: {name: "9999" if name == "older_than" else "" for name, _ in report.parameters} for report in REPORTS
}


def costs(connection: sqlite3.Connection) -> dict[str, int]:
    """Steps of SQLite's that each report and each view takes."""
    asked = [(name, text, PARAMETERS[name]) for name, text in REPORTED.items()]
    asked += [(f"view {name}", text, {}) for name, text in VIEWED.items()]
    return {
        name: steps([connection], lambda text=text, values=values: connection.execute(text, values).fetchall())  # type: ignore[misc]
        for name, text, values in asked
    }


@pytest.mark.parametrize("shape", LAYOUTS)
def test_reports_and_views_are_linear(
    tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue], shape: str
) -> None:
    counted = []
    for size in SIZES:
        directory = str(tmp_path / f"{size}")
        os.makedirs(f"{directory}/layouts")
        LAYOUTS[shape](f"{directory}/layouts", size)
        catalogue = new_sqlite_catalogue(directory)
        catalogue.add(f"{directory}/layouts")
        counted.append(costs(catalogue.reader.connection))
        catalogue.close()
    small, large = counted
    assert {name: (small[name], large[name]) for name in small if large[name] > small[name] * FACTOR + SPARE} == {}
