"""`status` and `status --check` (docs/scripts.md): the catalog, its daemon, and the limits of the machine."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from catalog.engine.locks import DAEMON, StateFile
from catalog.watch.status import LATE_SECONDS, encode, kernel_limit, read_daemon, watches_advised, why_late
from tests.cli.conftest import Own
from tests.cli.program import one_error, ran
from tests.conftest import ON_SQLITE
from tests.watch.harness import followed
from tests.writers import make_layout, torn

Layout = Callable[..., str]

KEYS = [
    "catalog", "schema", "size_bytes", "stores", "entries", "stores_ok", "stores_empty", "stores_invalid",
    "stores_unreadable", "stores_missing", "daemon", "daemon_pid", "daemon_since", "daemon_last_event",
    "daemon_last_sweep", "daemon_waiting", "daemon_waiting_since", "daemon_lag_seconds", "daemon_polling",
    "daemon_watched", "daemon_unwatched", "max_user_watches", "watches_needed", "advice",
]  # fmt: skip


def values(cli: Own) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli.done("status", "--format", "json").out)
    return found


@contextmanager
def published(db: str, **said: object) -> Iterator[None]:
    """Simulate a daemon that has published this state."""
    lock = StateFile(db + DAEMON)
    lock.open()
    lock.publish(encode(said))
    try:
        yield
    finally:
        lock.close()


def now() -> int:
    return int(time.time() * 1000)


@ON_SQLITE
def test_the_keys_about_the_catalog(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("app", "1", "2"), layout("none"), layout("hurt", "1"), layout("gone", "1"))
    torn(f"{cli.directory}/hurt", b'{"manifests":[', 10)
    Path(f"{cli.directory}/gone").rename(f"{cli.directory}/away")
    cli("index")
    found = values(cli)
    assert set(KEYS) <= set(found)
    assert found["catalog"] == cli.db
    assert (found["stores"], found["entries"]) == (4, 4)
    assert [found[f"stores_{state}"] for state in ("ok", "empty", "invalid", "unreadable", "missing")] == [
        1,
        1,
        1,
        0,
        1,
    ]
    assert found["size_bytes"] >= os.path.getsize(cli.db)
    assert found["daemon"] == "none"
    assert found["daemon_pid"] is None
    assert found["watches_needed"] == 4
    with open("/proc/sys/fs/inotify/max_user_watches") as file:
        assert found["max_user_watches"] == int(file.read())


def test_formats(cli: Own, layout: Layout) -> None:
    """One key and value per line, or one JSON object."""
    cli.done("add", layout("app", "1"))
    found = values(cli)
    rows = [line.split("\t") for line in cli.done("status").lines]
    assert [row[0] for row in rows] == list(found)
    assert all(len(row) == 2 for row in rows)
    assert dict(rows)["stores"] == "1"
    assert dict(rows)["daemon_pid"] == ""
    assert json.loads(cli.done("status", "--format", "jsonl").out).keys() == found.keys()
    assert cli.done("status", "--format", "{stores} {daemon}").out == "1 none\n"
    assert cli.done("status", "--format", "csv").lines[0].rstrip() == "key,value"
    assert cli.done("status", "--format", "table").lines[0].split() == ["KEY", "VALUE"]
    one_error(cli("status", "--format", "{nothing}"), 2)
    one_error(ran("status", db=f"{cli.directory}/none.db"), 4, "there is no catalog")


def test_check_without_a_daemon(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("app", "1"))
    said = cli("status", "--check")
    assert said.status == 1
    assert said.said == ["ocicat: no daemon runs: start 'ocicat watch'"]
    assert "daemon\tnone" in said.lines


def test_check_with_a_daemon(tmp_path: Path) -> None:
    with followed(tmp_path, settle_ms=50) as catalog:
        make_layout(catalog.path("root/a"))
        catalog.add_root("root")
        catalog.start()
        said = catalog("status", "--check")
        assert (said.status, said.err) == (0, "")
        found = catalog.state()
        assert catalog.daemon is not None
        assert (found["daemon"], found["daemon_pid"]) == ("running", catalog.daemon.pid)
        assert found["daemon_since"] <= found["daemon_last_sweep"]
        assert (found["daemon_watched"], found["daemon_polling"], found["daemon_waiting"]) == (2, False, 0)
        assert found["daemon_lag_seconds"] == 0
        assert found["advice"] is None
        catalog.send(signal.SIGSTOP)  # it hangs, but it is only late once its last heartbeat is a minute old
        assert catalog("status", "--check").status == 0
        catalog.send(signal.SIGCONT)
        catalog.stop(signal.SIGKILL)
        assert catalog("status", "--check").status == 1


@ON_SQLITE
def test_a_daemon_that_is_late(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("app", "1"))
    with published(cli.db, pid=7, beat=now()):
        assert cli("status", "--check").status == 0
        assert values(cli)["daemon_pid"] == 7
    old = now() - int(LATE_SECONDS * 1000) - 1000
    for said, word in (
        ({"pid": 7, "beat": old}, "has given no sign of life"),
        ({"pid": 7, "beat": now(), "oldest_waiting": old}, "has been waiting"),
        ({"pid": 7}, "has given no sign of life"),
    ):
        with published(cli.db, **said):
            found = cli("status", "--check")
            assert (found.status, len(found.said), word in found.err) == (1, 1, True), found
            assert values(cli)["daemon"] == "late"
    assert cli("status").status == 0  # only --check sets the status


@ON_SQLITE
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"pid": {}, "beat": "x", "since": "y"}', b"{}" * 50_000])
def test_the_published_state_is_not_trusted(cli: Own, layout: Layout, data: bytes) -> None:
    cli.done("add", layout("app", "1"))
    lock = StateFile(cli.db + DAEMON)
    lock.open()
    try:
        lock.publish(data)
        assert cli("status", "--check").status == 1
        assert values(cli)["daemon"] == "late"
    finally:
        lock.close()
    assert read_daemon(cli.db) is None


@ON_SQLITE
def test_the_limit_of_watches(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("app", "1"))
    said = {"pid": 7, "beat": now(), "watched": 60_000, "unwatched": 40_000}
    with published(cli.db, **said, over_limit=39_999):
        found = values(cli)
    assert found["watches_needed"] == 100_000
    assert found["advice"] == watches_advised(100_000, kernel_limit("max_user_watches"))
    with published(cli.db, **{**said, "watched": 100, "unwatched": 40}, over_limit=0):
        assert values(cli)["advice"] is None  # the directories cannot be read, so no limit helps


@pytest.mark.parametrize(
    ("needed", "allowed", "advised"),
    [
        (5, 8192, 65536),
        (40_000, 8192, 80_000),
        (40_000, None, 80_000),
        (5, 65536, 131_072),
        (90_000, 500_000, 1_000_000),
    ],
)
def test_the_advised_limit_is_more_than_the_present_one(needed: int, allowed: int | None, advised: int) -> None:
    """If the limit would be enough for ocicat alone, other programs use the rest."""
    assert watches_advised(needed, allowed) == f"sysctl fs.inotify.max_user_watches={advised}"


def test_a_late_daemon_by_its_times() -> None:
    assert why_late({"beat": now()}) is None
    assert why_late({"beat": now(), "oldest_waiting": now()}) is None
    assert why_late({"beat": now() - 61_000}) is not None
    assert why_late({}) is not None


@ON_SQLITE
def test_the_daemons_state_is_never_read_half_written(cli: Own, layout: Layout) -> None:
    """The daemon rewrites the file in place every few seconds. A reader that catches it in between reads again."""
    cli.done("add", layout("app", "1"))
    stop = threading.Event()
    lock = StateFile(cli.db + DAEMON)
    lock.open()

    def rewrite() -> None:
        length = 0
        while not stop.wait(0.0005):
            length = (length + 1) % 500
            lock.publish(encode({"pid": 7, "beat": now(), "more": "x" * length}))

    lock.publish(encode({"pid": 7, "beat": now()}))
    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(3000):
            found = read_daemon(cli.db)
            assert found is not None
            assert found.get("pid") == 7
    finally:
        stop.set()
        thread.join()
        lock.close()
