"""What the daemon says: in lines as ever, or one JSON object a line, with a fixed vocabulary of events."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.cli.log_pipe import WAITING_BYTES, LogPipe
from catalog.ingest.notice import EVENTS, Notice
from catalog.watch.status import kernel_limit, watches_advised
from tests.cli.program import ran
from tests.forking import OCICAT
from tests.watch.harness import Followed, wait_for
from tests.watch.test_config import configure
from tests.watch.test_daemon import pid, tag, writer_lock
from tests.watch.test_mounts import needs_namespaces
from tests.writers import make_layout

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The objects, each with the four keys that every one has, first."""
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        found = json.loads(line)
        assert list(found)[:4] == ["time", "level", "event", "message"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])
        assert abs((datetime.now(UTC) - datetime.fromisoformat(found["time"])).total_seconds()) < 3600
        assert found["level"] == EVENTS[found["event"]]
        assert found["message"]
        yield found


def said(quick: Followed, event: str) -> list[dict[str, Any]]:
    return [found for found in parsed(quick.log()) if found["event"] == event]


def test_a_life_in_json(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    quick.start("--log-format", "json", "--metrics", "0", "--rescan", "3600")
    Path(f"{store}/index.json").write_text("torn {")
    wait_for(lambda: said(quick, "store-state"))
    (state,) = said(quick, "store-state")
    assert {key: state[key] for key in ("store", "path", "state")} == {
        "store": "root/a",
        "path": store,
        "state": "invalid",
    }
    assert state["error"] in state["message"]
    shutil.copyfile(make_layout(quick.path("other")) + "/index.json", f"{store}/index.json")
    wait_for(lambda: said(quick, "store-recovered"))
    with writer_lock(quick):
        tag(store, "1", "x")
        wait_for(lambda: said(quick, "waiting"))
    wait_for(lambda: said(quick, "resumed"))
    assert "another process" in said(quick, "waiting")[0]["error"]
    os.rename(quick.path("root"), quick.path("away"))
    quick.send(signal.SIGHUP)
    wait_for(lambda: said(quick, "unsearchable"))
    wait_for(lambda: said(quick, "config"))
    os.rename(quick.path("away"), quick.path("root"))
    Path(quick.config).write_text("[")
    quick.send(signal.SIGHUP)
    wait_for(lambda: said(quick, "config-refused"))
    assert quick.stop() == 0
    events = [found["event"] for found in parsed(quick.log())]
    assert events[:2] == ["listening", "started"]
    assert events[-1] == "stopped"
    (started,) = said(quick, "started")
    assert (started["pid"], started["stores"], started["roots"]) == (pid(quick), 1, 1)
    assert not {"swept", "store-changed"} & set(events)  # only with --verbose


def test_verbose_tells_of_each_change_and_each_sweep(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    configure(quick, '[log]\nformat = "json"\n')
    quick.start("--verbose")
    (swept,) = said(quick, "swept")
    assert swept["stores"] == 1
    assert swept["seconds"] >= 0
    tag(store, "1", "x")
    wait_for(lambda: said(quick, "store-changed"))
    (changed,) = said(quick, "store-changed")
    assert [changed[key] for key in ("store", "path", "state", "added", "removed")] == ["root/a", store, "ok", 1, 0]
    # The form is a setting as any other.
    configure(quick, '[log]\nformat = "text"\n')
    quick.send(signal.SIGHUP)
    wait_for(lambda: "info: the configuration was read again" in quick.said())
    assert quick.stop() == 0
    assert quick.said()[-1] == "info: ended by a signal"


@needs_namespaces
def test_the_limit_of_watches_is_told_once_with_the_number(quick: Followed) -> None:
    for number in range(5):
        make_layout(quick.path(f"root/{number}"))
    quick.add_root("root")
    options = ["--log-format", "json", "--verbose", "--rescan", "0.1"]
    quick.start_apart("echo 2 > /proc/sys/user/max_inotify_watches", options=options)
    wait_for(lambda: len(said(quick, "swept")) > 5)
    (found,) = said(quick, "unwatched")
    assert (found["directories"], found["watches"]) == (4, 2)
    assert found["over_limit"] == 4
    assert f"raise {watches_advised(6, kernel_limit('max_user_watches'))}" in found["message"]


@pytest.mark.parametrize("how", ["--quiet", "--log-level=warning", "file"])
def test_only_what_is_wrong(quick: Followed, how: str) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    if how == "file":
        configure(quick, '[log]\nlevel = "warning"\n')
    quick.start(*([how] if how.startswith("--") else []))
    Path(f"{store}/index.json").write_text("torn {")
    wait_for(quick.log)
    assert quick.stop() == 0
    (line,) = quick.said()
    assert line.startswith("warning: root/a: invalid: ")


@pytest.mark.parametrize("how", ["option", "file"])
def test_why_it_ends_is_json_too(quick: Followed, how: str) -> None:
    quick.start()
    options = ["--log-format", "json"] if how == "option" else []
    if how == "file":
        configure(quick, '[log]\nformat = "json"\n')
    done = quick("watch", *options)
    assert done.status == 4
    (found,) = parsed(done.said)
    assert (found["event"], found["level"], found["status"]) == ("failed", "error", 4)
    assert f"process {pid(quick)}" in found["message"]


def test_a_call_that_is_wrong(quick: Followed) -> None:
    Path(quick.config).write_text("[")
    (found,) = parsed(quick("watch", "--log-format", "json").said)
    assert (found["event"], found["status"]) == ("failed", 2)
    done = ran("watch", "--log-format", "xml", db=quick.db)
    assert (done.status, len(done.said)) == (2, 1)
    assert done.said[0].startswith("ocicat: error: ")


def test_names_of_layouts_cannot_break_a_line_or_a_terminal(quick: Followed) -> None:
    nasty = os.fsdecode("root/\n\x1b[31m\u202e\u2028\x9b".encode() + b"\xff")
    store = make_layout(quick.path(nasty))
    quick.add_root("root")
    quick.start("--log-format", "json", "--verbose")
    tag(store, "1", "x")
    wait_for(lambda: said(quick, "store-changed"))
    (changed,) = said(quick, "store-changed")
    (row,) = quick.stores().values()
    assert changed["path"] == row["path"]
    assert changed["store"] in quick.stores()


def test_every_event_is_documented_with_its_level_and_is_said_somewhere() -> None:
    documented = dict(re.findall(r"^\| `([a-z-]+)` \| (debug|info|warning|error) \|", OPERATIONS, re.MULTILINE))
    assert documented == EVENTS
    in_code = set(events_in_the_code())
    assert in_code <= set(EVENTS)
    assert set(EVENTS) - in_code <= {"failed", "note"}  # these the log itself makes


def events_in_the_code() -> Iterator[str]:
    for path in (ROOT / "catalog").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "Notice(" in text else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Notice":
                event = node.args[0]
                assert isinstance(event, ast.Constant), path
                yield str(event.value)
                assert not {each.arg for each in node.keywords} & {"time", "level", "event", "message"}


def test_a_notice_is_its_line() -> None:
    notice = Notice("started", "a line", path="/\udcff", stores=1)
    assert notice == "a line"
    assert hash(notice) == hash("a line")
    assert (notice.level, notice.fields) == ("info", {"path": "/%FF", "stores": 1})


STORES = 20
"""So many changes are more lines than the smallest pipe takes."""
SMALLEST = 4096
"""The bytes of that pipe."""


@pytest.mark.parametrize("reader", ["stands still", "reads at last", "has gone"])
def test_a_log_that_nobody_reads_stops_nothing(quick: Followed, reader: str) -> None:
    stores = [make_layout(quick.path(f"root/{number}")) for number in range(STORES)]
    quick.add_root("root")
    fifo = quick.path("fifo")
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, SMALLEST) == SMALLEST
        options = ("--log-format", "json", "--rescan", "3600")
        quick.start(*options, log=fifo, program=(OCICAT, "--verbose"))
        if reader == "has gone":
            os.close(end)
        for number, store in enumerate(stores):
            tag(store, "1", f"x{number}")
        quick.settled()
        if reader == "reads at last":
            os.set_blocking(end, True)
            length = 0
            changed: set[str] = set()
            with open(end, encoding="ascii", closefd=False) as lines:
                while len(changed) < STORES:
                    length += len(line := next(lines))
                    (found,) = parsed([line.rstrip("\n")])
                    if found["event"] == "store-changed":
                        changed.add(found["store"])
            assert length > SMALLEST  # so it waited, here and in the other cases
        assert quick.stop() == 0
    finally:
        if reader != "has gone":
            os.close(end)


def test_what_is_left_out_of_a_log_is_counted() -> None:
    reading, writing = os.pipe()
    pipe = LogPipe(writing, lambda count: f"lost {count}\n")
    for number in range(3000):
        pipe.write(f"{number:01000}\n")
    read: list[str] = []
    with open(reading, encoding="ascii") as lines:
        # Reads all the time, because the last lines are not waited for if nobody reads them.
        reader = threading.Thread(target=lambda: read.extend(lines), daemon=True)
        reader.start()
        wait_for(lambda: len(read) >= WAITING_BYTES // 1001)
        pipe.write("again\n")
        wait_for(lambda: read[-1] == "again\n")
        pipe.close()
        os.close(writing)
        reader.join()
    assert read[-1] == "again\n"
    kept = [int(line) for line in read if line.strip().isdigit()]
    # Reading may begin while the last lines are still being written: then lines are lost, and counted, more than once.
    lost = [int(line.split()[1]) for line in read if line.startswith("lost ")]
    assert kept == sorted(set(kept))
    assert lost
    assert len(kept) + sum(lost) == 3000
