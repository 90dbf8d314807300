"""Whatever happens to an answerer, its socket or its catalog: the answer is the program's own, whole, and never an old one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog._version import __version__
from tests import writers
from tests.answerer.conftest import Answerer, Launcher, until_answered
from tests.cli.conftest import Own
from tests.cli.program import SECONDS, needs_root
from tests.conftest import ON_SQLITE

Start = Callable[..., Answerer]
Make = Callable[..., str]
APP = "docker.io/library/app:1"


def retag(path: str, seed: str) -> str:
    """Let the only entry of a layout be another image; return its digest."""
    index = writers.read_index(path)
    new = writers.fake_descriptor(seed) | {"annotations": index["manifests"][0]["annotations"]}
    writers.write_index(path, writers.empty_index(new))
    digest: str = new["digest"]
    return digest


BOTH_WAYS = (("resolve", ":1"), ("resolve", ":1", "--strict"))
"""An answerer answers the first by one statement (`Answers.shortly`), the second as the program does."""


def begin(
    cli: Own, layout: Make, start: Start, launcher: Launcher, socket_: str = "", *options: str
) -> tuple[Answerer, str]:
    """Index one layout and start an answerer that has its catalog open; return it and the path of the layout."""
    path = layout("one", "1")
    cli.done("add", path)
    running = start(cli.db, socket_ or f"{cli.directory}/s", *options)
    env = {"OCICAT_SOCKET": running.path}
    for _ in range(8):
        assert until_answered(launcher, "resolve", ":1", db=cli.db, env=env).status == 0
    return running, path


def test_each_answer_shows_what_was_committed_before_it(
    cli: Own, layout: Make, answerer: Start, launcher: Launcher
) -> None:
    running, path = begin(cli, layout, answerer, launcher)
    env = {"OCICAT_SOCKET": running.path}
    for number in range(12):
        digest = retag(path, f"image {number}")
        cli.done("index", "--full")
        assert until_answered(launcher, "query", "--limit", "1", db=cli.db, env=env).out.count(digest) == 1
        assert until_answered(launcher, "resolve", ":1", db=cli.db, env=env).out == f"{digest}\n"


@ON_SQLITE
def test_a_catalog_that_is_replaced_deleted_or_written_in_place(
    cli: Own, layout: Make, answerer: Start, launcher: Launcher, tmp_path: Path
) -> None:
    running, path = begin(cli, layout, answerer, launcher)
    env = {"OCICAT_SOCKET": running.path}
    (tmp_path / "other").mkdir()
    other = Own(tmp_path / "other", str(tmp_path / "other" / "c.db"))
    was = retag(path, "other")
    other.done("add", path)
    for end in ("-wal", "-shm"):
        if os.path.exists(other.db + end):
            os.unlink(other.db + end)

    def same(status: int) -> str:
        for words in BOTH_WAYS:
            plain = launcher.plainly(*words, db=cli.db)
            for _ in range(4):
                assert launcher.ran(*words, db=cli.db, env=env) == plain
                found = launcher.alone(*words, db=cli.db, env=env)
                assert found is None or found == plain
            assert plain.status == status, plain
        return plain.out

    shutil.copy(other.db, f"{cli.db}.new")
    for end in ("-wal", "-shm"):
        if os.path.exists(cli.db + end):
            os.unlink(cli.db + end)
    os.rename(f"{cli.db}.new", cli.db)
    assert same(0) == f"{was}\n"
    retag(path, "in place")
    other.done("index", "--full")
    Path(cli.db).write_bytes(Path(other.db).read_bytes())
    same(0)
    os.unlink(cli.db)
    same(4)
    Path(cli.db).write_text("no catalog")
    same(4)


def test_killed_stopped_and_of_another_version(cli: Own, layout: Make, answerer: Start, launcher: Launcher) -> None:
    running, _ = begin(cli, layout, answerer, launcher)
    env = {"OCICAT_SOCKET": running.path}
    plain = launcher.plainly("resolve", ":1", db=cli.db)
    running.everywhere(signal.SIGSTOP)
    for _ in range(3):
        assert launcher.ran("resolve", ":1", db=cli.db, env=env) == plain
    running.everywhere(signal.SIGCONT)
    assert until_answered(launcher, "resolve", ":1", db=cli.db, env=env) == plain
    for each in running.workers():
        with contextlib.suppress(ProcessLookupError):  # another may have taken its place since
            os.kill(each, signal.SIGKILL)
        assert launcher.ran("resolve", ":1", db=cli.db, env=env) == plain
    assert until_answered(launcher, "resolve", ":1", db=cli.db, env=env) == plain  # others have taken their places
    other = launcher.directory / "other" / "ocicat"
    other.parent.mkdir(exist_ok=True)
    launcher.compile(str(other), "99.0")
    done = subprocess.run(
        [other, "resolve", ":1"], capture_output=True, env={"OCICAT_DB": cli.db, **env}, timeout=SECONDS, check=False
    )
    assert b"cannot run ocicat-plain" in done.stderr
    running.process.kill()
    running.process.wait()
    deadline = time.monotonic() + SECONDS
    while launcher.alone("resolve", ":1", db=cli.db, env=env) is not None:  # its processes end with it
        assert time.monotonic() < deadline
    assert launcher.ran("resolve", ":1", db=cli.db, env=env) == plain
    again = answerer(cli.db, running.path)  # takes the place of a socket that nobody listens on
    assert until_answered(launcher, "resolve", ":1", db=cli.db, env=env) == plain
    assert again.end() == 0
    assert not os.path.exists(again.path)


@ON_SQLITE
def test_a_socket_that_is_none(cli: Own, layout: Make, answerer: Start, launcher: Launcher, tmp_path: Path) -> None:
    cli.done("add", layout("one", "1"))
    plain = launcher.plainly("resolve", ":1", db=cli.db)
    place = tmp_path / "place"
    for kind in ("file", "directory", "/nowhere", str(place)):
        if kind == "file":
            place.touch()
        elif kind == "directory":
            place.mkdir()
        else:
            place.symlink_to(kind)
        assert launcher.ran("resolve", ":1", db=cli.db, env={"OCICAT_SOCKET": str(place)}) == plain
        if kind == "directory":
            place.rmdir()
        else:
            place.unlink()
    long = str(tmp_path / ("x" * 200))
    assert launcher.ran("resolve", ":1", db=cli.db, env={"OCICAT_SOCKET": long}) == plain
    place.touch()
    refused = launcher.plainly("answer", "--socket", str(place), db=cli.db)
    assert refused.status == 2
    assert "not a socket" in refused.err


_LIAR = """
import os, socket, struct, sys
if sys.argv[2] != "0":
    os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
