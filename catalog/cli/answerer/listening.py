"""The main process of `ocicat answer`: it owns the socket, and starts and supervises the processes that answer."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import signal
import socket
import stat
import sys
import time

from catalog.cli import messages
from catalog.cli.answerer import worker
from catalog.cli.answerer.permission import socket_mode
from catalog.cli.answerer.question import SERVED
from catalog.engine.open import beside, displayed, keep_open
from catalog.errors import CatalogUnavailable, UsageError
from catalog.names.escape import shown
from catalog.watch.notify import Notifier

ANSWER = ".answer"
"""The suffix of the name of the socket beside a catalog."""
LONGEST_PATH = 107
"""The largest number of bytes in the path of a UNIX socket (sun_path, without its NUL)."""
_BACKLOG = 128
_TICK_SECONDS = 2.0
_SHORT_LIFE_SECONDS = 1.0
_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WAITED = {*_ENDS, signal.SIGCHLD}
_ROOMS = ("catalog.names", "catalog.lookup")
_MODULES = (
    "json", "decimal", "catalog.cli.colour", "catalog.cli.complete", "catalog.cli.for_people", "catalog.cli.formats",
    "catalog.cli.found", "catalog.cli.inspected", "catalog.cli.main", "catalog.cli.queried", "catalog.cli.resolved", "catalog.cli.stated", "catalog.cli.status_page", "catalog.cli.table",
    "catalog.engine.brief", "catalog.engine.moments", "catalog.exhausted", "catalog.layout.discover",
    "encodings.ascii", "encodings.idna", "textwrap", "traceback", "unicodedata",
)  # fmt: skip


class Listening:
    """Answers questions about the catalog at `catalog` on the socket at `path`, or on systemd's socket if `path` is None.

    `processes` is the number of processes that answer. `parent` is the id of the process that started this one, if this one is to end
    with it, or None.
    """

    def __init__(self, catalog: str, path: str | None, *, processes: int, parent: int | None) -> None:
        self._catalog = catalog
        self._guarded = keep_open(catalog).file  # loads its engine, and opens nothing yet
        self._path = path
        self._processes = processes
        self._parent = parent
        self._file: tuple[int, int] | None = None
        self._mode = 0
        self._running: dict[int, float] = {}

    def run(self) -> int:
        """Answer until SIGTERM, SIGINT or SIGHUP, until the socket is replaced or removed, or until the parent ends.

        Returns the exit status. Raises UsageError if the path is too long or in use, or if systemd's socket has the wrong type,
        and CatalogUnavailable if this process cannot listen at the path.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
        listening = self._listen()
        notifier = Notifier()
        try:
            _load()
            lifeline, ours = os.pipe()
            self._fill(listening, lifeline, ours)
            notifier.ready()
            place = shown(self._path or "the socket of systemd")
            messages.note(
                f"answering for {shown(displayed(self._catalog))} on {place}, with {self._processes} processes"
            )
            self._mind(listening, lifeline, ours)
        finally:
            notifier.stopping()
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self._remove()
            listening.close()
        return 0

    def _mind(self, listening: socket.socket, lifeline: int, ours: int) -> None:
        """Replace each process that has ended, until this process has to end."""
        while True:
            found = signal.sigtimedwait(_WAITED, _TICK_SECONDS)
            if found is not None and found.si_signo in _ENDS:
                return
            if self._parent is not None and os.getppid() != self._parent:
                return
            if self._file is not None and self._file != _identity(self._path or ""):
                messages.note("another answerer has taken the socket, or somebody has removed it: ending")
                return
            self._follow_mode()
            lives = self._reap()
            if lives and min(lives) < _SHORT_LIFE_SECONDS:
                time.sleep(_SHORT_LIFE_SECONDS / 10)  # so that processes that die at once do not keep the machine busy
            self._fill(listening, lifeline, ours)

    def _fill(self, listening: socket.socket, lifeline: int, ours: int) -> None:
        """Start as many processes as are missing."""
        while len(self._running) < self._processes:
            sys.stdout.flush()
            sys.stderr.flush()
            try:
                process = os.fork()
            except OSError:  # no resources for another process: the others go on, and the next tick tries again
                return
            if process == 0:
                status = 1
                try:
                    os.close(ours)
                    worker.work(listening, lifeline, self._catalog)
                    status = 0
                finally:
                    os._exit(status)
            self._running[process] = time.monotonic()

    def _reap(self) -> list[float]:
        """Reap the processes that have ended; return how many seconds each has lived."""
        lives = []
        while self._running:
            process, _ = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                break
            began = self._running.pop(process, None)
            if began is not None:
                lives.append(time.monotonic() - began)
        return lives

    # --- the socket -----------------------------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        if self._path is None:
            return _of_systemd()
        if len(os.fsencode(self._path)) > LONGEST_PATH:
            raise UsageError(
                f"{shown(self._path)} is too long for a socket (more than {LONGEST_PATH} bytes): give a shorter path with "
                "--socket, and set OCICAT_SOCKET to it for the commands that ask"
            )
        self._check_free()
        new = f"{self._path}.{os.urandom(4).hex()}"[-LONGEST_PATH:]
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        mask = os.umask(0o177)
        try:
            found.bind(self._path if len(new) < len(self._path) else new)
            self._mode = socket_mode(self._guarded)
            self._share(new)
            found.listen(_BACKLOG)
            os.rename(new, self._path)
        except OSError as error:
            found.close()
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise CatalogUnavailable(
                f"cannot listen at {shown(self._path)} ({error.strerror}): check its directory, or give another path with --socket"
            ) from error
        finally:
            os.umask(mask)
        self._file = _identity(self._path)
        return found

    def _check_free(self) -> None:
        """Raise UsageError if anything is at the path except the socket of an answerer that has ended."""
        path = self._path or ""
        try:
            found = os.lstat(path)
        except OSError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise UsageError(f"{shown(path)} exists and is not a socket: remove it, or give another path with --socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as asking:
            try:
                asking.connect(path)
            except ConnectionRefusedError:
                return
            except OSError:
                pass
        raise UsageError(f"an answerer already runs at {shown(path)}: end it first, or give another path with --socket")

    def _share(self, path: str) -> None:
        """Let the users who may read the catalog's file connect, as far as this process may change the socket's owner and group."""
        os.chmod(path, self._mode)
        if self._guarded is not None:
            with contextlib.suppress(OSError):
                found = os.stat(self._guarded)
                os.chown(path, found.st_uid if os.geteuid() == 0 else -1, found.st_gid)
                os.chmod(path, self._mode)  # chown may have cleared bits

    def _follow_mode(self) -> None:
        """Update the socket's mode if the mode of the catalog's file has changed. Each question is checked in any case."""
        mode = socket_mode(self._guarded)
        if self._file is not None and mode != self._mode:
            self._mode = mode
            with contextlib.suppress(OSError):
                self._share(self._path or "")

    def _remove(self) -> None:
        """Remove the socket, unless another one has replaced it."""
        if self._file is not None and self._file == _identity(self._path or ""):
            with contextlib.suppress(OSError):
                os.unlink(self._path or "")


def default_socket(catalog: str) -> str:
    """Return the path of the socket on which the launcher asks about a catalog.

    Raises UsageError if the catalog is on a server and OCICAT_SOCKET is not set.
    """
    if given := os.environ.get("OCICAT_SOCKET"):
        return os.path.abspath(given)
    if keep_open(catalog).file is None:
        raise UsageError(
            "a catalog on a server has no place for a socket beside it: set OCICAT_SOCKET to the same path for the answerer and for the commands that ask"
        )
    return beside(catalog) + ANSWER


def is_passed() -> bool:
    """Return whether systemd has passed this process a socket (sd_listen_fds(3))."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1"


def _of_systemd() -> socket.socket:
    found = socket.socket(fileno=os.dup(_FIRST_DESCRIPTOR))
    if found.family != socket.AF_UNIX or found.type != socket.SOCK_STREAM:
        raise UsageError(
            "the socket that systemd has passed is not a stream socket at a path: write ListenStream= with a path"
        )
    found.setblocking(False)
    os.set_inheritable(found.fileno(), False)
    return found


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _load() -> None:
    """Load every module that an answer may need, once for all processes, so that an upgrade on disk does not affect them."""
    rooms = [importlib.import_module(name) for name in _ROOMS]
    names = [each.name for room in rooms for each in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")]
    commands = [f"catalog.cli.commands.{name}" for name in SERVED if not name.startswith("_")]
    for name in (*names, *_MODULES, *commands):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
