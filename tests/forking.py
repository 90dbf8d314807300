"""Starts ocicat for a test by forking a process that has loaded its modules: loading them is most of what a command or daemon costs.

Each process of pytest has one such server (`main`), which imports what commands import, and then waits. A program that a test starts as
`[OCICAT, ...]` is a fork of it: a process of its own, with its own number, streams, environment, directory and signals, which then does
what bin/ocicat does. What a fork cannot show is started in full: another user, a locale, variables of Python or the C library,
`preexec_fn`, and tests with the marker `whole_start`. `make stress` starts everything in full.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

OCICAT = os.path.join(os.path.dirname(sys.executable), "ocicat")

CLEAN = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "PYTHONWARNINGS": "error",
}
"""The environment of programs that tests start, so that the one of the tests does not reach them."""

_READ_FIRST = "LANG", "LC_", "PYTHON", "LD_", "MALLOC_", "GLIBC_"
"""The beginnings of the names of variables that a process reads before its first module."""
_LOADED_IN_FUNCTIONS = (
    "alembic.command", "alembic.config", "datasette.app", "psycopg", "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite", "uvicorn", "watchdog.observers.inotify",
)  # fmt: skip
_LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">i")
_MOST_DESCRIPTORS = 64


def _read(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = stream.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


# --- in the process of the tests -----------------------------------------------------------------------------------


class Server:
    """The process that is forked."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from tests.forking import main; main()", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], env=CLEAN, cwd=os.path.dirname(os.path.dirname(__file__)), stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def start(self, request: Mapping[str, object], descriptors: Sequence[int]) -> int:
        """Return the number of a new process that has these descriptors, the first of which takes its status."""
        data = json.dumps(request).encode()
        socket.send_fds(self._socket, [_LENGTH.pack(len(data))], descriptors)
        self._socket.sendall(data)
        found: int = _NUMBER.unpack(_read(self._socket, _NUMBER.size))[0]
        return found

    def close(self) -> None:
        """End it. Programs that still run go on."""
        self._socket.close()
        self._process.wait()


class Popen(subprocess.Popen[Any]):
    """A program that a test starts: a fork if it is ocicat, and nothing is asked for that only a whole start shows."""

    server: Server | None = None
    is_whole = False
    """Whether every program is started in full."""
    _exit: socket.socket | None = None

    def _execute_child(  # CPython's own method, with its parameters
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any, env: Any,
        startupinfo: Any, creationflags: Any, shell: Any, p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int,
        errread: int, errwrite: int, restore_signals: Any, gid: Any, gids: Any, uid: Any, umask: int,
        start_new_session: Any, *group: Any,
    ) -> None:  # fmt: skip
        environment = os.environ if env is None else env
        others = executable, preexec_fn, gid, gids, uid, *(each for each in group if each != -1)
        if (
            Popen.is_whole
            or not (isinstance(args, list) and args[:1] == [OCICAT] and close_fds)
            or shell
            or any(each is not None for each in others)
            or _read_first(environment) != _read_first(CLEAN)
        ):
            super()._execute_child(  # type: ignore[misc]
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell, p2cread,
                p2cwrite, c2pread, c2pwrite, errread, errwrite, restore_signals, gid, gids, uid, umask,
                start_new_session, *group,
            )  # fmt: skip
            return
        if Popen.server is None:
            Popen.server = Server()
        streams = [number if given == -1 else given for number, given in enumerate((p2cread, c2pwrite, errwrite))]
        request = {
            "arguments": [os.fsdecode(each) for each in args],
            "environment": {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()},
            "directory": os.getcwd() if cwd is None else os.fsdecode(cwd),
            "umask": umask if umask >= 0 else _umask(),
            "is_session": bool(start_new_session),
            "numbers": [number for number, stream in enumerate(streams) if _is_open(stream)] + list(pass_fds),
        }
        self._exit, theirs = socket.socketpair()
        try:
            given = [theirs.fileno(), *(stream for stream in streams if _is_open(stream)), *pass_fds]
            self.pid = Popen.server.start(request, given)
            self._child_created = True
        finally:
            theirs.close()
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._exit is None:
            found: tuple[int, int] = super()._try_wait(wait_flags)  # type: ignore[misc]
            return found
        try:
            data = self._exit.recv(_NUMBER.size, socket.MSG_DONTWAIT if wait_flags & os.WNOHANG else 0)
        except BlockingIOError:
            return 0, 0
        self._exit.close()
        return self.pid, _NUMBER.unpack(data)[0]

    def _internal_poll(self, *arguments: Any, **named: Any) -> Any:
        if self._exit is None:
            return super()._internal_poll(*arguments, **named)  # type: ignore[misc]
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):  # type: ignore[attr-defined]
            try:
                pid, status = (0, 0) if self.returncode is not None else self._try_wait(os.WNOHANG)
                if pid == self.pid:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


