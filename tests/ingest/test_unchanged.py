"""The first look of `ocicat index` says that there is nothing to do only where a pass would write and say nothing.

Whatever is changed on disk or in the catalog, by whichever way of writing: both are asked, the look first. The times of
everything are set back, each to another one: else the rule of what has only just changed would hide a look that is blind.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.engine.locks import WRITER, FileLock
from catalog.errors import OcicatError
from catalog.ingest.store_state import Summary
from catalog.ingest.unchanged import nothing_to_do
from tests import writers
from tests.cli.program import needs_root
from tests.conftest import Catalogue, driver_of_file, stamp
from tests.effort import examples

STORES = ("R/a", "R/b", "R/b/c", "R/deep/er/d", "R/bare", "R/torn", "R/no-index", "x")
"""Below the root R but for x; R/b holds another; R/bare has no blobs; two are broken."""


def layout(path: str) -> None:
    writers.make_layout(path)
    image = writers.make_image(path, ascii(path))
    writers.write_index(path, writers.empty_index(writers.name_entry(image, "tag", "docker.io/library/x", "1")))


def age(directory: str) -> None:
    """Give everything below a directory, and itself, times of long ago, unless it has such a time."""
    for at, _, names in os.walk(directory, topdown=False):
        for path in [*(f"{at}/{name}" for name in names), at]:
            if os.lstat(path).st_mtime > time.time() - 1000:
                stamp(path)


class World:
    """Layouts below `tree`, and a catalog that knows all of them as they are."""

    def __init__(self, directory: str, catalogue: Catalogue) -> None:
        self.tree = f"{directory}/tree"
        self.catalogue = catalogue
        for name in STORES:
            layout(self.path(name))
        shutil.rmtree(self.path("R/bare/blobs"))
        writers.write_index(self.path("R/bare"), writers.empty_index())
        writers.torn(self.path("R/torn"), b'{"schemaVersion":2}', 5)
        age(self.tree)
        catalogue.add(self.path("R"))
        catalogue.add(self.path("x"), name="x")
        os.unlink(self.path("R/no-index/index.json"))
        self.settle()

    def path(self, name: str) -> str:
        return f"{self.tree}/{name}"

    def settle(self) -> None:
        """A pass, and everything is as the catalog says."""
        age(self.tree)
        self.passed()
        self.passed()  # where a first one found that directories are other ones

    def look(self) -> Summary | None:
        driver_of_file(self.catalogue.writer).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return nothing_to_do(self.catalogue.path)

    def passed(self) -> tuple[int, list[str]]:
        """How many rows a pass of `ocicat index` writes, and what it says."""
        said = len(self.catalogue.lines)

        def run() -> None:
            self.catalogue.index()
            self.catalogue.lines += self.catalogue.retire(time.time_ns() // 1_000_000)

        return self.catalogue.writes(run), self.catalogue.lines[said:]


@pytest.fixture
def world(tmp_path: Any, new_sqlite_catalogue: Callable[[str], Catalogue]) -> Iterator[World]:
    """A catalog in a file: one on a server is asked by the pass itself."""
    catalogue = new_sqlite_catalogue(str(tmp_path))
    yield World(str(tmp_path), catalogue)
    catalogue.close()


# --- changes: each takes the world, and all but the last few are such that a pass would write or say something ----------


def _write(style: str, name: str = "R/a") -> Callable[[World], None]:
    def change(world: World) -> None:
        index = writers.empty_index(writers.name_entry(writers.fake_descriptor(style), "tag", "", "2"))
        file = f"{world.path(name)}/index.json"
        if not os.path.isdir(world.path(name)) or (os.path.lexists(file) and not os.path.isfile(file)):
            raise FileNotFoundError(name)  # writing into a FIFO would wait for ever
        writers.write_index(world.path(name), index, style)

    return change


def _same_size(world: World) -> None:
    """Another digest of the same length, in place, with the time that the file had."""
    file = world.path("R/b/c/index.json")
    before = os.stat(file)
    with open(file, "r+b") as opened:
        data = opened.read()
        at = data.index(b"sha256:") + 7
        opened.seek(at)
        opened.write(b"f" if data[at : at + 1] != b"f" else b"e")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced(world: World) -> None:
    """A copy of the same size and time is renamed into place."""
    file = world.path("x/index.json")
    shutil.copy2(file, f"{file}.new")
    os.rename(f"{file}.new", file)


def _removed(name: str) -> Callable[[World], None]:
    return lambda world: shutil.rmtree(world.path(name))


def _link(name: str) -> Callable[[World], None]:
    """The directory becomes a symbolic link to itself under another name: its files are the same as before."""

    def change(world: World) -> None:
        os.rename(world.path(name), f"{world.path(name)}-moved")
        os.symlink(f"{world.path(name)}-moved", world.path(name))

    return change


def _file(name: str, data: bytes = b"x") -> Callable[[World], None]:
    def change(world: World) -> None:
        with open(world.path(name), "wb") as file:
            file.write(data)

    return change


def _other_type(make: Callable[[str], object]) -> Callable[[World], None]:
    def change(world: World) -> None:
        os.unlink(world.path("R/a/index.json"))
        make(world.path("R/a/index.json"))

    return change


def _socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        directory = os.open(os.path.dirname(path), os.O_RDONLY)
        made.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
        os.close(directory)


def _places_changed(world: World) -> None:
    for old, new in (("R/a", "R/t"), ("R/b", "R/a"), ("R/t", "R/b")):
        os.rename(world.path(old), world.path(new))


def _added(world: World) -> None:
    layout(world.path("y"))
    world.catalogue.add(world.path("y"), index=False)


def _behind_a_link(world: World) -> None:
    layout(world.path("other"))
    os.symlink(world.path("other"), world.path("R/link"))


def _catalog(statement: str, *values: object) -> Callable[[World], None]:
    def change(world: World) -> None:
        with world.catalogue.writer.transaction() as connection:
            connection.exec_driver_sql(statement, values)

    return change


CHANGES: dict[str, Callable[[World], object]] = {
    **{f"written as {style} does": _write(style) for style in writers.WRITE_STYLES},
    "written inside of another": _write("skopeo", "R/b/c"),
    "the torn one mended": _write("umoci", "R/torn"),
    "an index.json where none was": _write("zot", "R/no-index"),
    "as many bytes, the same time": _same_size,
    "a copy renamed into place": _replaced,
    "a store gone": _removed("R/a"),
    "a store gone from inside of another": _removed("R/b/c"),
    "a store gone that was added by itself": _removed("x"),
    "the root gone": _removed("R"),
    "the blobs gone": _removed("R/a/blobs"),
    "blobs where none were": lambda w: os.mkdir(w.path("R/bare/blobs")),
    "index.json gone": lambda w: os.unlink(w.path("R/a/index.json")),
    "index.json a directory": _other_type(os.mkdir),
    "index.json a FIFO": _other_type(os.mkfifo),
    "index.json a socket": _other_type(_socket),
    "index.json a link": _other_type(lambda path: os.symlink("oci-layout", path)),
    "a store a link": _link("R/a"),
    "a store renamed": lambda w: os.rename(w.path("R/a"), w.path("R/z")),
    "two that change places": _places_changed,
    "a new store": lambda w: layout(w.path("R/new")),
    "a new store far down": lambda w: layout(w.path("R/deep/er/than/all")),
    "a new store in one": lambda w: layout(w.path("R/a/in")),
    "a new store in one in one": lambda w: layout(w.path("R/b/c/in")),
    "a marker that makes the root a store": _file("R/oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
    "a new blob": lambda w: writers.write_blob(w.path("R/a"), b"new", writers.LAYER_TYPE),
    "a new blob in the one by itself": lambda w: writers.write_blob(w.path("x"), b"new", writers.LAYER_TYPE),
    "a blob gone": lambda w: os.unlink(w.path(f"R/a/blobs/sha256/{os.listdir(w.path('R/a/blobs/sha256'))[0]}")),
    "a new algorithm": lambda w: os.mkdir(w.path("R/a/blobs/sha512")),
    "another naming policy": lambda w: w.catalogue.add(w.path("R"), naming="path", index=False),
    "another naming policy of one": lambda w: w.catalogue.add(w.path("R/a"), naming="fixed=y", index=False),
    "one added, not indexed": _added,
    "content pending": _catalog("UPDATE store SET content_pending = 1 WHERE name = 'x'"),
    "keys by other rules": _catalog("UPDATE store SET keyed_by = '0 ' WHERE name = 'x'"),
    "verify asked for another look": _catalog("UPDATE store SET blobs_identity = NULL WHERE name = 'x'"),
    "a day has gone": _catalog("UPDATE meta SET value = value - 86400000 WHERE key = 'pruned_ms'"),
    "retention ran in a time to come": _catalog("UPDATE meta SET value = value + 9999999 WHERE key = 'pruned_ms'"),
    "retention never ran": _catalog("DELETE FROM meta WHERE key = 'pruned_ms'"),
}

QUIET: dict[str, Callable[[World], object]] = {
    "nothing": lambda _world: None,
    "a file beside the stores": _file("R/README"),
    "a directory without a layout": lambda w: os.makedirs(w.path("R/empty/below")),
    "a hidden layout": lambda w: layout(w.path("R/.hidden")),
    "a layout behind a link": _behind_a_link,
    "a lock in a store": _file("R/a/index.json.lock"),
    "a layout that is left out": lambda w: w.catalogue.remove("R/a"),
    "another priority": lambda w: w.catalogue.add(w.path("R"), priority=7, index=False),
    "the root a link": _link("R"),
    "a store by itself a link": _link("x"),
    "a store forgotten": lambda w: w.catalogue.remove("x"),
}


def check(world: World, *, is_quiet: bool | None = None) -> None:
    """Ask the look, then the pass."""
    found = world.look()
    rows, said = world.passed()
    if found is not None:
        assert (rows, said) == (0, [])
        (count,) = world.catalogue.sql("SELECT count(*) FROM store")[0]
        assert found == Summary(count, 0, 0, 0)
    if is_quiet is not None:
        assert (found is not None) == is_quiet


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_pass_would_take_is_left_to_it(world: World, change: str) -> None:
    assert world.look() == Summary(len(STORES), 0, 0, 0)
    CHANGES[change](world)
    age(world.tree)
    found = world.look()
    rows, said = world.passed()
    assert found is None
    assert rows or said, "no change at all: it proves nothing here"
    world.settle()
    check(world)


@pytest.mark.parametrize("change", QUIET)
def test_what_is_nothing_to_a_pass_is_nothing_to_the_look(world: World, change: str) -> None:
    QUIET[change](world)
    age(world.tree)
    check(world, is_quiet=True)


def test_a_store_that_is_missing_is_left_to_the_pass_for_as_long_as_it_is(world: World) -> None:
    shutil.move(world.path("x"), world.path("away"))
    world.settle()
    check(world, is_quiet=False)
    shutil.move(world.path("away"), world.path("x"))
    check(world, is_quiet=False)
    world.settle()
    check(world, is_quiet=True)


def test_what_has_only_just_changed_is_left_to_the_pass(world: World) -> None:
    """No time tells blobs apart that came within one tick of the file system's clock, so the directory is listed until it is old."""
    os.utime(world.path("R/a/blobs/sha256"))
    world.passed()
    check(world, is_quiet=False)


