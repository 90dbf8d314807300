"""When blobs that come without a change of index.json are listed: once no more come, and now and then while they keep coming."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from catalog.engine.interface import Writer
from catalog.engine.sqlite.writer import SqliteWriter
from catalog.ingest.content import GROUP
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Settings
from catalog.ingest.store_state import Store
from catalog.watch.contents import MOST_LOOKS, Contents
from tests.cli.program import called
from tests.watch.harness import Followed, on_both, wait_for
from tests.writers import empty_index, make_image, make_layout, name_entry, write_blob, write_index

A_BLOB = "application/octet-stream"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    """The catalog of a layout with an image, all of it read."""
    make_image(make_layout(f"{tmp_path}/a"), "x")
    db = f"{tmp_path}/catalog.db"
    stand_still(f"{tmp_path}/a")
    assert called("add", f"{tmp_path}/a", db=db).status == 0
    with SqliteWriter(db) as opened:
        yield opened


def stand_still(path: str) -> None:
    """Wait until the directories of blobs have not changed within a tick of the clock, and say what they hold for good."""
    while time.time() - max(os.stat(f"{path}/blobs{end}").st_mtime for end in ("", "/sha256")) <= 2.1:
        time.sleep(0.05)


def touch(path: str, seconds_ago: int) -> None:
    """Let the directory of blobs look as if one came so long ago."""
    then = time.time() - seconds_ago
    os.utime(f"{path}/blobs/sha256", (then, then))


def the_store(writer: Writer) -> Store:
    with writer.snapshot() as connection:
        (store,) = Registry(connection).stores()
    return store


def listed(contents: Contents) -> int:
    """How many steps there were to do."""
    steps = 0
    while contents.step(0):
        steps += 1
    return steps


def test_they_are_listed_when_they_are_the_same_in_two_looks(writer: Writer) -> None:
    contents = Contents(writer, Settings)
    store = the_store(writer)
    for at_once in (False, True):
        contents.look(store, at_once=at_once)
        assert listed(contents) == 0  # nothing has come
    touch(store.path, 1000)
    for look in range(3):
        contents.look(store, at_once=False)
        assert bool(listed(contents)) == (look == 1)
        store = the_store(writer)
    touch(store.path, 900)
    contents.look(store, at_once=True)
    assert listed(contents)


def test_while_they_come_they_are_listed_now_and_then(writer: Writer) -> None:
    contents = Contents(writer, Settings)
    times = 0
    for look in range(3 * MOST_LOOKS):
        store = the_store(writer)
        touch(store.path, 1000 + look)
        contents.look(store, at_once=False)
        times += bool(listed(contents))
    assert times == 3


def test_all_are_listed_while_there_is_always_more_news(tmp_path: Path) -> None:
    """As long as the daemon writes, it looks for more to read again and again, and forgets no store meanwhile."""
    stores = [make_layout(f"{tmp_path}/root/{number}") for number in range(3 * GROUP)]
    db = f"{tmp_path}/catalog.db"
    assert called("add", f"{tmp_path}/root", db=db).status == 0
    for path in stores:
        write_blob(path, path.encode(), A_BLOB)
    with SqliteWriter(db) as writer:
        contents = Contents(writer, Settings, find_seconds=0)
        with writer.snapshot() as connection:
            for each in Registry(connection).stores():
                contents.look(each, at_once=True)
        steps = 0
        while contents.step(0):
            steps += 1
            contents.heard(steps)
        with writer.snapshot() as connection:
            assert connection.execute(text("SELECT count(*) FROM blobs")).scalar() == len(stores)


@on_both("quick")
def test_beside_a_daemon_they_are_listed_in_the_end(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    quick.start("--rescan", "0.2")
    count = "SELECT count(*) FROM blobs"
    for number in range(30):
        write_blob(store, f"{number}".encode(), A_BLOB)
    wait_for(lambda: next(quick.reader.select(count, {})) == (30,), what=quick.log)


def in_place(path: str, descriptor: dict[str, object], data: bytes) -> None:
    """Write a blob where it lies, as `cp` and `rsync --inplace` do; the directory keeps its times."""
    before = os.stat(f"{path}/blobs/sha256")
    with open(f"{path}/blobs/sha256/{str(descriptor['digest']).partition(':')[2]}", "r+b") as file:
        file.truncate(0)
        file.write(data)
    assert os.stat(f"{path}/blobs/sha256").st_mtime_ns == before.st_mtime_ns


def half(catalog: Followed, what: str) -> tuple[str, dict[str, object], dict[str, object], bytes]:
    """A layout with an image of which the manifest, the config or the layer is half there: the path, the image, the blob, its bytes."""
    path = make_layout(catalog.path("one"))
    image = make_image(path, "app")
    manifest = json.loads(blob_of(path, image))
    descriptor = {"manifest": image, "config": manifest["config"], "layer": manifest["layers"][0]}[what]
    data = blob_of(path, descriptor)
    in_place(path, descriptor, data[: len(data) // 2])
    write_index(path, empty_index(name_entry(image, "canonical", "docker.io/library/app", "1")))
    stand_still(path)
    catalog.done("add", path)
    assert catalog(*ASKED[what]).status in (1, 4)
    return path, image, descriptor, data


def blob_of(path: str, descriptor: dict[str, object]) -> bytes:
    return Path(f"{path}/blobs/sha256/{str(descriptor['digest']).partition(':')[2]}").read_bytes()


ASKED = {
    "manifest": ("resolve", "app:1", "--platform", "linux/amd64"),
    "config": ("resolve", "app:1", "--platform", "linux/amd64"),
    "layer": ("resolve", "app:1", "--strict", "--format", "oci-layout"),
}


@pytest.mark.parametrize("what", sorted(ASKED))
@on_both("quick")
def test_fresh_finds_what_was_completed_in_place(quick: Followed, what: str) -> None:
    path, image, descriptor, data = half(quick, what)
    in_place(path, descriptor, data)
    answer = quick.done(*ASKED[what], "--fresh").out
    assert str(image["digest"]) in answer
    assert quick.done(*ASKED[what]).out == answer


@pytest.mark.parametrize("what", sorted(ASKED))
@on_both("quick")
def test_a_daemon_finds_what_was_completed_in_place(quick: Followed, what: str) -> None:
    """By a rescan: no event need tell of it."""
    path, _, descriptor, data = half(quick, what)
    quick.start("--rescan", "1")
    in_place(path, descriptor, data)
    wait_for(lambda: quick(*ASKED[what]).status == 0)
