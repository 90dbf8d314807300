"""The limits of time and memory of a command that asks. On the way of every answer.

They hold in a process that runs this command and nothing else (start.main).

Python runs a signal handler only between two of its own instructions, which may be minutes apart while SQLite works or a server
is waited for. So a thread ends the process. That does no harm: these commands only read, and what `--fresh` writes is as safe
from the end of a process as from a power cut.
"""

from __future__ import annotations

import _thread
import os
import time

from catalog.cli import output
from catalog.cli.messages import fail, process
from catalog.engine.open import open_reader
from catalog.errors import NotInTime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from catalog.engine.interface import Reader

ASK_SECONDS = 60.0
"""The default limit of a command that answers, for each reference."""
LIST_SECONDS = 600.0
"""The default limit of a command that lists what there is."""
LONGEST_SECONDS = 1e6
"""Eleven days: a longer `--timeout` counts as this, since poll(2) takes no more than 24."""
MEMORY_BYTES = 2 << 30
"""How much memory a command may take besides what it has when it begins."""

_BRIEF_SECONDS = 0.05
"""The limit of memory is set after so long: most answers are over by then, and need not pay for it."""
_LONGEST_NAP = 3600.0
_PAUSED_NAP = 1.0
_SERVER_GRACE = 1.0
"""The server ends a statement by itself so many seconds later, for a process that could not cancel it."""
_STDERR_MS = 1000
_NARROW = "narrow it, or give it more with --timeout"


class Limits:
    """A context manager: a command that takes longer, or needs more memory, ends with status 4.

    `seconds` is what `--timeout` gives: all of the time counts, also while stdout is not read or nothing comes on stdin. Without
    it `default` counts only the time in which the command works; None is no limit. `words` follow "this took longer than N
    seconds". `memory_bytes` may be taken besides what the process has when it begins.
    """

    def __init__(
        self,
        seconds: float | None,
        default: float | None,
        *,
        words: str = f", and what was printed is not all of it: {_NARROW}",
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.seconds = default if seconds is None else seconds
        self._is_asked = seconds is not None
        self._words = words
        self._memory_bytes = memory_bytes
        self._cancel: Callable[[], object] | None = None
        self._before: tuple[int, int] | None = None
        self._end = 0.0
        self._paused: float | None = None
        self._over = _thread.allocate_lock()  # held until the command has ended
        self._memory = _thread.allocate_lock()

    def __enter__(self) -> Self:
        """Begin."""
        self._over.acquire()
        if not process.is_ours:  # others work in it too
            return self
        if self.seconds is not None:
            self.restart()
            if not self._is_asked:
                output.waits.on = self
        try:
            _thread.start_new_thread(self._watch, ())
        except RuntimeError:  # this user has no thread left: an answer without a time limit is better than none
            self._limit_memory()
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        """The command has ended in time; where `--timeout` was given, once all of its output is written."""
        if kind is None and self._is_asked:
            output.flush()
        output.waits.on = None
        self._over.release()
        with self._memory:
            if self._before is not None:
                import resource

                resource.setrlimit(resource.RLIMIT_AS, self._before)

    def open_reader(self, path: str) -> Reader:
        """The catalog at `path`, opened within the limits; raises as `catalog.engine.sqlite.reader.open_reader`."""
        reader = open_reader(path)
        self._cancel = reader.cancel
        if self.seconds is not None:
            reader.limit(self.seconds + _SERVER_GRACE)
        return reader

    def restart(self) -> None:
        """Let the next reference have all of the time, unless `--timeout` was given for all of them."""
        if self.seconds is not None and not (self._is_asked and self._end):
            self._end = time.monotonic() + self.seconds

    def pause(self) -> None:
        """From now on somebody else is waited for, which does not count."""
        self._paused = time.monotonic()

    def go_on(self) -> None:
        """And now no longer."""
        if self._paused is not None:
            self._end += time.monotonic() - self._paused  # first: the other thread looks at both
            self._paused = None

    def _limit_memory(self) -> None:
        """Limit the address space of this process; without /proc, or where Python's library may not be read, there is no limit."""
        try:
            import resource

            with open("/proc/self/statm", "rb") as file:
                now = int(file.read().split()[0]) * resource.getpagesize()
        except (OSError, ImportError):
            return
        soft, hard = self._before = resource.getrlimit(resource.RLIMIT_AS)
        wanted = now + self._memory_bytes
        if all(limit == resource.RLIM_INFINITY or limit > wanted for limit in (soft, hard)):
            resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))

    def _watch(self) -> None:
        """End the process when its time is over, with a message if that can be; no failure in here is for the user to see."""
        try:
            is_over = self._is_too_late()
        except Exception:  # noqa: BLE001 - such as no memory: an answer without a limit is better than a traceback beside it
            return
        if is_over:
            try:
                self._tell()
            finally:
                os._exit(NotInTime.status)

    def _is_too_late(self) -> bool:
        """Wait for the end of the time, True, or of the command, False."""
        brief = _BRIEF_SECONDS if self.seconds is None else min(_BRIEF_SECONDS, self.seconds)
        if self._over.acquire(timeout=brief):
            self._over.release()
            return False
        with self._memory:
            if self._over.locked():
                self._limit_memory()
        while True:
            if self.seconds is None:
                return False
            paused = self._paused
            left = self._end - (time.monotonic() if paused is None else paused)
            if not self._over.locked():
                return False
            if left <= 0 and paused is None:
                return True
            nap = min(left, _LONGEST_NAP) if paused is None else max(left, _PAUSED_NAP)
            if self._over.acquire(timeout=min(nap, _LONGEST_NAP)):
                self._over.release()
                return False

    def _tell(self) -> None:
        """Say on stderr that the time is over, and end what a server does for this process."""
        if not _is_written():
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 2)
        fail(NotInTime(f"this took longer than {self.seconds:g} seconds{self._words}"))
        null = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):  # what the other thread says of the cancelled statement is not for the user
            os.dup2(null, descriptor)
        if self._cancel is not None:
            self._cancel()


def _is_written() -> bool:
    """Whether stderr takes a message: whoever does not read it does not keep the process."""
    try:
        import select

        poll = select.poll()
        poll.register(2, select.POLLOUT)
        return bool(poll.poll(_STDERR_MS))
    except (OSError, ImportError):
        return True
