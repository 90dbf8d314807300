"""A change that shows in no time and no event is found by a daemon once in a long interval (`index --full`: test_index.py)."""

from __future__ import annotations

import mmap
import os
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest

from catalog.watch.rereading import Rereading
from tests.watch.harness import Followed, followed, wait_for
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


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no tmpfs")
def test_a_change_by_a_mapping_on_a_tmpfs_is_found_by_full() -> None:
    """It changes no time, so that nothing else may claim to see it; who keeps the file open is waited for as usual."""
    with (
        tempfile.TemporaryDirectory(prefix="ocicat-", dir="/dev/shm") as directory,
        followed(Path(directory), settle_ms=10, held_ms=50) as catalog,
    ):
        store = make_layout(catalog.path("root/a"))
        before = tag(store, "1", "one")
        catalog.add_root("root")
        digest = f"sha256:{'1' * 64}"
        with open(f"{store}/index.json", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            at = mapped.find(before.encode())
            mapped[at : at + len(before)] = mapped[at : at + len(before)]  # the first write may change the times
            time.sleep(0.1)  # longer than it is waited for
            catalog.done("index", "--full")
            looks = os.stat(f"{store}/index.json")
            mapped[at : at + len(digest)] = digest.encode()
            assert os.stat(f"{store}/index.json") == looks
            assert catalog("resolve", "--fresh", "oci:" + store).out.strip() == before
            catalog.done("index", "--full")
            assert catalog("resolve", "oci:" + store).out.strip() == digest


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
