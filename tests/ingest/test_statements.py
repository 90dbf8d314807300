"""How many statements a change takes: a guard of speed without a clock. It may not depend on the size of the file.

SQLite's driver tells each; what is asked of PostgreSQL is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import writers
from tests.conftest import ON_SQLITE, Catalogue, driver_of_file, stamp

New = Callable[[Path], Catalogue]

AT_MOST = 95
"""For one tag that moved, a whole pass of `index` with all that it asks of the registry: 44 when this was written."""


def statements(catalogue: Catalogue, do: Callable[[], object]) -> int:
    """How many statements `do` has the writing connection run; each row of an executemany is one."""
    driver = driver_of_file(catalogue.writer)
    seen: list[str] = []
    driver.set_trace_callback(seen.append)
    try:
        do()
    finally:
        driver.set_trace_callback(None)
    return len(seen)


def made(catalogue: Catalogue, path: str, size: int) -> list[writers.Descriptor]:
    writers.make_layout(path)
    elements = list(writers.big_entries(size))
    write(path, elements)
    for directory in ("blobs", "blobs/sha256"):
        stamp(f"{path}/{directory}")
    catalogue.add(path)
    return elements


def write(path: str, elements: list[writers.Descriptor]) -> None:
    writers.write_index(path, writers.empty_index(*elements))
    stamp(f"{path}/index.json")


@ON_SQLITE
@pytest.mark.parametrize("at", [3, 4], ids=["a pair of names", "no name"])
def test_a_change_takes_as_many_statements_at_any_size(catalogue_in: New, tmp_path: Path, at: int) -> None:
    counts = []
    for size in (50, 5_000):
        catalogue = catalogue_in(tmp_path / f"{size}")
        path = str(tmp_path / f"layout-{size}")
        elements = made(catalogue, path, size)
        elements[at] = {**elements[at], **writers.fake_descriptor("moved")}
        write(path, elements)
        counts.append(statements(catalogue, catalogue.index))
    assert counts[0] == counts[1] <= AT_MOST


@ON_SQLITE
def test_a_first_reading_takes_a_statement_a_row(catalogue_in: New, tmp_path: Path) -> None:
    """An entry of the mix: itself, its digest, its name, an annotation for a third of them; the rest is for all.

    The keys of new digests are asked for 500 at a time: that is the only query whose number grows with the file.
    """
    catalogue = catalogue_in(tmp_path / "catalog")
    path = str(tmp_path / "layout")
    writers.make_layout(path)
    write(path, list(writers.big_entries(5_000)))
    catalogue.add(path, index=False)
    count = statements(catalogue, catalogue.index)
    rows = sum(catalogue.sql(f"SELECT count(*) FROM {table}")[0][0] for table in ("entry", "content", "name", "entry_annotation"))  # fmt: skip
    assert rows == 5_000 + 2_500 + 4_000 + 1_667
    assert count <= rows + 2_500 // 500 + AT_MOST


@ON_SQLITE
def test_a_pass_over_what_did_not_change_takes_as_many_statements_for_any_number_of_stores(
    catalogue_in: New, tmp_path: Path
) -> None:
    counts = []
    for stores in (2, 50):
        catalogue = catalogue_in(tmp_path / f"{stores}")
        root = tmp_path / f"root-{stores}"
        for number in range(stores):
            path = writers.make_layout(str(root / f"{number}"))
            write(path, list(writers.big_entries(2, seed=number)))
            for directory in ("blobs", "blobs/sha256"):
                stamp(f"{path}/{directory}")
        catalogue.add(str(root))
        counts.append(statements(catalogue, catalogue.index))
    assert counts[0] == counts[1]


@ON_SQLITE
def test_no_row_is_written_by_a_statement_that_returns_something(catalogue_in: New, tmp_path: Path) -> None:
    """SQLAlchemy adds RETURNING where a key is a subquery; executemany of Python 3.12 and later then fails as misused."""
    catalogue = catalogue_in(tmp_path / "catalog")
    path = writers.make_layout(str(tmp_path / "layout"))
    writers.write_index(path, writers.empty_index(writers.make_image(path, "image", labels={"k": "v"})))
    driver = driver_of_file(catalogue.writer)
    seen: list[str] = []
    driver.set_trace_callback(seen.append)
    catalogue.add(path)
    driver.set_trace_callback(None)
    written = {each.split()[2] for each in seen if each.startswith("INSERT INTO")}
    assert {"content", "edge", "store_blob", "content_annotation"} <= written
    assert not [each for each in seen if "RETURNING" in each and "INSERT INTO store " not in each]
