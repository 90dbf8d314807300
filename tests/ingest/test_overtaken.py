"""A store that changes between reading it and writing its rows: what was read is not written, and it is read again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.ingest.intake import Intake
from catalog.ingest.registry import Registry
from tests import writers
from tests.conftest import Catalogue, stamp

Change = Callable[[str], None]


def image(seed: str) -> dict[str, object]:
    return writers.empty_index(writers.name_entry(writers.fake_descriptor(seed), "tag", "", "t"))


def replaced(path: str) -> None:
    writers.write_recreate(path, writers.dump(image("new")))
    stamp(f"{path}/index.json")


def rewritten(path: str) -> None:
    """Write in place, with the same length."""
    with open(f"{path}/index.json", "r+b") as file:
        file.write(writers.dump(image("new")))
    stamp(f"{path}/index.json")


def another(path: str) -> None:
    """Put another directory at the path."""
    os.rename(path, f"{path}.old")
    replaced(writers.make_layout(path))


def gone(path: str) -> None:
    os.unlink(f"{path}/index.json")


def indexed(catalogue: Catalogue) -> list[tuple[str, str]]:
    return catalogue.sql("SELECT tag, digest FROM images")


@pytest.mark.parametrize("change", [replaced, rewritten, another, gone])
def test_what_was_read_is_not_written(catalogue: Catalogue, tmp_path: Path, change: Change) -> None:
    path = writers.make_layout(str(tmp_path / "a"))
    writers.write_recreate(path, writers.dump(image("old")))
    stamp(f"{path}/index.json")
    _between(catalogue, path, change)
    new = writers.fake_descriptor("new")["digest"]
    assert indexed(catalogue) == ([] if change is gone else [("t", new)])
    assert catalogue.sql("SELECT count(*) FROM name_span") == [(0,)]  # The old list was never written.


def test_a_problem_is_not_written_if_the_file_was_mended(catalogue: Catalogue, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "a"))
    writers.torn(path, b'{"manifests": [', 9)
    _between(catalogue, path, replaced)
    assert catalogue.sql("SELECT state, error FROM store") == [("ok", None)]
    assert catalogue.lines == []


def _between(catalogue: Catalogue, path: str, change: Change) -> None:
    """Read the store, change it, and write what was read; then let the intake do what is left to do."""
    catalogue.add(path, index=False)
    with catalogue.writer.snapshot() as connection:
        (store,) = Registry(connection).stores()
    intake = Intake(catalogue.writer, catalogue.settings, catalogue.lines.append)
    assert not intake.offer(store)
    assert intake.waiting == []  # it was read, and waits for the commit
    change(path)
    intake.commit()
    assert indexed(catalogue) == []
    assert intake.done == 0
    assert [each.path for each in intake.waiting] == [path]
    while intake.waiting:
        intake.look_again()
    assert intake.done == 1


def test_a_store_that_is_offered_twice_before_a_commit_is_written_once(catalogue: Catalogue, tmp_path: Path) -> None:
    """The daemon offers a store again if an event comes while it offers others."""
    path = writers.make_layout(str(tmp_path / "a"))
    writers.write_recreate(path, writers.dump(image("old")))
    stamp(f"{path}/index.json")
    catalogue.add(path, index=False)
    with catalogue.writer.snapshot() as connection:
        (store,) = Registry(connection).stores()
    intake = Intake(catalogue.writer, catalogue.settings, catalogue.lines.append)
    intake.offer(store)
    replaced(path)
    intake.offer(store)
    intake.offer(store)
    intake.commit()
    assert indexed(catalogue) == [("t", writers.fake_descriptor("new")["digest"])]
    assert catalogue.sql("SELECT entries FROM store") == [(1,)]
