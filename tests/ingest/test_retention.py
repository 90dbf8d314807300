"""What goes with time: the rows of stores that stay missing, then the past, then what is left over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from catalog.layout.index import ListLimits
from catalog.lookup import past
from catalog.names.query import parse_query
from tests import writers
from tests.conftest import AT_ONCE, Catalogue, Said
from tests.ingest.invariants import broken
from tests.ingest.test_policies import digest, entry, layout

DAY = 86_400_000


@pytest.fixture
def missing(catalogue: Catalogue, tmp_path: Path) -> tuple[str, int]:
    """A store below a root whose directory is gone, and when that was seen."""
    catalogue.settings = AT_ONCE._replace(grace_ms=7 * DAY, history_ms=30 * DAY)
    path = layout(tmp_path / "R" / "s", entry("a", "alpine:1"), entry("b", "x y"), {"digest": "none"})
    catalogue.add(f"{tmp_path}/R")
    os.rename(path, tmp_path / "away")
    catalogue.index()
    assert catalogue.sql("SELECT name, state, entries FROM stores") == [("R/s", "missing", 2)]
    return path, catalogue.sql("SELECT state_since FROM store")[0][0]


def count(catalogue: Catalogue, *tables: str) -> list[int]:
    return [catalogue.sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables]


def test_a_missing_store_answers_nothing_and_keeps_its_rows(
    catalogue: Catalogue, missing: tuple[str, int], tmp_path: Path
) -> None:
    path, since = missing
    assert catalogue.resolve("alpine:1") == Said(1)
    assert catalogue.resolve("oci-layout://R/s:1") == Said(1)
    assert catalogue.query(f"@{digest('a')}") == []
    assert catalogue.retire(since + 7 * DAY) == []
    assert count(catalogue, "entry", "name") == [2, 2]
    os.rename(tmp_path / "away", path)
    catalogue.index()
    assert catalogue.resolve("alpine:1") == Said(0, digest("a"), "R/s")
    assert catalogue.sql("SELECT count(*) FROM snapshots") == [(1,)]


def test_after_the_grace_time_its_rows_go_and_their_past_stays(
    catalogue: Catalogue, missing: tuple[str, int], tmp_path: Path
) -> None:
    path, since = missing
    at = since + 7 * DAY + 1
    assert catalogue.retire(at) == ["R/s"]
    assert count(catalogue, "entry", "name", "problem", "store_blob") == [0, 0, 0, 0]
    assert catalogue.sql("SELECT name, state, entries FROM stores") == [("R/s", "missing", 0)]
    spans = catalogue.sql("SELECT name, tag FROM answer_span ORDER BY tag")
    assert spans == [("docker.io/library/alpine:1", "1"), (None, "x y")]
    ends = {span.until for span in past.spans(catalogue.reader, None)}
    assert ends == {row[0] for row in catalogue.sql("SELECT until FROM store_span")}  # when it was seen to be gone
    assert broken(catalogue, {}) == []
    assert catalogue.retire(at + 1) == []
    os.rename(tmp_path / "away", path)
    catalogue.index()
    assert catalogue.resolve("alpine:1") == Said(0, digest("a"), "R/s")
    kinds = {row[0] for row in catalogue.sql("SELECT kind FROM problem")}
    assert {"unusable-name", "bad-descriptor"} <= kinds
    found = catalogue.sql("SELECT since, until FROM history WHERE name = 'docker.io/library/alpine:1' ORDER BY since")
    assert [until is None for _, until in found] == [False, True]
    assert broken(catalogue, {}) == []


def test_after_as_long_as_history_is_kept_a_store_below_a_root_is_forgotten(
    catalogue: Catalogue, missing: tuple[str, int], tmp_path: Path
) -> None:
    """One that was added by itself is not: somebody may still ask where it is."""
    alone = layout(tmp_path / "alone", entry("a", "1"))
    catalogue.add(alone)
    shutil.rmtree(alone)
    catalogue.index()
    _, since = missing
    since = max(since, *(row[0] for row in catalogue.sql("SELECT state_since FROM store")))
    gone = since + 8 * DAY
    assert sorted(catalogue.retire(gone)) == ["R/s", "alone"]
    assert catalogue.retire(gone + 30 * DAY) == []
    assert catalogue.retire(gone + 31 * DAY) == ["R/s"]
    assert catalogue.sql("SELECT name FROM stores") == [("alone",)]
    assert broken(catalogue, {}) == []


def test_the_past_is_pruned_once_a_day(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.settings = AT_ONCE._replace(history_ms=30 * DAY)
    path = layout(tmp_path / "s", entry("a", "alpine:1"))
    catalogue.add(path)
    now = catalogue.sql("SELECT changed_at FROM store")[0][0]
    catalogue.retire(now)
    layout(path, entry("b", "alpine:1"))
    catalogue.index()
    over = catalogue.sql("SELECT until FROM answer_span")[0][0]
    catalogue.retire(over + 30 * DAY - 1)
    assert count(catalogue, "answer_span", "snapshot") == [1, 1]  # the first snapshot is older than the span
    catalogue.retire(over + 31 * DAY - 2)  # no day later
    assert count(catalogue, "answer_span", "snapshot") == [1, 1]
    catalogue.retire(over + 31 * DAY)
    assert count(catalogue, "answer_span", "snapshot") == [0, 0]
    assert catalogue.resolve("alpine:1").digest == digest("b")
    assert broken(catalogue, {}) == []


def test_what_nothing_refers_to_goes_with_the_past(catalogue: Catalogue, tmp_path: Path) -> None:
    """Digests and repositories stay as long as the past has them, and no longer."""
    catalogue.settings = AT_ONCE._replace(history_ms=DAY)
    path = layout(tmp_path / "s", entry("a", "alpine:1"), entry("b", "busybox:1"), entry("c"))
    catalogue.add(path)
    layout(path, entry("b", "busybox:1"))
    catalogue.index()
    now = catalogue.sql("SELECT changed_at FROM store")[0][0]
    catalogue.retire(now)
    assert sorted(catalogue.sql("SELECT digest FROM content")) == [(digest("a"),), (digest("b"),), (digest("c"),)]
    catalogue.retire(now + 2 * DAY)
    assert catalogue.sql("SELECT digest FROM content") == [(digest("b"),)]
    assert catalogue.sql("SELECT name FROM repository") == [("docker.io/library/busybox",)]
    assert broken(catalogue, {}) == []


def test_a_clock_that_steps_back_turns_no_span_round(catalogue: Catalogue, tmp_path: Path) -> None:
    """A store's last change has a time in the future. That has no effect on later changes."""
    path = layout(tmp_path / "s", entry("a", "alpine:1"))
    catalogue.add(path)
    ahead = catalogue.sql("SELECT changed_at FROM store")[0][0] + DAY
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql(f"UPDATE store SET changed_at = {ahead}")
    layout(path, entry("b", "alpine:1"))
    catalogue.index()
    catalogue.add(path, naming="fixed=alpine")
    layout(path, entry("c", "alpine:1"))
    catalogue.index()
    found = list(past.spans(catalogue.reader, parse_query("alpine:1")))
    assert [span.digest for span in found] == [digest("a"), digest("b"), digest("c")]
    assert [span.until for span in found] == [*(span.since for span in found[1:]), None]
    assert found[-1].since < ahead
    assert broken(catalogue, {}) == []