def _read_first(environment: Mapping[Any, Any]) -> dict[str, str]:
    given = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
    return {name: value for name, value in given.items() if name.startswith(_READ_FIRST)}


def _umask() -> int:
    """Return the umask of this process without setting it for a moment, because threads may create files."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


# --- in the server, and in what it starts --------------------------------------------------------------------------


def main() -> NoReturn:
    """Load all modules, and fork for each request until the tests have ended."""
    stream = socket.socket(fileno=int(sys.argv[1]))
    _load()
    gc.collect()
    gc.freeze()
    exits: dict[int, socket.socket] = {}
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([stream.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _pass_on_exits(exits)
        if stream.fileno() in ready:
            head, descriptors, _, _ = socket.recv_fds(stream, _LENGTH.size, _MOST_DESCRIPTORS)
            if not head:
                os._exit(0)
            request = json.loads(_read(stream, _LENGTH.unpack(head)[0]))
            pid = os.fork()
            if not pid:
                _become_program(request, descriptors)
            exits[pid] = socket.socket(fileno=descriptors[0])
            for each in descriptors[1:]:
                os.close(each)
            stream.sendall(_NUMBER.pack(pid))


def _pass_on_exits(exits: dict[int, socket.socket]) -> None:
    while exits:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with exits.pop(pid) as exit_, contextlib.suppress(OSError):  # Perhaps nobody waits for it any more.
            exit_.sendall(_NUMBER.pack(status))


def _become_program(request: Mapping[str, Any], descriptors: Sequence[int]) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if request["is_session"]:
            os.setsid()
        os.umask(request["umask"])
        os.chdir(request["directory"])
        _give(descriptors[1:], request["numbers"])
        os.environ.clear()
        os.environ.update(request["environment"])
        _open_streams(request["numbers"])
        sys.argv = request["arguments"]
        sys.path[0] = os.path.dirname(OCICAT)  # as for a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        from catalog.cli.lean import answer

        answer()
        from catalog.cli.start import main as start

        start()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(1)


def _give(descriptors: Sequence[int], numbers: Sequence[int]) -> None:
    """Give the descriptors these numbers, and close all others."""
    above = 1 + max((2, *numbers, *descriptors))
    copies = [fcntl.fcntl(each, fcntl.F_DUPFD, above) for each in descriptors]
    open_ones = [int(name) for name in os.listdir("/proc/self/fd")]
    for copy, number in zip(copies, numbers, strict=True):
        os.dup2(copy, number, inheritable=True)
    for each in {0, 1, 2, *open_ones} - set(numbers):
        with contextlib.suppress(OSError):  # That of the listing is closed.
            os.close(each)


def _open_streams(numbers: Sequence[int]) -> None:
    """Open stdin, stdout and stderr as Python does in the locale of CLEAN."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream: io.TextIOWrapper | None = None
        if number in numbers:
            errors = "backslashreplace" if name == "stderr" else "surrogateescape"
            file = open(number, mode + "b", closefd=False)
            stream = io.TextIOWrapper(file, encoding="utf-8", errors=errors)
            stream.reconfigure(line_buffering=name == "stderr" or stream.isatty())
        for each in (name, f"__{name}__"):
            setattr(sys, each, stream)


def _load() -> None:
    """Import every module of ocicat, and those that they import in functions."""
    import catalog

    for module in pkgutil.walk_packages(catalog.__path__, "catalog."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    for name in _LOADED_IN_FUNCTIONS:
        importlib.import_module(name)
