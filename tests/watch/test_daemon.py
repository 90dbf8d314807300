"""The daemon's life: one a catalog, signals, what other processes do to the catalog meanwhile, and how it says how it is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from catalog.engine.locks import DAEMON, WRITER, FileLock, is_held
from catalog.engine.open import beside
from catalog.watch.status import read_daemon
from tests import writers
from tests.cli.program import one_error
from tests.conftest import file_of
from tests.effort import examples
from tests.watch.harness import Followed, Load, on_both, wait_for
from tests.writers import fake_descriptor, make_layout, name_entry, read_index, write_index

APP = "docker.io/library/app"


def tag(path: str, name: str, seed: str, style: str = "skopeo") -> str:
    """Let `app:NAME` of the layout be another image; its digest."""
    entry = name_entry(fake_descriptor(seed), "canonical", APP, name)
    write_index(path, writers.retag_replace(read_index(path), entry), style)
    digest: str = entry["digest"]
    return digest


@contextmanager
def writer_lock(catalog: Followed) -> Iterator[None]:
    """Hold what every writer of the catalog takes; the daemon may still be writing what it found at its start."""
    lock = FileLock(catalog.db + WRITER, "busy")
    lock.acquire(60)
    try:
        yield
    finally:
        lock.release()


def pid(catalog: Followed) -> int:
    assert catalog.daemon is not None
    return catalog.daemon.pid


# One a catalog


def test_a_second_daemon_says_which_one_runs(catalog: Followed) -> None:
    catalog.start()
    one_error(catalog.program("watch"), 4, f"process {pid(catalog)}", "stop it first")
    assert catalog.stop() == 0


@on_both("catalog")
def test_the_lock_is_free_as_soon_as_the_daemon_is_killed(catalog: Followed) -> None:
    catalog.start()
    assert is_held(beside(catalog.db) + DAEMON)
    catalog.stop(signal.SIGKILL)
    assert not is_held(beside(catalog.db) + DAEMON)
    assert read_daemon(catalog.db) is None  # although its file still says much
    catalog.start()
    assert catalog.state()["daemon_pid"] == pid(catalog)
    assert catalog.stop() == 0


def test_a_daemon_starts_although_somebody_asks_for_one_all_the_time(quick: Followed) -> None:
    quick.start()
    quick.stop()
    code = (
        "import sys; from catalog.engine.locks import is_held; print('x', flush=True)\nwhile True: is_held(sys.argv[1])"
    )
    asking = [Load(code, quick.db + DAEMON) for _ in range(2)]
    try:
        for each in asking:
            each.out.readline()
        for _ in range(3):
            quick.start()
            assert quick.stop() == 0
    finally:
        for each in asking:
            each.kill()


# Signals


@on_both("catalog")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0(catalog: Followed, number: int) -> None:
    make_layout(catalog.path("root/a"))
    catalog.add_root("root")
    catalog.start()
    assert catalog.stop(number) == 0
    assert catalog.said() == [f"info: watching 1 store and 1 root of {catalog.db}", "info: ended by a signal"]
    assert catalog.state()["daemon"] == "none"


MOMENTS = examples(24)


@on_both("quick", is_long=True)
def test_signals_at_any_moment_of_its_life_end_it_well(quick: Followed) -> None:
    for number in range(40):
        make_layout(quick.path(f"root/{number}"))
    quick.add_root("root")
    for attempt in range(MOMENTS):
        quick.start(ready=False)
        # From before the handlers are there (python's own start) on: by the lock it is known that they nearly are.
        wait_for(lambda: bool(read_daemon(quick.db)))
        for _ in range(attempt):
            quick.send(signal.SIGHUP)  # each wakes it in another state
        assert quick.stop() == 0
    assert quick.said().count("info: ended by a signal") == MOMENTS


def test_sigterm_ends_it_while_another_process_keeps_the_catalog_locked(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    quick.start()
    with writer_lock(quick):
        tag(store, "1", "x")
        wait_for(lambda: any("being written by another process" in line for line in quick.log()))
        assert quick.stop() == 0
    quick.start()
    quick.settled()


@on_both("quick")
def test_sighup_looks_at_everything_at_once(quick: Followed) -> None:
    """With --poll, a change without any event is found: nothing else would be looked at for an hour."""
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    quick.start("--poll", "3600")
    tag(store, "1", "x")
    make_layout(quick.path("root/b"))
    assert quick.ask("app:1").status == 1
    quick.send(signal.SIGHUP)
    quick.settled()
    assert quick.ask("app:1").status == 0


# Other processes


@on_both("quick")
def test_stores_and_roots_added_and_removed_by_others_are_followed(quick: Followed) -> None:
    quick.start()
    make_layout(quick.path("one/a"))
    lone = make_layout(quick.path("lone"))
    root = quick.add_root("one")
    quick.add_store(lone)
    for step in range(3):
        tag(f"{root}/a", "1", f"a{step}")
        tag(lone, "2", f"l{step}")
        quick.settled()
    make_layout(quick.path("one/b"))
    quick.settled()
    quick.remove(f"{root}/b")
    tag(f"{root}/b", "3", "left out")
    quick.settled()
    assert quick.ask("app:3").status == 1
    quick.add_store(f"{root}/b")
    quick.settled()
    assert quick.ask("app:3").status == 0
    tag(f"{root}/b", "3", "back again")
    quick.settled()
    quick.remove(lone)
    quick.remove(root)
    tag(lone, "2", "nobody looks")
    quick.settled()
    assert quick.stores() == {}
    assert quick.stop() == 0


@on_both("quick", is_long=True)
def test_one_store_replaced_by_another_between_two_looks(quick: Followed) -> None:
    """The count of stores is the same then, and SQLite gives the new one the old one's number."""
    one, two = make_layout(quick.path("one")), make_layout(quick.path("two"))
    quick.add_store(one)
    quick.start()
    quick.hang()
    quick.remove(one)
    quick.add_store(two)
    quick.send(signal.SIGCONT)
    wait_for(lambda: (read_daemon(quick.db) or {}).get("watched") == 2)  # with its parent directory
    for step in range(3):
        tag(two, "1", f"x{step}")
        quick.settled()