listening.listen(8)
print("ready", flush=True)
answer = b"sha256:lie\\n"
whole = struct.pack("=IBB", 2 + 5 + len(answer), 0, 0) + struct.pack("=BI", 1, len(answer)) + answer
cut = int(sys.argv[3])
while True:
    connection, _ = listening.accept()
    connection.recv(65536)
    connection.sendall(whole[:cut] if cut else whole + b"more")
    connection.close()
"""


@ON_SQLITE
@needs_root
@pytest.mark.parametrize(("user", "cut"), [(65534, 1000), (0, 0), (0, 5), (0, 12), (0, 21)])
def test_a_socket_of_another_user_and_an_answer_that_is_cut_off_are_not_believed(
    cli: Own, layout: Make, launcher: Launcher, user: int, cut: int
) -> None:
    cli.done("add", layout("one", "1"))
    plain = launcher.plainly("resolve", ":1", db=cli.db)
    directory = f"/tmp/ocicat-{os.getpid()}-{cut}"
    os.mkdir(directory)
    os.chmod(directory, 0o777)
    liar = subprocess.Popen(
        [sys.executable, "-c", _LIAR, f"{directory}/s", str(user), str(cut)], stdout=subprocess.PIPE
    )
    try:
        assert liar.stdout is not None
        assert liar.stdout.readline() == b"ready\n"
        assert launcher.ran("resolve", ":1", db=cli.db, env={"OCICAT_SOCKET": f"{directory}/s"}) == plain
    finally:
        liar.kill()
        liar.wait()
        if liar.stdout is not None:
            liar.stdout.close()
        shutil.rmtree(directory)


_NOBODY = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
asking = socket.socket(socket.AF_UNIX)
try:
    asking.connect(sys.argv[1])
    asking.sendall(bytes.fromhex(sys.argv[2]))
    print(asking.recv(4096).hex())
except PermissionError:
    print("refused")
"""


def request(db: str, *words: str) -> bytes:
    file = "0:0" if "://" in db else "{0.st_dev}:{0.st_ino}".format(os.stat(db))
    fields = [
        "ocicat-answer 1",
        __version__,
        "",
        "0",
        db,
        file,
        "/",
        "0:0",
        "mnt",
        str(len(words)),
        *words,
    ]
    body = "".join(f"{field}\0" for field in fields).encode("utf-8", "surrogateescape")
    return struct.pack("=I", len(body)) + body


@needs_root
def test_who_may_not_read_the_catalog_gets_no_answer(tmp_path: Path, layout: Make, answerer: Start) -> None:
    directory = Path(f"/tmp/ocicat-may-{os.getpid()}")
    directory.mkdir()
    try:
        directory.chmod(0o755)
        own = Own(directory, str(directory / "c.db"))
        own.done("add", layout("one", "1"))
        running = answerer(own.db)

        def asked(*words: str) -> str:
            done = subprocess.run(
                [sys.executable, "-I", "-c", _NOBODY, running.path, request(own.db, *words).hex()],
                capture_output=True, text=True, timeout=SECONDS, check=True,
            )  # fmt: skip
            return done.stdout.strip()

        declined = struct.pack("=IBB", 2, 1, 0).hex()
        os.chmod(own.db, 0o600)
        os.chmod(running.path, 0o666)  # as if somebody had opened the socket to all
        assert asked("resolve", ":1") == declined
        os.chmod(own.db, 0o644)
        os.chmod(running.path, 0o666)
        assert b"sha256:" in bytes.fromhex(asked("resolve", ":1"))
        assert asked("resolve", "oci-layout:///etc/passwd:1") == declined  # no path is looked at for another user
        assert asked("status") == declined
        directory.chmod(0o700)
        os.chmod(directory, 0o711)
        assert b"sha256:" in bytes.fromhex(asked("resolve", ":1"))
    finally:
        shutil.rmtree(directory)


@ON_SQLITE
def test_bytes_that_are_no_question(cli: Own, layout: Make, answerer: Start, launcher: Launcher) -> None:
    running, _ = begin(cli, layout, answerer, launcher)
    good = request(cli.db, "resolve", ":1")
    kept = []
    for data in (
        b"",
        b"\0",
        b"\xff" * 100,
        good[:-1],
        good + b"x",
        struct.pack("=I", 1 << 31),
        struct.pack("=I", 3) + b"\0\0\0",
    ):
        asking = socket.socket(socket.AF_UNIX)
        asking.connect(running.path)
        asking.sendall(data)
        kept.append(asking)
    for asking in kept:  # each gets a refusal, or the end
        asking.settimeout(SECONDS)
        assert asking.recv(100) in (b"", struct.pack("=IBB", 2, 1, 0))
        asking.close()
    env = {"OCICAT_SOCKET": running.path}
    assert until_answered(launcher, "resolve", ":1", db=cli.db, env=env).status == 0
