"""The lock files beside a catalog: readers cannot block others with them, and files that others put there are not touched."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from catalog.engine.locks import DAEMON, DAEMON_LOCK, OLD_WRITER, WRITER, FileLock, StateFile, is_held, read_held
from catalog.engine.sqlite.writer import SqliteWriter
from catalog.errors import CatalogLocked
from tests.cli.program import called, one_error, reachable
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import Followed
from tests.writers import make_layout

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")
NOBODY = 65534


def be_nobody() -> None:
    """Make this process one of another user."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def take_all(path: str) -> bool:
    """Take every possible lock on a file until this process ends. Returns whether the file could be opened."""
    for flags in (os.O_RDWR, os.O_RDONLY):
        with contextlib.suppress(OSError):
            file = os.open(path, flags)
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for kind in (fcntl.F_WRLCK, fcntl.F_RDLCK):
                with contextlib.suppress(OSError):
                    fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", kind, 0, 0, 0, 0))
            return True
    return False


@contextmanager
def grabbed(*paths: str) -> Iterator[int]:
    """Let another user take every possible lock on the files. Yields how many they could open."""
    told, telling = os.pipe()
    waiting, ending = os.pipe()
    child = os.fork()
    if not child:
        be_nobody()
        os.close(ending)
        os.write(telling, bytes([sum(map(take_all, paths))]))
        os.read(waiting, 1)
        os._exit(0)
    os.close(waiting)
    try:
        yield os.read(told, 1)[0]
    finally:
        for each in (ending, told, telling):
            os.close(each)
        os.waitpid(child, 0)


