"""The launcher, compiled once, and answerers that end with the test that started them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from catalog._version import __version__
from tests.cli.conftest import cli, layout, shelf, shelves  # noqa: F401 - the fixtures that this room shares with cli
from tests.cli.program import SECONDS, Ran
from tests.forking import CLEAN, OCICAT
from tests.watch.conftest import quick  # noqa: F401 - likewise, of watch

SOURCE = Path(__file__).resolve().parents[2]
COMPILER = shutil.which("musl-gcc") or shutil.which("cc")


class Launcher:
    """The compiled launcher beside the program itself. `path` is what a user runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = str(directory / "ocicat")
        self.compile(self.path)
        shutil.copy(_program(), directory / "ocicat-plain")

    @staticmethod
    def compile(path: str, version: str = __version__) -> None:
        assert COMPILER is not None
        subprocess.run(
            [COMPILER, "-std=c11", "-Os", "-static", "-Wall", "-Wextra", "-Werror", f'-DVERSION="{version}"', "-o", path, str(SOURCE / "contrib/launcher/ocicat.c")],
            check=True, timeout=SECONDS,
        )  # fmt: skip

    def ran(
        self, *words: str, db: str, env: Mapping[str, str] | None = None, stdin: bytes = b"", cwd: str | None = None
    ) -> Ran:
        """Run the launcher as `tests.cli.program.ran` runs the program."""
        return _ran(self.path, words, {**CLEAN, "OCICAT_DB": db, **(env or {})}, stdin, cwd)

    def plainly(
        self, *words: str, db: str, env: Mapping[str, str] | None = None, stdin: bytes = b"", cwd: str | None = None
    ) -> Ran:
        """Run the program itself."""
        given = {**CLEAN, "OCICAT_DB": db, **(env or {})}
        given.pop("OCICAT_SOCKET", None)
        return _ran(OCICAT, words, given, stdin, cwd)

    def alone(self, *words: str, db: str, env: Mapping[str, str] | None = None, cwd: str | None = None) -> Ran | None:
        """Run the launcher without a program to fall back to; return None if it wanted to."""
        lonely = self.directory / "alone" / "ocicat"
        if not lonely.exists():
            lonely.parent.mkdir(exist_ok=True)
            shutil.copy(self.path, lonely)
        found = _ran(str(lonely), words, {**CLEAN, "OCICAT_DB": db, **(env or {})}, b"", cwd)
        return None if "cannot run ocicat-plain" in found.err else found


def _program() -> str:
    """Return the path of the script in Python, whatever bin/ocicat is."""
    plain = f"{OCICAT}-plain"
    return plain if os.path.exists(plain) else OCICAT


def _ran(path: str, words: tuple[str, ...], env: dict[str, str], stdin: bytes, cwd: str | None) -> Ran:
    done = subprocess.run(
        [path, *(os.fsencode(word) for word in words)], input=stdin, capture_output=True, env=env, cwd=cwd, timeout=SECONDS, check=False
    )  # fmt: skip
    out, err = (each.decode("utf-8", "surrogateescape") for each in (done.stdout, done.stderr))
    return Ran(done.returncode, out, err)


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    if COMPILER is None:
        pytest.skip("no C compiler")
    return Launcher(tmp_path_factory.mktemp("bin"))


class Answerer:
    """A running `ocicat answer`."""

    def __init__(self, db: str, path: str, *options: str) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [OCICAT, "--db", db, "answer", "--socket", path, *options],
            env=CLEAN, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.wait_until_it_listens()

    def wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            with socket.socket(socket.AF_UNIX) as asking:
                try:
                    asking.connect(self.path)
                except OSError:
                    time.sleep(0.02)
                    continue
            if len(self.workers()) > 0:
                return
        raise AssertionError("it does not listen")

    def workers(self) -> list[int]:
        """The ids of the processes that answer."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            return [int(each) for each in file.read().split()]

    def everywhere(self, number: int) -> None:
        """Send a signal to all of its processes."""
        for process in (self.process.pid, *self.workers()):
            os.kill(process, number)

    def end(self) -> int:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        status = self.process.wait(SECONDS)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return status


@pytest.fixture
def answerer(tmp_path: Path) -> Iterator[Callable[..., Answerer]]:
    started: list[Answerer] = []

    def start(db: str, path: str = "", *options: str) -> Answerer:
        started.append(Answerer(db, path or f"{db}.answer", *options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end()
        elif each.process.stderr is not None:
            each.process.stderr.close()


def until_answered(launcher: Launcher, *words: str, db: str, env: Mapping[str, str] | None = None) -> Ran:
    """Ask without the program until the answerer answers."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = launcher.alone(*words, db=db, env=env)
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError(f"the answerer does not answer {words}")
