"""A change that shows in no time and no event is found by a daemon once in a long interval (`index --full`: test_index.py)."""

from __future__ import annotations

import sqlite3

import pytest

from catalog.watch.rereading import Rereading
from tests.watch.harness import Followed, wait_for
from tests.watch.test_daemon import tag
from tests.writers import make_layout


def test_a_store_that_looks_unchanged_is_read_again(quick: Followed) -> None:
    """As after a change through a mapping that stays: here the catalog is made to hold something else than the file."""
    store = make_layout(quick.path("root/a"))
    digest = tag(store, "1", "one")
    quick.add_root("root")
    with sqlite3.connect(quick.db) as connection:
        connection.execute(
            "UPDATE content SET digest = ? WHERE id = (SELECT content_id FROM entry)", (f"sha256:{'0' * 64}",)
        )
        connection.execute("UPDATE entry SET fingerprint = NULL")
    connection.close()
    quick.start("--rescan", "0.1")
    assert quick("resolve", "oci:" + store).out.strip() != digest
    assert quick.stop() == 0
    quick.configure(settle_ms=10, reread_seconds=0.2)
    quick.start("--rescan", "0.1")
    wait_for(lambda: quick("resolve", "oci:" + store).out.strip() == digest, what=quick.log)


@pytest.mark.parametrize("count", [100, 1000])
def test_each_store_has_its_turn_once_an_interval(count: int) -> None:
    paths = [f"/srv/store{number}" for number in range(count)]
    rereading = Rereading()
    assert rereading.due(paths, 100.0, 0.0) == set()
    turns: list[str] = []
    most = 0
    for second in range(1, 101):
        due = rereading.due(paths, 100.0, float(second))
        most = max(most, len(due))
        turns += sorted(due)
    assert sorted(turns) == sorted(paths)
    assert most <= count // 10  # never all at once
    assert len(rereading.due(paths, 10.0, 101.0) | rereading.due(paths, 10.0, 111.0)) == count
    assert rereading.due(paths[:1], 10.0, 112.0) == set()
