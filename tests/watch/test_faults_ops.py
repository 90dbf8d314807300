"""What a machine does to a daemon: no file descriptors, no room, a disk that fails, a catalog that is taken away."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.engine.locks import FileLock, StateFile
from catalog.errors import CatalogLocked, CatalogUnreachable, Exhausted, NoRoom
from catalog.exhausted import exhausted
from catalog.watch.service import Service
from catalog.watch.status import LATE_SECONDS, why_late
from tests import writers
from tests.cli.program import Ran, called, needs_root, one_error, ran_as_nobody, reachable
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import DEADLINE, Followed, followed, wait_for
from tests.watch.test_config import said_of
from tests.watch.test_daemon import APP, pid, tag
from tests.watch.test_mounts import needs_namespaces
from tests.writers import empty_index, fake_descriptor, make_image, make_layout, name_entry, write_index


def told(quick: Followed, words: str) -> int:
    return sum(words in line for line in quick.log())


@contextlib.contextmanager
def limited(quick: Followed, kind: int, value: int) -> Iterator[None]:
    """Lower a limit of the running daemon."""
    before = resource.prlimit(pid(quick), kind)
    resource.prlimit(pid(quick), kind, (value, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid(quick), kind, before)


def long_pause() -> None:
    """Long enough for several tries."""
    time.sleep(1.2)


# No file descriptors


def test_no_descriptor_is_no_trouble_of_the_stores(quick: Followed) -> None:
    stores = [make_layout(quick.path(f"root/{number}")) for number in range(3)]
    quick.add_root("root")
    quick.start()
    tag(stores[0], "0", "before")
    quick.settled()
    with limited(quick, resource.RLIMIT_NOFILE, 3):
        for number, store in enumerate(stores):
            tag(store, "1", f"x{number}")
        make_layout(quick.path("root/new"))
        quick.send(signal.SIGHUP)  # so that it looks for new ones too
        wait_for(lambda: told(quick, "no file descriptor is left for this process"))
        long_pause()
        assert {row["state"] for row in quick.stores().values()} <= {"ok", "empty"}
        assert quick.ask("app:0").status == 0
        assert quick.daemon is not None
        assert quick.daemon.poll() is None
    quick.settled()
    assert told(quick, "no file descriptor is left") == 1, quick.log()
    wait_for(lambda: told(quick, "is followed again") == 1)
    tag(stores[0], "1", "y")
    make_layout(quick.path("root/later/one"))
    quick.settled()
    assert told(quick, "unreadable") == 0, quick.log()
    assert quick.stop() == 0


def test_few_descriptors_are_the_calls_trouble_and_no_stores(quick: Followed) -> None:
    """With fewer than some, `index` ends with status 4 and a line that says why; whatever the number, no store is blamed.

    How many it needs also depends on the machine: finding out who writes a file takes three more if somebody writes one like it.
    """
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    statuses = set()
    for limit in (5, 9, 10, 20):
        tag(store, "1", f"x{limit}")
        result = with_limit(quick, limit, "index")
        statuses.add(result.status)
        if result.status:
            one_error(result, 4, "no file descriptor is left", "raise its limit")
        assert {row["state"] for row in quick.stores().values()} <= {"ok", "empty"}
    assert statuses == {0, 4}
    one_error(with_limit(quick, 10, "add", make_layout(quick.path("lone"))), 4, "no file descriptor is left")
    assert quick.stores()["lone"]["state"] != "unreadable"
    one_error(with_limit(quick, 7, "watch"), 4, "no file descriptor is left")


def with_limit(quick: Followed, limit: int, *arguments: str) -> Ran:
    command = ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", OCICAT, "--config", quick.config, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=CLEAN | {"OCICAT_DB": quick.db}, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


def test_what_a_process_runs_out_of() -> None:
    for code, word in ((23, "machine"), (24, "process"), (12, "memory")):
        assert word in str(exhausted(code))
    assert exhausted(2) is None
    assert exhausted(None) is None


# No room


def many(path: str, number: int, seed: str) -> None:
    """Let the layout have so many entries, which take a commit some room."""
    entries = [
        name_entry(fake_descriptor(f"{seed}{each}"), "canonical", "docker.io/library/many", f"{each}")
        for each in range(number)
    ]
    write_index(path, writers.empty_index(*entries))


def test_a_disk_that_fails_at_a_commit(quick: Followed) -> None:
    """No file of the daemon's may be longer than 16 KiB: SQLite sees an error of the disk."""
    stores = [make_layout(quick.path(f"root/{number}")) for number in range(2)]
    quick.add_root("root")
    quick.start()
    tag(stores[0], "1", "before")
    quick.settled()
    with limited(quick, resource.RLIMIT_FSIZE, 16 << 10):
        many(stores[0], 40, "x")
        many(stores[1], 40, "y")
        make_layout(quick.path("root/new"))
        wait_for(lambda: told(quick, "reading or writing"))
        long_pause()
        assert quick.ask("app:1").status == 0  # what was there answers
        assert quick.ask("many:7").status == 1
        assert "reading or writing" in said_of(quick)["trouble"]
        assert quick("status", "--check").status == 0  # not for so long yet
    quick.settled()
    assert told(quick, "reading or writing") == 1, quick.log()
    wait_for(lambda: told(quick, "is followed again") == 1)
    assert quick.stop() == 0
    assert quick.done("db", "check").status == 0


