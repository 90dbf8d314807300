"""Long output on a terminal goes through a pager, as git's does: with real pagers on a pseudo-terminal that controls the program."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import struct
import termios
import time
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import Own
from tests.forking import CLEAN, OCICAT
from tests.programs import needs

LINES = 20
MANY = 400


class Session:
    """The program on a terminal of its own, with LINES lines. Ended by `end`."""

    def __init__(self, *arguments: str, db: str = "", **env: str) -> None:
        self.seen = ""
        self._pid, self._leader = pty.fork()
        if self._pid == 0:  # the child
            os.environ.clear()
            os.environ.update(CLEAN | {"OCICAT_DB": db, "TERM": "xterm"} | env)
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, 100, 0, 0))
            os.execv(OCICAT, [OCICAT, *arguments])

    def until(self, text: str, key: str = "") -> None:
        """Wait until the terminal shows `text`; type `key` again and again meanwhile."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if not select.select([self._leader], [], [], 1)[0]:
                self.type(key)
                continue
            piece = self._read()
            assert piece, self.seen
            self.seen += piece

    def type(self, text: str) -> None:
        """Type at the keyboard."""
        os.write(self._leader, text.encode())

    def end(self) -> int:
        """Read until the program ends; return its exit status."""
        while piece := self._read():
            self.seen += piece
        os.close(self._leader)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> str:
        with contextlib.suppress(OSError):  # the other end is closed
            return os.read(self._leader, 1 << 16).decode()
        return ""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, empty_catalog: str) -> Own:
    """A catalog with many more names than a terminal has lines. Tests only read it."""
    directory = tmp_path_factory.mktemp("many")
    cli = Own(directory, str(shutil.copy(empty_catalog, directory / "catalog.db")))
    path = writers.make_layout(f"{cli.directory}/many")
    entries = [writers.name_entry(writers.fake_descriptor(f"{n}"), "short", "x", f"t{n:03}") for n in range(MANY)]
    writers.write_index(path, writers.empty_index(*entries))
    cli.done("add", path)
    return cli


@needs("less")
def test_less_shows_a_long_table_until_somebody_has_seen_enough(many: Own) -> None:
    quit_early = Session("query", db=many.db)
    quit_early.until("t010")
    assert "t300" not in quit_early.seen  # it waits for a key
    quit_early.type("q")
    assert quit_early.end() == 0
    # Ctrl-C ends the command if it still runs. less stays, so that the terminal is not left in its mode.
    interrupted = Session("query", ":t000", ":*", ":nosuch", db=many.db)
    interrupted.until("t010")
    interrupted.type("\x03")
    interrupted.until("(END)", "G")  # less throws away what is typed while it is interrupted
    interrupted.type("q")
    assert interrupted.end() in (1, 130)
    for session in (quit_early, interrupted):
        assert "Traceback" not in session.seen


@pytest.mark.parametrize(
    ("arguments", "variable", "is_paged"),
    [
        (("query",), "PAGER", True),
        (("query",), "OCICAT_PAGER", True),
        (("query", "--sort", "tag"), "PAGER", True),
        (("help", "scripts"), "PAGER", True),
        (("--help",), "PAGER", True),
        (("query", "--help"), "PAGER", True),
        (("plan", "prune", "-h"), "PAGER", True),
        (("query", "--no-pager", "--help"), "PAGER", False),
        (("--no-pager", "--help"), "PAGER", False),
        (("sql", "SELECT tag FROM images"), "PAGER", True),
        (("query", ":t001"), "PAGER", False),
        (("--no-pager", "query"), "PAGER", False),
        (("query", "--no-pager"), "PAGER", False),
    ],
)
def test_what_is_paged(many: Own, tmp_path: Path, arguments: tuple[str, ...], variable: str, is_paged: bool) -> None:
    """The pager is a program that writes down what it gets, and with which LESS."""
    pager = tmp_path / "pager"
    pager.write_text('#!/bin/sh\ncat >"$0.out"\necho "$LESS" >"$0.less"\necho shown\n')
    pager.chmod(0o755)
    session = Session(*arguments, db=many.db, **{"PAGER": "false", variable: str(pager)})
    assert session.end() == 0
    assert ("shown" in session.seen) == is_paged
    if is_paged:
        assert Path(f"{pager}.less").read_text() == "FRX\n"
        assert len(Path(f"{pager}.out").read_text().splitlines()) > LINES
        assert session.seen.strip() == "shown"


@pytest.mark.parametrize("command", ["", "cat", "/no/such/pager", "nosuchpager -x"])
def test_without_a_pager_everything_is_printed(many: Own, command: str) -> None:
    session = Session("query", db=many.db, PAGER=command)
    assert session.end() == 0
    assert all(f"t{n:03}" in session.seen for n in range(MANY))


def test_notes_and_errors_are_paged_too_and_the_status_is_kept(many: Own, tmp_path: Path) -> None:
    session = Session("report", "growth", db=many.db, PAGER="cat -n")
    assert session.end() == 0
    assert "ocicat: 1 row" in session.seen.splitlines()[-1]
    failed = Session("query", ":*", ":nosuch", db=many.db, PAGER=f"cat >{tmp_path}/out")
    assert failed.end() == 1
    assert "has the tag nosuch" in (tmp_path / "out").read_text()
