"""Starts ocicat for a test by forking a process that has loaded its modules: loading them is most of what a command or daemon costs.
It has also compiled the statements of a first pass (tests/compiled.py).

Each process of pytest has one such server (`main`), which imports what commands import, and then waits. A program that a test starts as
`[OCICAT, ...]` or `Code(...)` is a fork of it: a process of its own, with its own number, streams, environment, directory and signals, which then does
what bin/ocicat does. What a fork cannot show is started in full: another user, a locale, variables of Python or the C library,
`preexec_fn`, and tests with the marker `whole_start`. `make stress` starts everything in full.

A shell that a test starts finds such a program in the directory `on_path()`.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import io
import marshal
import os
import pkgutil
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from catalog.collector import CollectorPaused

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
    "alembic.command", "alembic.config", "datasette.app", "encodings.ascii", "encodings.latin_1", "httptools", "psycopg", "secrets",
    "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite", "uvicorn", "uvloop", "watchdog.observers.inotify",
)  # fmt: skip
_LAYOUT = {"oci-layout": '{"imageLayoutVersion": "1.0.0"}', "index.json": '{"schemaVersion": 2, "manifests": []}'}
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


class Code(list[str]):
    """The command of `python -c CODE ARGUMENT...`, for code that does not mind that all modules of ocicat are loaded."""

    def __init__(self, code: str, *arguments: str) -> None:
        super().__init__([sys.executable, "-c", code, *arguments])


# `ocicat` for a shell: it has a fork made, passes signals on to it, and ends as it does. It loads next to nothing.
_ON_PATH = """#!{python} -IS
import _signal, _socket, marshal, posix, sys
environment = {{name.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape") for name, value in posix.environ.items()}}
if not {usual!r}.issuperset(each for each in environment.items() if each[0].startswith({first!r})):
    posix.execv({program!r}, [{program!r}, *sys.argv[1:]])
numbers = []
for number in (0, 1, 2):
    try:
        posix.fstat(number)
    except OSError:
        continue
    numbers.append(number)
umask = posix.umask(0o77)
posix.umask(umask)
request = marshal.dumps({{
    "arguments": [{program!r}, *sys.argv[1:]], "is_code": False, "environment": environment, "directory": posix.getcwd(), "umask": umask,
    "user": [None, None, None], "is_session": False, "group": posix.getpgrp(), "numbers": numbers,
}})
exit, theirs = _socket.socketpair()
asking = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
asking.connect({socket!r})
given = b"".join(each.to_bytes(4, sys.byteorder) for each in (theirs.fileno(), *numbers))
asking.sendmsg([len(request).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, given)])
asking.sendall(request)
pid = int.from_bytes(asking.recv(4, _socket.MSG_WAITALL), "big")
theirs.close()
for each in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
    if _signal.getsignal(each) is not _signal.SIG_IGN:
        _signal.signal(each, lambda number, _: posix.kill(pid, number))
status = int.from_bytes(exit.recv(4, _socket.MSG_WAITALL), "big")
if posix.WIFSIGNALED(status):
    _signal.signal(posix.WTERMSIG(status), _signal.SIG_DFL)
    posix.kill(posix.getpid(), posix.WTERMSIG(status))
posix._exit(posix.WEXITSTATUS(status))
"""
_USUAL = {("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8"), ("PYTHONWARNINGS", "error")}


class Server:
    """The process that is forked."""

    def __init__(self) -> None:
        self._asking = threading.Lock()  # Threads of a test may start programs at once.
        self.directory = tempfile.mkdtemp(prefix="ocicat-forking-")
        """The program that a shell finds, and the socket at which it asks for a fork."""
        listening = f"{self.directory}/socket"
        with open(f"{self.directory}/ocicat", "w", encoding="utf-8") as file:
            file.write(
                _ON_PATH.format(
                    python=sys.executable, usual=_USUAL, first=_READ_FIRST, program=OCICAT, socket=listening
                )
            )
        os.chmod(file.name, 0o755)
        self._socket, theirs = socket.socketpair()
        with theirs, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(listening)
            listener.listen()
            numbers = theirs.fileno(), listener.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from tests.forking import main; main()", *map(str, numbers)],
                pass_fds=numbers, env=CLEAN, cwd=os.path.dirname(os.path.dirname(__file__)), stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def start(self, request: dict[str, Any], descriptors: Sequence[int]) -> int:
        """Return the number of a new process that has these descriptors, the first of which takes its status."""
        data = marshal.dumps(request)
        with self._asking:
            socket.send_fds(self._socket, [_LENGTH.pack(len(data))], descriptors)
            self._socket.sendall(data)
            found: int = _NUMBER.unpack(_read(self._socket, _NUMBER.size))[0]
        return found

    def close(self) -> None:
        """End it. Programs that still run go on."""
        self._socket.close()
        self._process.wait()


def on_path() -> str:
    """Return the directory of the `ocicat` that a shell is to find."""
    return os.path.dirname(OCICAT) if Popen.is_whole else _server().directory


_beginning = threading.Lock()


def _server() -> Server:
    """Return the server of this process; start it when it is first asked for."""
    with _beginning:
        if Popen.server is None:
            Popen.server = Server()
        return Popen.server


class Popen(subprocess.Popen[Any]):
    """A program that a test starts: a fork if it is ocicat or Code, and nothing is asked for that only a whole start shows."""

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
        others = executable, preexec_fn, *(each for each in group if each != -1)
        if (
            Popen.is_whole
            or not (isinstance(args, Code) or (isinstance(args, list) and args[:1] == [OCICAT]))
            or not close_fds
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
        server = _server()
        streams = [number if given == -1 else given for number, given in enumerate((p2cread, c2pwrite, errwrite))]
        request = {
            "arguments": [os.fsdecode(each) for each in args],
            "is_code": isinstance(args, Code),
            "environment": {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()},
            "directory": os.getcwd() if cwd is None else os.fsdecode(cwd),
            "umask": umask if umask >= 0 else _umask(),
            "user": [gids, gid, uid],
            "is_session": bool(start_new_session),
            "group": None,
            "numbers": [number for number, stream in enumerate(streams) if _is_open(stream)] + list(pass_fds),
        }
        self._exit, theirs = socket.socketpair()
        try:
            given = [theirs.fileno(), *(stream for stream in streams if _is_open(stream)), *pass_fds]
            self.pid = server.start(request, given)
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
    stream, listener = (socket.socket(fileno=int(each)) for each in sys.argv[1:])
    with CollectorPaused():
        _load()
    gc.collect()
    gc.freeze()
    exits: dict[int, socket.socket] = {}
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([stream.fileno(), listener.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _pass_on_exits(exits)
        if stream.fileno() in ready and not _start(stream, exits):
            shutil.rmtree(os.path.dirname(listener.getsockname()))
            os._exit(0)
        if listener.fileno() in ready:
            with listener.accept()[0] as asking:
                _start(asking, exits)


def _start(stream: socket.socket, exits: dict[int, socket.socket]) -> bool:
    """Fork for the next request of `stream`; return whether there was one."""
    head, descriptors, _, _ = socket.recv_fds(stream, _LENGTH.size, _MOST_DESCRIPTORS)
    if not head:
        return False
    request = marshal.loads(_read(stream, _LENGTH.unpack(head)[0]))
    pid = os.fork()
    if not pid:
        _become_program(request, descriptors)
    exits[pid] = socket.socket(fileno=descriptors[0])
    for each in descriptors[1:]:
        os.close(each)
    stream.sendall(_NUMBER.pack(pid))
    return True


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
        if request["group"] is not None:
            with contextlib.suppress(PermissionError):  # Its shell has a session of its own.
                os.setpgid(0, request["group"])
        os.umask(request["umask"])
        os.chdir(request["directory"])
        _give(descriptors[1:], request["numbers"])
        os.environ.clear()
        os.environ.update(request["environment"])
        _open_streams(request["numbers"])
        _become_user(*request["user"])
        if request["is_code"]:
            _run(request["arguments"])
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


def _run(arguments: Sequence[str]) -> NoReturn:
    """Do what `python -c CODE ARGUMENT...` does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["-c", *arguments[3:]]
    sys.path[0] = ""
    status: object = 0
    try:
        exec(compile(arguments[2], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
    except SystemExit as ended:
        status = ended.code or 0
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)


def _become_user(groups: Sequence[int] | None, group: int | None, user: int | None) -> None:
    if groups is not None:
        os.setgroups(groups)
    if group is not None:
        os.setresgid(group, group, group)
    if user is not None:
        os.setresuid(user, user, user)


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
    _compile()


def _compile() -> None:
    """Have SQLAlchemy compile the statements of a pass, which every fork that writes a catalog in a file would do anew."""
    from catalog.cli import messages, start
    from tests import compiled

    compiled.share()
    with tempfile.TemporaryDirectory(prefix="ocicat-forking-") as directory:
        layout = f"{directory}/layouts/a"
        os.makedirs(f"{layout}/blobs/sha256")
        for name, content in _LAYOUT.items():
            with open(f"{layout}/{name}", "w", encoding="ascii") as file:
                file.write(content)
        catalog = "--quiet", "--db", f"{directory}/catalog.db"
        for words in (["add", f"{directory}/layouts"], ["index", "--full"]):
            if start.run([*catalog, *words]):
                raise RuntimeError(f"ocicat {words[0]} failed")
    messages.volume.quiet = False  # Each fork would begin as --quiet has left it.