def test_a_server_that_is_away_is_tried_again_all_the_time(tmp_path: Path) -> None:
    """Once a second at the longest, however long it is away: with pauses that double, seven tries would take over half a minute."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        url = f"postgresql://ocicat@127.0.0.1:{listener.getsockname()[1]}/nowhere?sslmode=disable"
        with followed(tmp_path, url) as away:
            away.start(ready=False)
            deadline = time.monotonic() + DEADLINE
            for _ in range(7):
                listener.settimeout(max(0.001, deadline - time.monotonic()))
                listener.accept()[0].close()
            assert away.stop() == 0
            assert told(away, "is followed again") == 0


def test_no_trouble_is_waited_out_for_longer_than_a_second(quick: Followed) -> None:
    service = Service(quick.db, lambda _line: None)
    for kind in (CatalogUnreachable, CatalogLocked, NoRoom, Exhausted):
        pauses = [service.trouble(kind("away")) for _ in range(20)]
        assert sorted(pauses) == pauses
        assert max(pauses) <= 1


def test_trouble_that_lasts_is_late() -> None:
    now = int(time.time() * 1000)
    said = {"beat": now, "trouble": "no room", "trouble_since": now - 1000}
    assert why_late(said) is None
    assert "no room" in (why_late(said | {"trouble_since": now - 1000 * (LATE_SECONDS + 1)}) or "")


_IN_TMPFS = 'mount -t tmpfs -o size=3m,mode=0777 tmpfs "$1"'


def start_in_tmpfs(quick: Followed) -> str:
    """Let the catalog be on a tmpfs that only the daemon sees, and who enters its namespace: a path to that directory."""
    small = quick.path("small")
    os.mkdir(small)
    quick.db = f"{small}/catalog.db"
    with open(quick.config, "a") as file:
        file.write(f'[[roots]]\npath = "{quick.path("root")}"\n')
    quick.start_apart(_IN_TMPFS, small, ready=False)
    wait_for(lambda: told(quick, "watching 0 stores and 1 root"), what=quick.log)
    return f"/proc/{pid(quick)}/root{small}"


def fill(directory: str) -> None:
    with open(f"{directory}/filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(1 << 12))


@needs_namespaces
def test_a_full_disk_is_recovered_from_without_a_restart(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    seen = start_in_tmpfs(quick)
    tag(store, "1", "before")
    wait_for(lambda: within(quick, "resolve", "app:1").returncode == 0)
    fill(seen)
    many(store, 300, "x")
    wait_for(lambda: told(quick, "no room to write"), what=quick.log)
    long_pause()
    assert within(quick, "resolve", "app:1").returncode == 0
    os.unlink(f"{seen}/filler")
    wait_for(lambda: within(quick, "resolve", "many:299").returncode == 0)
    assert told(quick, "no room to write") == 1, quick.log()
    wait_for(lambda: told(quick, "is followed again") == 1)
    assert within(quick, "resolve", "app:1").returncode == 1
    assert within(quick, "db", "check").returncode == 0
    assert quick.stop() == 0


@needs_namespaces
def test_a_disk_that_is_full_while_content_is_read(quick: Followed) -> None:
    """The names are there already: what the digests are, and which blobs lie where, finds no room."""
    store = make_layout(quick.path("root/a"))
    images = [make_image(store, f"{number}") for number in range(60)]
    content = [os.path.join(store, "blobs/sha256", name) for name in os.listdir(f"{store}/blobs/sha256")]
    for path in content:
        os.rename(path, f"{store}/{os.path.basename(path)}")  # names first, blobs later
    seen = start_in_tmpfs(quick)
    write_index(store, empty_index(*(name_entry(each, "canonical", APP, f"{n}") for n, each in enumerate(images))))
    wait_for(lambda: within(quick, "resolve", "app:59").returncode == 0)
    pending = ("sql", "SELECT count(*) FROM stores WHERE pending")
    wait_for(lambda: within(quick, *pending).stdout == b"0\n", what=quick.log)
    fill(seen)
    for path in content:
        os.rename(f"{store}/{os.path.basename(path)}", path)
    quick.send(signal.SIGHUP)  # There are no events of blobs.
    wait_for(lambda: told(quick, "no room to write"), what=quick.log)
    long_pause()
    assert within(quick, "resolve", "app:7").returncode == 0
    os.unlink(f"{seen}/filler")
    count = ("sql", "SELECT count(*) FROM manifests WHERE platform = 'linux/amd64'")
    wait_for(lambda: within(quick, *count).stdout == b"60\n", what=lambda: [quick.log(), within(quick, *count)])
    assert within(quick, "resolve", "--platform", "linux/amd64", "app:7").returncode == 0
    assert told(quick, "no room to write") == 1, quick.log()
    wait_for(lambda: told(quick, "is followed again") == 1)
    assert within(quick, "db", "check").returncode == 0
    assert quick.stop() == 0


def within(quick: Followed, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program where the daemon is."""
    enter = ["nsenter", "-t", str(pid(quick)), "-U", "-m", "--preserve-credentials", OCICAT, "--db", quick.db]
    return subprocess.run([*enter, *arguments], capture_output=True, env=CLEAN, timeout=DEADLINE, check=False)