AT_ONCE = "settings.toml"
"""Beside the catalog: a file counts at once, and nobody is looked for who has it open, which takes longer than the rest of a command."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, empty_catalog: str) -> Path:
    """A directory with a catalog of one layout, which tests copy and do not change."""
    directory = tmp_path_factory.mktemp("made")
    (directory / AT_ONCE).write_text("[watch]\nsettle_ms = 0\nheld_ms = 0\n")
    path = str(shutil.copy(empty_catalog, directory / "c.db"))
    added = called("--config", f"{directory}/{AT_ONCE}", "add", make_layout(str(directory / "a")), db=path)
    assert added == (0, "", "")
    for end in ("", "-wal", "-shm"):
        if os.path.exists(path + end):
            os.chmod(path + end, 0o644)
    return directory


@pytest.fixture
def catalog(tmp_path: Path, made: Path) -> str:
    """Return a catalog that everybody may read, in a directory that everybody may enter."""
    reachable(tmp_path)
    for each in made.iterdir():
        if each.is_file():
            shutil.copy(each, tmp_path)
    return str(tmp_path / "c.db")


# Readers


@AS_ROOT
def test_readers_cannot_lock_out_writers_or_a_daemon(catalog: str) -> None:
    with grabbed(*(catalog + end for end in (WRITER, DAEMON_LOCK, OLD_WRITER))) as opened:
        assert opened == 0
    quick = Followed(Path(catalog).parent, catalog)
    quick.start()
    with grabbed(*(catalog + end for end in (WRITER, DAEMON, DAEMON_LOCK))) as opened:
        assert opened == 1  # how the daemon is everybody may read
        assert quick.stop() == 0
        assert called("remove", "a", db=catalog).status == 0
        quick.start()  # its state is another file
        assert called("status", "--check", db=catalog).status == 0
        assert quick.stop() == 0


@AS_ROOT
def test_a_reader_who_locks_the_state_of_a_dead_daemon_is_no_daemon(catalog: str) -> None:
    state = StateFile(catalog + DAEMON)
    state.open()
    state.publish(b"{}")
    state.share_as(catalog)
    assert is_held(catalog + DAEMON)
    state.close()
    with grabbed(catalog + DAEMON) as opened:
        assert opened == 1
        assert not is_held(catalog + DAEMON)


@AS_ROOT
def test_the_old_lock_held_by_a_reader_is_waited_for_once(catalog: str) -> None:
    Path(catalog + OLD_WRITER).touch(0o644)
    os.chmod(catalog + OLD_WRITER, 0o644)
    with grabbed(catalog + OLD_WRITER) as opened:
        assert opened == 1
        assert called("remove", "a", db=catalog).status == 0
        assert not os.path.exists(catalog + OLD_WRITER)


def test_a_writer_of_the_old_version_is_waited_for(catalog: str) -> None:
    file = os.open(catalog + OLD_WRITER, os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    process = subprocess.Popen([OCICAT, "--db", catalog, "remove", "a"], env=CLEAN)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    os.close(file)
    assert process.wait(30) == 0
    assert not os.path.exists(catalog + OLD_WRITER)


@AS_ROOT
def test_a_reader_leaves_no_lock_where_it_may_write_the_directory(catalog: str) -> None:
    os.unlink(catalog + WRITER)
    os.chmod(os.path.dirname(catalog), 0o1777)
    child = os.fork()
    if not child:
        be_nobody()
        os._exit(called("remove", "a", db=catalog).status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    assert not os.path.exists(catalog + WRITER)


def test_the_lock_is_for_those_who_may_write_the_catalog(catalog: str) -> None:
    for mode, expected in ((0o640, 0o600), (0o660, 0o660), (0o666, 0o666), (0o600, 0o600)):
        os.chmod(catalog, mode)
        lock = FileLock(catalog + WRITER, "busy")
        lock.acquire(0)
        lock.release()
        assert stat.S_IMODE(os.stat(catalog + WRITER).st_mode) == expected


def test_a_lock_that_was_removed_under_its_holder_is_taken_on_the_new_file(catalog: str) -> None:
    first, second, third = (FileLock(catalog + WRITER, "busy") for _ in range(3))
    first.acquire(0)
    os.unlink(catalog + WRITER)
    second.acquire(0)
    with pytest.raises(CatalogLocked):
        third.acquire(0)
    second.release()
    third.acquire(0)
    third.release()
    first.release()


def test_a_read_lock_does_not_count_as_a_daemon(tmp_path: Path) -> None:
    path = str(tmp_path / "c.db.daemon")
    Path(path).write_bytes(b"x")
    with open(path, "rb") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", fcntl.F_RDLCK, 0, 0, 0, 0))
        assert not is_held(path)
        assert read_held(path, 10) is None


# What others put there


def _foreign(path: str) -> None:
    Path(path).write_bytes(b"theirs")
    os.chown(path, NOBODY, NOBODY)


def _socket(path: str) -> None:
    here = socket.socket(socket.AF_UNIX)
    os.chdir(os.path.dirname(path))
    here.bind(os.path.basename(path))
    here.close()


PUT: dict[str, Callable[[str], None]] = {
    "a FIFO": os.mkfifo,
    "a link": lambda path: os.symlink("victim", path),
    "a link to nowhere": lambda path: os.symlink("nowhere", path),
    "a directory": os.mkdir,
    "a full directory": lambda path: os.makedirs(path + "/x"),
    "a socket": _socket,
    "a device": lambda path: os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5)),
    "a file of somebody else": _foreign,
}
FILES = (WRITER, OLD_WRITER, DAEMON, DAEMON_LOCK, "-wal", "-shm", "-journal")


@pytest.fixture
def soon() -> Iterator[None]:
    """Interrupt the test if it hangs."""

    def late(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def put(what: str, path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)
    before = os.getcwd()
    PUT[what](path)
    os.chdir(before)


@AS_ROOT
@pytest.mark.parametrize("end", FILES)
@pytest.mark.parametrize("what", PUT)
@pytest.mark.usefixtures("soon")
def test_files_of_others_beside_a_catalog_are_not_touched(catalog: str, what: str, end: str) -> None:
    """No command follows it, writes to it or hangs. The command works, or its message names the file."""
    victim = Path(catalog).parent / "victim"
    victim.write_bytes(b"of value")
    put(what, catalog + end)
    at_once = "--config", str(Path(catalog).parent / AT_ONCE)
    for arguments in ((*at_once, "index", "--full"), ("status",), ("resolve", ":1"), ("index",)):
        found = called(*arguments, db=catalog)
        if end.startswith("-") or (end == WRITER and "index" in arguments):
            one_error(found, 4, f"c.db{end}", "remove it")
        else:
            assert found.status in (0, 1), (arguments, found)
    assert victim.read_bytes() == b"of value"
    assert not os.path.exists(Path(catalog).parent / "nowhere")
    if what == "a file of somebody else":
        assert Path(catalog + end).read_bytes() == b"theirs"


@AS_ROOT
@pytest.mark.parametrize("end", [DAEMON, DAEMON_LOCK])
@pytest.mark.parametrize("what", PUT)
def test_a_daemon_replaces_an_existing_state_file_or_reports_that_it_cannot(catalog: str, what: str, end: str) -> None:
    victim = Path(catalog).parent / "victim"
    victim.write_bytes(b"of value")
    put(what, catalog + end)
    watching = subprocess.Popen([OCICAT, "--db", catalog, "watch"], env=CLEAN, stderr=subprocess.PIPE)
    assert watching.stderr is not None
    said = watching.stderr.readline().decode()  # that it has begun, or why it cannot
    watching.terminate()
    watching.wait(30)
    watching.stderr.close()
    if end == DAEMON and "directory" not in what:
        assert "watching" in said
        assert stat.S_ISREG(os.lstat(catalog + end).st_mode)
    else:
        assert f"c.db{end}" in said
        assert "Traceback" not in said
    assert victim.read_bytes() == b"of value"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.mknod(path, 0o600 | stat.S_IFSOCK)])
def test_a_catalog_that_is_not_a_file_is_refused(tmp_path: Path, make: Callable[[str], None]) -> None:
    path = str(tmp_path / "c.db")
    make(path)
    for arguments in (("stores",), ("index",), ("resolve", "a:1"), ("add", str(tmp_path)), ("status",)):
        one_error(called(*arguments, db=path), 4, "not a regular file")


def test_a_second_name_of_a_file_is_refused_where_others_write(catalog: str) -> None:
    SqliteWriter(catalog).close()
    os.unlink(catalog + "-wal")
    victim = Path(catalog).parent / "victim"
    victim.write_bytes(b"")
    os.link(victim, catalog + "-wal")
    os.chmod(os.path.dirname(catalog), 0o777)
    one_error(called("index", "--full", db=catalog), 4, "c.db-wal", "another hard link")
    assert victim.read_bytes() == b""
