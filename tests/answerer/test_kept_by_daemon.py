"""`ocicat watch --answer` keeps an answerer running, and systemd may pass it its socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import writers
from tests.answerer.conftest import Launcher, until_answered
from tests.cli.program import SECONDS
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import Followed, on_both, wait_for


def children(process: int) -> list[int]:
    """The processes that a process has started, by all of its threads."""
    return [
        int(child)
        for task in os.listdir(f"/proc/{process}/task")
        for child in Path(f"/proc/{process}/task/{task}/children").read_text(encoding="ascii").split()
    ]


def daemon_of(followed: Followed) -> int:
    assert followed.daemon is not None
    return followed.daemon.pid


def ended(process: int) -> bool:
    """Whether a process is gone, or has ended and nobody has asked how."""
    try:
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


@on_both("quick")
def test_an_answerer_lives_as_long_as_its_daemon_and_is_started_again(quick: Followed, launcher: Launcher) -> None:
    path = f"{quick.directory}/socket"
    quick.env["OCICAT_SOCKET"] = path
    layout = writers.make_layout(quick.path("one"))
    image = writers.fake_descriptor("one")
    writers.write_index(layout, writers.empty_index(writers.name_entry(image, "tag", "", "1")))
    quick.add_store(layout)
    quick.start("--answer")
    env = {"OCICAT_SOCKET": path}
    assert until_answered(launcher, "resolve", ":1", db=quick.db, env=env).out == f"{image['digest']}\n"
    (first,) = children(daemon_of(quick))
    if quick.db.startswith("postgresql"):
        assert quick.db.encode() not in Path(f"/proc/{first}/cmdline").read_bytes()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: any("answerer has ended (signal 9)" in line for line in quick.log()), what=quick.log)
    assert until_answered(launcher, "resolve", ":1", db=quick.db, env=env).out == f"{image['digest']}\n"
    (second,) = children(daemon_of(quick))
    assert second != first
    assert quick.stop() == 0
    assert ended(second)
    assert not os.path.exists(path)
    quick.start("--answer")
    until_answered(launcher, "resolve", ":1", db=quick.db, env=env)
    (third,) = children(daemon_of(quick))
    assert quick.daemon is not None
    quick.daemon.kill()
    quick.daemon.wait()
    wait_for(lambda: ended(third))  # nothing is left behind by a daemon that was killed
    wait_for(lambda: not os.path.exists(path))


def test_the_configuration_says_whether_there_is_one(quick: Followed, launcher: Launcher) -> None:
    settings = Path(quick.config).read_text(encoding="utf-8")
    quick.start()
    assert children(daemon_of(quick)) == []
    Path(quick.config).write_text(f"{settings}watch.answer = true\n", encoding="utf-8")
    quick.send(signal.SIGHUP)
    wait_for(lambda: any("answering for" in line for line in quick.log()), what=quick.log)
    (process,) = children(daemon_of(quick))
    until_answered(launcher, "resolve", "x", db=quick.db)
    Path(quick.config).write_text(f"{settings}watch.answer = 1\n", encoding="utf-8")
    quick.send(signal.SIGHUP)
    wait_for(lambda: any("watch.answer must be true or false" in line for line in quick.log()), what=quick.log)
    assert not ended(process)  # the old configuration stays in effect
    Path(quick.config).write_text(settings, encoding="utf-8")
    quick.send(signal.SIGHUP)
    wait_for(lambda: ended(process))
    assert quick.stop() == 0
    assert not any("has ended" in line for line in quick.log())


def test_why_it_cannot_run_is_logged_once_a_try(quick: Followed) -> None:
    Path(f"{quick.db}.answer").write_text("somebody's file", encoding="utf-8")
    quick.start("--answer")
    wait_for(lambda: any("answerer has ended (status 2)" in line for line in quick.log()), what=quick.log)
    assert any("exists and is not a socket" in line for line in quick.log())
    assert Path(f"{quick.db}.answer").read_text(encoding="utf-8") == "somebody's file"
    assert quick.stop() == 0


@pytest.mark.parametrize("quick", ["postgresql"], indirect=True)
def test_a_catalog_on_a_server_needs_a_path_for_the_socket(quick: Followed) -> None:
    refused = quick.program("watch", "--answer")
    assert refused.status == 2
    assert "OCICAT_SOCKET" in refused.err


_ACTIVATE = """
import os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen(8)
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_a_socket_from_systemd_outlives_the_answerer(quick: Followed, launcher: Launcher) -> None:
    """As systemd.socket(5) passes it: the process begins with a listening socket that it neither makes nor removes."""
    layout = writers.make_layout(quick.path("one"))
    image = writers.fake_descriptor("one")
    writers.write_index(layout, writers.empty_index(writers.name_entry(image, "tag", "", "1")))
    quick.add_store(layout)
    path = f"{quick.directory}/s"
    env = {"OCICAT_SOCKET": path}
    words = [sys.executable, "-c", _ACTIVATE, path, OCICAT, "--db", quick.db, "answer"]
    with subprocess.Popen(words, env=CLEAN, stderr=subprocess.PIPE) as answerer:
        assert until_answered(launcher, "resolve", ":1", db=quick.db, env=env).out == f"{image['digest']}\n"
        answerer.terminate()
        _, said = answerer.communicate(timeout=SECONDS)
    assert answerer.returncode == 0, said
    assert b"the socket of systemd" in said
    assert os.path.exists(path)
    with socket.socket(socket.AF_UNIX) as asking, pytest.raises(ConnectionRefusedError):
        asking.connect(path)
    plain = launcher.plainly("resolve", ":1", db=quick.db)
    assert launcher.ran("resolve", ":1", db=quick.db, env=env) == plain