def test_a_pass_over_a_mount_that_comes_and_goes(catalogue: Catalogue, tmp_path: Path) -> None:
    """Gone, back, gone for good, and another layout in its place: history tells each of it."""
    catalogue.settings = AT_ONCE._replace(grace_ms=0)
    path = layout(tmp_path / "s", entry("a", "alpine:1"))
    catalogue.add(path)
    for number in range(3):
        shutil.rmtree(path)
        catalogue.index()
        assert catalogue.resolve("alpine:1") == Said(1)
        state_since = catalogue.sql("SELECT state_since FROM store")[0][0]
        assert catalogue.retire(state_since + 1) == ["s"]
        layout(path, entry("abc"[number], "alpine:1"))
        catalogue.index()
        assert catalogue.resolve("alpine:1").digest == digest("abc"[number])
    spans = catalogue.sql("SELECT digest FROM history ORDER BY since")
    assert spans == [(digest("a"),), (digest("a"),), (digest("b"),), (digest("c"),)]
    assert broken(catalogue, {}) == []


@pytest.mark.parametrize("broken_by", ["torn", "unlinked", "a directory", "too large"])
def test_a_store_that_cannot_be_read_goes_on_with_what_it_last_said(
    catalogue: Catalogue, tmp_path: Path, broken_by: str
) -> None:
    """With a line that names it; --strict refuses it; and what comes after is a change like any other."""
    path = layout(tmp_path / "s", entry("a", "alpine:1"))
    catalogue.add(path)
    index = f"{path}/index.json"
    if broken_by == "torn":
        writers.torn(path, b'{"manifests":[]}', 9)
    else:
        os.unlink(index)
    if broken_by == "a directory":
        os.mkdir(index)
    if broken_by == "too large":
        catalogue.settings = AT_ONCE._replace(limits=ListLimits(index_bytes=10))
        writers.write_recreate(path, b'{"manifests":[]}')
    catalogue.index()
    assert catalogue.sql("SELECT state, entries, error IS NULL FROM stores") == [("invalid", 1, 0)]
    for ref in ("alpine:1", ":1", digest("a"), "oci-layout://s:1", f"oci:{path}:alpine:1", "alpin*"):
        del catalogue.lines[:]
        assert catalogue.resolve(ref) == Said(0, digest("a"), "s")
        assert [line for line in catalogue.lines if "invalid since" in line]
        assert catalogue.resolve(ref, strict=True).status in (1, 4)
    if broken_by == "a directory":
        os.rmdir(index)
    catalogue.settings = AT_ONCE
    layout(path, entry("b", "alpine:1"))
    catalogue.index()
    assert catalogue.resolve("alpine:1", strict=True) == Said(0, digest("b"), "s")
    assert broken(catalogue, {}) == []
