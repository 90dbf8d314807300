"""Runs the program as a user does, in a process of its own (`ran`), or as a call if hundreds of runs are needed (`called`).

The environment of the tests does not reach it: neither OCICAT_* nor HOME.
"""

from __future__ import annotations

import contextlib
import io
import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from catalog.cli import colour, messages, start
from tests.forking import CLEAN, OCICAT, Code, Popen

SECONDS = 60.0
"""No test waits this long. The limit only prevents a hanging program from hanging the tests."""


class Ran(NamedTuple):
    """The result of a run. Text is UTF-8; a byte that is not stays visible as a lone surrogate."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.split("\n")[:-1]

    @property
    def said(self) -> list[str]:
        return self.err.split("\n")[:-1]


def ran(
    *arguments: str | bytes,
    db: str | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Ran:
    """Run the program; `db` is its OCICAT_DB."""
    whole = {**CLEAN, **(env or {}), **({} if db is None else {"OCICAT_DB": db})}
    done = subprocess.run(
        [OCICAT, *arguments], input=stdin, capture_output=True, env=whole, cwd=cwd, timeout=SECONDS, check=False
    )
    return Ran(done.returncode, _text(done.stdout), _text(done.stderr))


_AS_NOBODY = """
import importlib, json, os, pkgutil, re, sys
import encodings.ascii, encodings.latin_1, secrets
import sqlalchemy.dialects.sqlite, alembic.command, alembic.config
import catalog.cli, catalog.cli.commands, catalog.engine.sqlite, catalog.ingest, catalog.layout, catalog.lookup, catalog.names
from catalog.cli import start
ROOMS = (
    catalog.cli, catalog.cli.commands, catalog.engine.sqlite, catalog.ingest, catalog.layout, catalog.lookup, catalog.names
)
for package in ROOMS:
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
import catalog.db.migrate, catalog.engine.access
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
status = start.run(sys.argv[1:])
sys.stdout.flush()
os._exit(status)
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def ran_as_nobody(
    *arguments: str, db: str | None = None, before: str = "", env: Mapping[str, str] | None = None
) -> Ran:
    """Run the program as user 65534, who may not even read the interpreter, so everything is loaded before: in the process that is
    forked, or, with `make stress`, in the program itself. `before` is code that it runs as root.
    """
    whole = {**CLEAN, **(env or {}), **({} if db is None else {"OCICAT_DB": db})}
    if before or Popen.is_whole:
        command: list[str] = Code(before + _AS_NOBODY, *arguments)
        user: dict[str, Any] = {}
    else:
        command, user = [OCICAT, *arguments], {"user": 65534, "group": 65534, "extra_groups": []}
    done = subprocess.run(command, capture_output=True, env=whole, cwd="/", timeout=SECONDS, check=False, **user)
    return Ran(done.returncode, _text(done.stdout), _text(done.stderr))


def reachable(path: Path) -> None:
    """Let everybody reach the directory, up to its root. The next session of pytest undoes this."""
    for each in (path, *path.parents):
        if each.stat().st_uid == os.geteuid() and each.stat().st_mode & 0o005 != 0o005:
            each.chmod(each.stat().st_mode | 0o055)


@contextlib.contextmanager
def common_directory() -> Iterator[Path]:
    """A directory that everybody may read. pytest's own are only for their owner, which each session enforces again."""
    with tempfile.TemporaryDirectory(prefix="ocicat-") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


def called(
    *arguments: str,
    db: str | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    run: Callable[[list[str]], int] = start.run,
) -> Ran:
    """Run the program's own entry point in this process."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("OCICAT_")}
    given |= {"HOME": "/nonexistent", **(env or {}), **({} if db is None else {"OCICAT_DB": db})}
    out, err = io.BytesIO(), io.BytesIO()
    with _environment(given), _streams(stdin, out, err):
        volume = messages.volume
        volume.quiet = volume.verbose = False
        colour.chosen.how = "auto"
        volume.debug = given.get("OCICAT_DEBUG", "") not in ("", "0")
        status = run(list(arguments))
        volume.quiet = volume.verbose = volume.debug = False
    return Ran(status, _text(out.getvalue()), _text(err.getvalue()))


def on_a_terminal(*arguments: str, db: str, columns: int | None = None, stderr: int | None = None) -> list[str]:
    """Return the lines that the program prints on a terminal, which has `columns` columns; `stderr` as for subprocess."""
    status, lines = _on_a_terminal(arguments, db, columns, stderr)
    assert status == 0
    return lines


def both_on_a_terminal(*arguments: str, db: str, columns: int) -> tuple[int, list[str]]:
    """Return the exit status, and the lines of stdout and stderr as they come to one terminal."""
    return _on_a_terminal(arguments, db, columns, subprocess.STDOUT)


def _on_a_terminal(
    arguments: tuple[str, ...], db: str, columns: int | None, stderr: int | None
) -> tuple[int, list[str]]:
    environment = CLEAN | {"OCICAT_DB": db} | ({} if columns is None else {"COLUMNS": str(columns)})
    ours, theirs = pty.openpty()
    done = subprocess.run([OCICAT, *arguments], stdout=theirs, stderr=stderr, env=environment, timeout=60, check=False)
    os.close(theirs)
    return done.returncode, drained(ours).splitlines()


def drained(leader: int) -> str:
    """Return all that was written to a terminal whose other end is closed, or soon will be; close this end."""
    seen = b""
    try:
        while piece := os.read(leader, 1 << 16):
            seen += piece
    except OSError:  # the other end is closed
        pass
    os.close(leader)
    return seen.decode().replace("\r\n", "\n")


def by_click(arguments: list[str]) -> int:
    """Do what `start.run` does, but without its path for plain forms.

    The two functions are replaced because the program has no way to skip them, and both ways must give the same output.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "plain", lambda _arguments: None)
        patch.setattr(start, "plain_index", lambda _arguments: None)
        return start.run(arguments)


def one_error(result: Ran, status: int, *words: str) -> str:
    """Check that a run ended with this status and one error line, with these words and advice; return that line."""
    assert result.status == status, result
    assert result.err.endswith("\n"), result
    assert len(result.said) == 1, result
    line = result.said[0]
    assert line.startswith("ocicat: error: "), result
    assert line.isprintable(), result
    assert "Traceback" not in line, result
    assert "defect" not in line, result
    message = line.removeprefix("ocicat: error: ")
    for word in words:
        assert word in message, (word, message)
    assert any(mark in message for mark in (": ", "; ", "'ocicat ")), f"gives no advice: {message}"
    return message


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    _change(before, given)
    try:
        yield
    finally:
        _change(dict(os.environ), before)


def _change(now: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Change what differs alone: all variables anew, twice for each call, is a thirtieth of what calls take."""
    for name in now.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if now.get(name) != value:
            os.environ[name] = value


@contextlib.contextmanager
def _streams(stdin: bytes, out: io.BytesIO, err: io.BytesIO) -> Iterator[None]:
    before = sys.stdin, sys.stdout, sys.stderr
    wrapped = [
        io.TextIOWrapper(stream, encoding="utf-8", write_through=True) for stream in (io.BytesIO(stdin), out, err)
    ]
    sys.stdin, sys.stdout, sys.stderr = wrapped
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        for stream in wrapped:
            stream.flush()
            stream.detach()