def test_the_lock_of_a_full_disk(tmp_path: Path) -> None:
    """What may be in the place of a lock beside the catalog: each is reported, and nothing is published."""
    lock = FileLock(f"{tmp_path}/lock", "busy")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(Exhausted):
            lock.acquire(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    full = Path("/dev/full")
    if full.exists():
        state = StateFile(f"{tmp_path}/state")
        state.open()
        descriptor = os.open(full, os.O_WRONLY)
        os.dup2(descriptor, state._descriptor or -1)
        os.close(descriptor)
        with contextlib.suppress(OSError):  # /dev/full cannot be truncated, which is another error than no room
            state.publish(b"x")
        with contextlib.suppress(OSError):
            state.close()
    assert issubclass(NoRoom, Exception)


# The catalog is taken away


def test_the_catalog_is_deleted(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    quick.start()
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(quick.db + end)
    assert ended(quick) == 4
    assert quick.said()[-1].startswith(f"error: {quick.db} was deleted or replaced while it was open")
    assert len(quick.log()) == 2, quick.log()
    # On what is there now, nothing, it starts from nothing.
    quick.roots.clear()
    quick.start()
    quick.add_root("root")
    tag(store, "1", "x")
    quick.settled()


def test_the_catalog_is_replaced_by_another(quick: Followed) -> None:
    quick.add_store(make_layout(quick.path("a")))
    other = quick.path("other.db")
    assert called("--db", other, "add", make_layout(quick.path("b"))).status == 0
    quick.start()
    with open(other, "rb") as file:
        before = file.read()
    for end in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(quick.db + end)
    os.rename(other, quick.db)
    assert ended(quick) == 4
    assert told(quick, "was deleted or replaced while it was open") == 1
    with open(quick.db, "rb") as file:
        assert file.read() == before  # nothing was written into it
    assert called("stores", "--format", "{name}", db=quick.db).lines == ["b"]


def test_the_catalog_is_deleted_while_there_is_something_to_write(quick: Followed) -> None:
    store = make_layout(quick.path("root/a"))
    quick.add_root("root")
    quick.start()
    quick.send(signal.SIGSTOP)
    os.unlink(quick.db)
    tag(store, "1", "x")
    quick.send(signal.SIGCONT)
    assert ended(quick) == 4
    assert told(quick, "was deleted or replaced while it was open") == 1
    assert len(quick.log()) == 2, quick.log()


def test_its_directory_is_renamed(quick: Followed) -> None:
    quick.db = quick.path("state/catalog.db")
    quick.add_store(make_layout(quick.path("a")))
    quick.start()
    os.rename(quick.path("state"), quick.path("state2"))
    assert ended(quick) == 4
    assert told(quick, "was deleted or replaced while it was open") == 1


def ended(quick: Followed) -> int:
    assert quick.daemon is not None
    return quick.daemon.wait(DEADLINE)


# A directory that cannot be written


@needs_namespaces
def test_a_read_only_file_system(quick: Followed) -> None:
    quick.add_store(make_layout(quick.path("a")))
    quick.db = quick.path("ro/catalog.db")
    os.mkdir(quick.path("ro"))
    quick.start_apart('mount -t tmpfs -o ro tmpfs "$1"', quick.path("ro"), ready=False)
    assert ended(quick) == 4
    (line,) = quick.log()
    assert line.startswith("ocicat: error: ")
    assert "Read-only file system" in line


@needs_root
def test_a_directory_of_somebody_else(quick: Followed, tmp_path: Path) -> None:
    quick.add_store(make_layout(quick.path("a")))
    reachable(tmp_path)
    one_error(ran_as_nobody("watch", db=quick.db), 4, "run this as root, its owner")
    one_error(ran_as_nobody("watch", db=f"{tmp_path}/deeper/catalog.db"), 4, "cannot write beside the catalog")


def test_below_a_file(quick: Followed) -> None:
    Path(quick.path("file")).touch()
    one_error(called("watch", db=quick.path("file/catalog.db")), 4, "Not a directory")