@on_both("quick", is_long=True)
def test_a_root_inside_a_root_comes_and_goes(quick: Followed) -> None:
    """Its stores belong to the deeper root, and to the other one once that is removed. They are watched all the time."""
    store = make_layout(quick.path("outer/inner/deep/a"))
    outer = quick.add_root("outer")
    quick.start()
    inner = f"{outer}/inner"
    for step in range(2):
        tag(store, "1", f"{step}")
        quick.settled()
        quick.done("add", inner)
        make_layout(f"{inner}/deep/new{step}")
        tag(f"{inner}/deep/new{step}", "2", f"{step}")
        tag(store, "1", f"{step} again")
        digest = fake_descriptor(f"{step} again")["digest"]
        wait_for(lambda digest=digest: quick.ask("app:1").digest == digest, what=quick.log)  # type: ignore[misc]
        quick.done("remove", inner)
        quick.settled()
        make_layout(f"{inner}/deep/er/newer{step}")
        tag(f"{inner}/deep/er/newer{step}", "3", f"{step}")
        quick.settled()


@on_both("quick", is_long=True)
def test_registered_without_being_indexed(quick: Followed) -> None:
    quick.start()
    tag(make_layout(quick.path("root/a")), "1", "x")
    tag(make_layout(quick.path("lone")), "2", "y")
    quick.done("add", "--no-index", quick.path("root"), quick.path("lone"))
    quick.roots[quick.path("root")] = "root"
    quick.lone[quick.path("lone")] = "lone"
    quick.settled()