def test_a_shared_directory_of_blobs_is_looked_at_too(world: World) -> None:
    shared = world.path("shared")
    os.makedirs(f"{shared}/sha256")
    with world.catalogue.writer.transaction() as connection:
        connection.exec_driver_sql("UPDATE store SET shared_blobs = ? WHERE name = 'x'", (shared,))
    world.settle()
    check(world, is_quiet=True)
    with open(f"{shared}/sha256/{'0' * 64}", "wb"):
        pass
    age(shared)
    check(world, is_quiet=False)


def test_paths_that_are_no_text(world: World) -> None:
    layout(os.fsdecode(os.fsencode(world.path("R/")) + b"\xff\xfe"))
    age(world.tree)
    check(world, is_quiet=False)
    world.settle()
    check(world, is_quiet=True)


@needs_root
def test_a_directory_that_cannot_be_searched_is_left_to_the_pass_which_says_so(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        real = os.scandir

        def refuse(directory: Any) -> Any:
            if os.readlink(f"/proc/self/fd/{directory}").endswith("/deep"):
                raise PermissionError(13, "Permission denied")
            return real(directory)

        patch.setattr(os, "scandir", refuse)  # replaced because root may search any directory
        assert world.look() is None
        assert len(world.passed()[1]) == 1


def test_while_somebody_writes_the_pass_waits_as_ever(world: World) -> None:
    lock = FileLock(world.catalogue.path + WRITER, "busy")
    lock.acquire(0)
    assert nothing_to_do(world.catalogue.path) is None
    lock.release()
    assert world.look() is not None


def test_what_the_wal_holds_is_left_to_be_copied(world: World) -> None:
    assert world.look() is not None
    QUIET["another priority"](world)
    assert os.path.getsize(f"{world.catalogue.path}-wal")
    assert nothing_to_do(world.catalogue.path) is None


def test_nothing_is_written(world: World) -> None:
    """Not to the catalog, and to no file beside it."""

    def state() -> dict[str, tuple[int, int]]:
        directory = os.path.dirname(world.catalogue.path)
        found = {entry.name: entry.stat() for entry in os.scandir(directory) if not entry.name.endswith("-shm")}
        return {name: (each.st_size, each.st_mtime_ns) for name, each in found.items()}

    assert world.look() is not None
    version, before = world.catalogue.writer.data_version(), state()
    assert nothing_to_do(world.catalogue.path) is not None
    assert (world.catalogue.writer.data_version(), state()) == (version, before)


@pytest.mark.parametrize("harm", ["gone", "a directory", "empty", "no database", "other tables", "newer", "older"])
def test_a_catalog_that_cannot_be_used_is_left_to_the_pass(world: World, harm: str) -> None:
    assert world.look() is not None
    path = world.catalogue.path
    world.catalogue.close()
    other = f"{path}.other"
    shutil.copyfile(path, other)
    for end in ("-wal", WRITER):
        with open(other + end, "wb"):
            pass
    if harm in ("gone", "a directory", "empty", "no database"):
        os.unlink(other)
    if harm == "a directory":
        os.mkdir(other)
    elif harm in ("empty", "no database"):
        with open(other, "wb") as file:
            file.write(b"" if harm == "empty" else b"x" * 5000)
    elif harm != "gone":
        with sqlite3.connect(other) as connection:
            connection.execute(
                "DROP TABLE left_out"
                if harm == "other tables"
                else f"UPDATE meta SET value = '{'9.0' if harm == 'newer' else '0.9'}' WHERE key = 'schema'"
            )
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        with open(f"{other}-wal", "wb"):
            pass
    assert nothing_to_do(other) is None


@settings(max_examples=examples(25))
@given(data=st.data())
def test_whatever_happens_in_whatever_order(
    data: st.DataObject, new_sqlite_catalogue: Callable[[str], Catalogue]
) -> None:
    """Make several changes between two passes, as far as each is possible. At the end, the check finds nothing to do."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(os.path.realpath(directory), new_sqlite_catalogue(directory))
        for _ in range(3):
            for change in data.draw(st.lists(st.sampled_from([*CHANGES, *QUIET]), max_size=3)):
                try:
                    {**CHANGES, **QUIET}[change](world)
                except (OSError, ValueError, StopIteration, LookupError, OcicatError):
                    continue  # what was to be changed is not there any more
                if data.draw(st.booleans()):
                    age(world.tree)
                check(world)
        world.settle()
        (missing,) = world.catalogue.sql("SELECT count(*) FROM store WHERE state = 'missing'")[0]
        gone = not os.path.isdir(world.path("R"))
        check(world, is_quiet=None if missing or gone else True)
        world.catalogue.close()
