"""The parent's side of the processes that run users' statements (worker.py).

A user's statement can make SQLite work for minutes within one instruction, where it notices neither its own time limit nor
Ctrl-C, and it can produce rows of any size. In a separate process it can be killed, and only that process runs out of memory.
Starting a process takes 30 ms, so one that has answered is kept for the next statement.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from catalog.engine import question
from catalog.engine.question import HEADER, Frame, Question, Stopped, packed, write_all
from catalog.errors import CatalogUnavailable
from catalog.names.escape import shown

_GRACE_SECONDS = 1.0
"""How long after its limit the process of a statement is killed, if the statement has not ended itself."""
_BEGIN_SECONDS = 60.0
"""How long a process may take to start and to open the catalog."""
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from catalog.reports.worker import main; main()"


class Workers:
    """A pool of processes that run statements. It is safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._is_closed = False

    def ask(self, request: Question) -> Answer:
        """Send a question to a process; return the answer, which must be read to its end or closed.

        Raises Stopped if the pool is closed, and CatalogUnavailable if no process can be started.
        """
        worker = self._take()
        try:
            worker.send(request)
        except OSError:  # the process was killed while it was idle
            self._drop(worker)
            worker = self._new()
            worker.send(request)
        return Answer(self, worker, request.seconds)

    def start(self) -> None:
        """Start a process, so that the first statement does not have to wait for one."""
        worker = self._take()
        with self._lock:
            self._give_back(worker)

    def close(self) -> None:
        """Kill all processes, including busy ones; reading an unfinished answer then raises Stopped."""
        with self._lock:
            self._is_closed = True
            idle, busy = self._idle[:], list(self._busy)
            self._idle.clear()
        for worker in idle:
            worker.end()
        for worker in busy:
            worker.process.kill()

    def done(self, worker: _Worker, *, is_spent: bool) -> None:
        """Take back the process of an answer that was read to its end; end it if it is spent."""
        if is_spent:
            self._drop(worker)
            return
        with self._lock:
            self._give_back(worker)

    def _give_back(self, worker: _Worker) -> None:
        self._busy.discard(worker)
        self._idle.append(worker)

    def _take(self) -> _Worker:
        with self._lock:
            if self._idle:
                worker = self._idle.pop()
                self._busy.add(worker)
                return worker
        return self._new()

    def _new(self) -> _Worker:
        worker = _Worker()
        with self._lock:
            self._busy.add(worker)
            closed = self._is_closed
        if closed:
            self._drop(worker)
            raise Stopped(question.ENDED, "the end of ocicat")
        return worker

    def _drop(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
        worker.end()

    def drop(self, worker: _Worker) -> int:
        """Kill a process; return its exit status as `subprocess` does, negative for a signal."""
        self._drop(worker)
        return worker.process.returncode


class Answer(Iterator[Frame]):
    """The frames of an answer. Closing or dropping it before its end kills the process."""

    def __init__(self, workers: Workers, worker: _Worker, seconds: float) -> None:
        self._workers = workers
        self._worker: _Worker | None = worker
        self._seconds = seconds + _GRACE_SECONDS
        self._left = _BEGIN_SECONDS  # until the first frame, which says that the statement begins
        self._has_begun = False

    def __next__(self) -> Frame:
        """Return the next frame. Raises Stopped if the statement failed or was stopped."""
        worker = self._worker
        if worker is None:
            raise StopIteration
        try:
            began = time.monotonic()
            frame = worker.receive(self._left)
            self._left = self._left - (time.monotonic() - began) if self._has_begun else self._seconds
            self._has_begun = True
        except _Gone:
            self._worker = None
            status = self._workers.drop(worker)
            raise Stopped(question.ENDED, _by(status)) from None
        except BaseException:  # past its time, or Ctrl-C
            self.close()
            raise
        if frame.is_last:
            self._worker = None
            self._workers.done(worker, is_spent=frame.is_spent)
            if frame.trouble is not None:
                raise Stopped(*frame.trouble)
        return frame

    def close(self) -> None:
        """Kill the process if the answer has not ended."""
        worker, self._worker = self._worker, None
        if worker is not None:
            self._workers.drop(worker)

    def __del__(self) -> None:
        """Stop a statement whose answer was dropped."""
        self.close()


class _Gone(Exception):
    """The process has ended."""


class _Worker:
    """One process and the pipes to it."""

    def __init__(self) -> None:
        paths = [path for path in sys.path if path]
        home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-S", "-c", _PROGRAM, *([] if home in paths else [home]), *paths],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            )  # fmt: skip
        except PermissionError as error:
            raise CatalogUnavailable(
                f"the statement cannot be run: this user is not allowed to execute {shown(sys.executable)}"
            ) from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._to = self.process.stdin
        self._from = self.process.stdout
        self._poll = select.poll()
        self._poll.register(self._from, select.POLLIN)

    def send(self, request: Question) -> None:
        write_all(self._to.fileno(), packed((dict(os.environ), *request)))

    def receive(self, seconds: float) -> Frame:
        """Return the next frame. Raises Stopped after `seconds`, and _Gone if the process has ended."""
        deadline = time.monotonic() + seconds
        head = self._read(HEADER, deadline)
        return Frame(*marshal.loads(self._read(int.from_bytes(head, "big"), deadline)))  # noqa: S302 - our own process

    def _read(self, count: int, deadline: float) -> bytearray:
        data = bytearray()
        while len(data) < count:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                raise Stopped(question.LATE)
            piece = os.read(self._from.fileno(), min(count - len(data), 1 << 20))
            if not piece:
                raise _Gone
            data += piece
        return data

    def end(self) -> None:
        """Kill the process, wait for it, and close the pipes."""
        self.process.kill()
        self.process.wait()
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()


def _by(status: int) -> str:
    """Return what ended a process: the name of a signal, or its exit status."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"status {status}"