@on_both("quick", is_long=True)
def test_a_store_removed_while_its_change_is_pending(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    other = make_layout(quick.path("root/b"))
    quick.add_root("root")
    quick.start()
    with open(f"{store}/index.json", "r+b") as held:  # somebody writes it, and so it waits
        held.write(held.read(1))
        held.flush()
        quick.send(signal.SIGHUP)
        wait_for(lambda: quick.state()["daemon_waiting"] == 1)
        quick.remove(store)
        tag(other, "1", "x")
        quick.settled()
    quick.settled()
    assert list(quick.stores()) == ["root/b"]
    wait_for(lambda: quick.state()["daemon_waiting"] == 0)
    assert quick.stop() == 0


def test_the_catalog_locked_for_a_while_is_told_once_and_caught_up_with(quick: Followed) -> None:
    stores = [make_layout(quick.path(f"root/{number}")) for number in range(3)]
    quick.add_root("root")
    quick.start()
    with writer_lock(quick):
        for number, store in enumerate(stores):
            tag(store, str(number), "x")
        make_layout(quick.path("root/new"))
        shutil.rmtree(stores[0])
        wait_for(lambda: len(quick.log()) > 1)
        first = time.monotonic()
        wait_for(lambda: time.monotonic() - first > 5)  # over several of its tries
        tag(stores[1], "1", "y")
    quick.settled()
    wait_for(lambda: any("is followed again" in line for line in quick.log()), what=quick.log)  # this trouble is over
    told = [line for line in quick.log() if "written by another process" in line]
    assert len(told) == 1, quick.log()
    with writer_lock(quick):
        tag(stores[2], "2", "y")
        wait_for(lambda: len([line for line in quick.log() if "written by another process" in line]) == 2)
    quick.settled()
    assert quick.stop() == 0


def test_locked_before_it_starts(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    with writer_lock(quick):
        tag(store, "1", "x")
        quick.start(ready=False)
        wait_for(lambda: any("written by another process" in line for line in quick.log()))
        assert quick.state()["daemon"] == "running"
    quick.settled()


@on_both("quick", is_long=True)
def test_beside_index_all_the_time(quick: Followed) -> None:
    """Both take what changed, under one lock; neither loses it nor takes it twice."""
    stores = [make_layout(quick.path(f"root/{number}")) for number in range(3)]
    quick.add_root("root")
    quick.start()
    code = (
        "import subprocess\nprint(flush=True)\n"
        "while True: subprocess.run([sys.argv[1], '--config', sys.argv[3], '--db', sys.argv[2], 'index'], check=True)"
    )
    load = Load(code, os.path.join(os.path.dirname(sys.executable), "ocicat"), quick.db, quick.config)
    try:
        load.out.readline()
        for step in range(8):
            for store in stores:
                tag(store, "1", f"{store}{step}")
            quick.settled()
    finally:
        load.kill()
    for store, number in quick.reader.select(
        "SELECT name, (SELECT count(*) FROM snapshot WHERE store_id = store.id) FROM store", {}
    ):
        assert number == 9, store  # the empty layout and eight changes, each once
    assert quick.stop() == 0


# How it is


def test_it_says_how_it_is_from_its_first_moment(quick: Followed) -> None:
    make_layout(quick.path("root/a"))
    quick.add_root("root")
    quick.start(ready=False)
    wait_for(lambda: is_held(quick.db + DAEMON))
    wait_for(lambda: quick.state()["daemon_pid"] == pid(quick))
    assert quick("status", "--check").status == 0
    wait_for(lambda: quick.state()["daemon_watched"] == 2)
    values = quick.state()
    assert values["daemon"] == "running"
    assert values["daemon_polling"] is False
    assert (values["daemon_watched"], values["daemon_unwatched"], values["daemon_waiting"]) == (2, 0, 0)


@on_both("quick", is_long=True)
def test_an_unreadable_place_is_told_once_and_again_when_it_came_back(quick: Followed) -> None:
    make_layout(quick.path("root/a"))
    root = quick.add_root("root")
    quick.start("--rescan", "0.1")
    os.rename(root, root + "-away")
    wait_for(lambda: quick.stores()["root/a"]["state"] == "missing", what=quick.log)
    wait_for(lambda: len(unsearched(quick)) == 1, what=quick.log)
    await_whole_sweep(quick)
    assert len(unsearched(quick)) == 1, quick.log()
    os.rename(root + "-away", root)
    quick.settled()
    await_whole_sweep(quick)  # an event may have told that it is back; the sweep has to see it too
    os.rename(root, root + "-away")
    wait_for(lambda: len(unsearched(quick)) == 2, what=quick.log)


def unsearched(catalog: Followed) -> list[str]:
    """The lines of the daemon's log about places that cannot be searched."""
    return [line for line in catalog.log() if "cannot be searched" in line]


def await_whole_sweep(catalog: Followed) -> None:
    """Wait until a sweep has ended that began after this call: the first that ends may have begun before."""
    for _ in range(2):
        before = catalog.state()["daemon_last_sweep"]
        wait_for(lambda before=before: catalog.state()["daemon_last_sweep"] != before, what=catalog.log)  # type: ignore[misc]


def test_without_inotify_it_polls_and_says_so(quick: Followed) -> None:
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    quick.start_apart("echo 0 > /proc/sys/user/max_inotify_instances", options=["--rescan", "0.2"])
    assert any("cannot get file events" in line and "max_user_instances" in line for line in quick.log())
    assert quick.state()["daemon_polling"] is True
    for step in range(2):
        tag(store, "1", f"x{step}")
        make_layout(quick.path(f"root/new{step}"))
        quick.settled()


def test_what_the_limit_of_watches_leaves_out_is_swept_and_told(quick: Followed) -> None:
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    stores = [make_layout(quick.path(f"root/{number}")) for number in range(10)]
    quick.add_root("root")
    quick.start_apart("echo 6 > /proc/sys/user/max_inotify_watches", options=["--rescan", "0.2"])
    state = quick.state()
    assert (state["daemon_watched"], state["daemon_unwatched"]) == (6, 5)
    assert state["advice"].startswith("sysctl fs.inotify.max_user_watches=")
    for store in stores:
        tag(store, "1", store)
    quick.settled()


@on_both("quick", is_long=True)
def test_poll_alone(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    quick.start("--poll", "0.1")
    assert quick.state()["daemon_polling"] is True
    for step in range(3):
        tag(store, "1", f"x{step}")
        make_layout(quick.path(f"root/deep/er/new{step}"))
        quick.settled()
    shutil.rmtree(quick.path("root/deep"))
    quick.settled()


@on_both("quick")
def test_events_that_are_lost_are_made_up_for(quick: Followed) -> None:
    """The kernel's queue runs over while the daemon hangs, and what happened then is not in it."""
    for name in ("moved", "remade", "stays"):
        tag(make_layout(quick.path(f"root/{name}/store")), name, "0")
    root = quick.add_root("root")
    quick.start()
    quick.settled()
    quick.hang()
    aside = f"{root}/aside"
    Path(aside).write_text("")
    with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as file:
        for _ in range(int(file.read()) // 2 + 100):
            os.rename(aside, aside + "2")
            os.rename(aside + "2", aside)
    os.rename(f"{root}/moved", f"{root}/renamed")
    tag(make_layout(f"{root}/moved/store"), "moved", "1")
    shutil.rmtree(f"{root}/remade")
    tag(make_layout(f"{root}/remade/store"), "remade", "1")
    tag(make_layout(f"{root}/new/store"), "new", "1")
    quick.send(signal.SIGCONT)
    for step in range(2):
        quick.settled()
        for name in ("moved", "renamed", "remade", "stays", "new"):
            tag(f"{root}/{name}/store", name, f"after {step}")
    quick.settled()
    assert len([line for line in quick.log() if "events were lost" in line]) == 1


# Many


MANY = examples(3000)
"""Stores that come at once."""


def test_thousands_of_stores_at_once(quick: Followed, tmp_path: Path) -> None:
    """`cp -r` beside the daemon: every one is found, by events or otherwise, with its names; and then all are gone."""
    for number in range(MANY):
        path = f"{tmp_path}/from/{number % 10}/{number}"
        os.makedirs(f"{path}/blobs")
        Path(f"{path}/oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        entry = name_entry(fake_descriptor(f"{number}"), "canonical", f"{APP}-{number}", "1")
        Path(f"{path}/index.json").write_bytes(writers.dump(writers.empty_index(entry)))
    quick.add_root("root")
    quick.start()

    def states() -> dict[str, int]:
        return dict(file_of(quick.reader).execute("SELECT state, count(*) FROM store GROUP BY state").fetchall())

    subprocess.run(["cp", "-r", f"{tmp_path}/from", quick.path("root/to")], check=True)
    wait_for(lambda: states() == {"ok": MANY}, 90, what=lambda: [states(), quick.log()])
    for number in range(MANY):
        assert quick.ask(f"app-{number}:1").digest == fake_descriptor(f"{number}")["digest"]
    wait_for(lambda: quick.state()["daemon_watched"] == 1 + 1 + 10 + MANY)
    assert quick.state()["daemon_unwatched"] == 0
    shutil.rmtree(quick.path("root/to"))
    wait_for(lambda: states() == {"missing": MANY}, 90, what=lambda: [states(), quick.log()[:9]])
    wait_for(lambda: quick.state()["daemon_watched"] == 1)
    assert quick.ask("app-7:1").status == 1
