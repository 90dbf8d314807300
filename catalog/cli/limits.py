"""The time and memory limits of the commands. Every answer imports this module.

The limits apply only in a process that runs one command and nothing else (start.main).

Python runs a signal handler only between two of its own instructions. These may be minutes apart while SQLite works or a
server does not answer, so a thread ends the process instead. That does no harm: what a command writes survives the end of a
process as it survives a power cut.
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
    from typing import NoReturn, Self

    from catalog.engine.interface import Reader

ASK_SECONDS = 60.0
"""The default time limit per reference, for commands that answer references."""
LIST_SECONDS = 600.0
"""The default time limit of commands that list things."""
LONGEST_SECONDS = 1e6
"""Eleven days. A longer `--timeout` counts as this, because poll(2) takes at most 24 days."""
LEAST_INTERVAL, MOST_INTERVAL = 0.05, 86_400
"""The shortest and the longest interval that may be set for something that the daemon repeats, in seconds."""
MEMORY_BYTES = 2 << 30
"""How much memory a command may use in addition to what it has when it begins."""

UNLIMITED_BYTES = 1 << 50
"""The memory limit of a command that only moves the rows of the catalog itself."""

_BRIEF_SECONDS = 0.05
"""The delay before the memory limit is set. Most answers are finished by then and do not pay for it."""
_LONGEST_NAP = 3600.0
_PAUSED_NAP = 1.0
_SERVER_GRACE = 1.0
"""How many seconds after the limit the server itself ends a statement that this process could not cancel."""
_STDERR_MS = 1000
_ADVICE = "ask for less, or allow more with --timeout"


class Limits:
    """A context manager that limits the memory of the process, and ends it with status 4 if its block takes too long.

    `seconds` is the value of `--timeout`. It limits the total time, which includes waits for a reader of stdout and for lines
    on stdin. If it is None, `default` limits the time without these waits; if that is None too, there is no limit. `words` ends the
    message "this took longer than N seconds". `memory_bytes` is how much memory the process may use in addition to what it has when
    the block begins.
    """

    def __init__(
        self,
        seconds: float | None,
        default: float | None,
        *,
        words: str = f", so the output is incomplete: {_ADVICE}",
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
        """Start the time limit."""
        self._over.acquire()
        if not process.is_ours:  # other code runs in this process, too
            return self
        if self.seconds is not None:
            self.restart()
            if not self._is_asked:
                output.waits.on = self
        try:
            _thread.start_new_thread(self._watch, ())
        except RuntimeError:  # no thread can be started: an answer without a time limit is better than none
            self._limit_memory()
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        """Stop the time limit; if it came from `--timeout`, only after all output is written."""
        if kind is None and self._is_asked:
            output.flush()
        output.waits.on = None
        self._over.release()
        with self._memory:
            if self._before is not None:
                import resource

                resource.setrlimit(resource.RLIMIT_AS, self._before)

    def open_reader(self, path: str) -> Reader:
        """Open the catalog at `path` within the limits. Raises as `catalog.engine.open.open_reader` does."""
        reader = open_reader(path)
        self._cancel = reader.cancel
        if self.seconds is not None:
            reader.limit(self.seconds + _SERVER_GRACE)
        return reader

    def restart(self) -> None:
        """Restart the time for the next reference, unless `--timeout` limits the total time of all references."""
        if self.seconds is not None and not (self._is_asked and self._end):
            self._end = time.monotonic() + self.seconds

    def pause(self) -> None:
        """Stop the clock while the command waits for another process."""
        self._paused = time.monotonic()

    def go_on(self) -> None:
        """Start the clock again."""
        if self._paused is not None:
            self._end += time.monotonic() - self._paused  # before _paused is reset, because the other thread reads both
            self._paused = None

    def _limit_memory(self) -> None:
        """Limit the address space of this process.

        There is no limit if there is no /proc, or if the module `resource` cannot be loaded.
        """
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
        """End the process when its time is over, with a message if possible. A failure in this thread is not shown."""
        try:
            is_over = self._is_too_late()
        except Exception:  # noqa: BLE001 - such as no memory: an answer without a limit is better than a traceback in it
            return
        if is_over:
            try:
                self.report()
            finally:
                os._exit(NotInTime.status)

    def _is_too_late(self) -> bool:
        """Wait until the time is over or the command has ended; return whether the time is over."""
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

    def report(self) -> None:
        """Print the error on stderr, and cancel the statement that a server runs for this process."""
        if not _is_written():
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 2)
        from catalog.names.age import in_seconds

        fail(NotInTime(f"this took longer than {in_seconds(self.seconds or 0)}{self._words}"))
        null = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):  # hides the main thread's message about the cancelled statement
            os.dup2(null, descriptor)
        if self._cancel is not None:
            self._cancel()


def end_late(seconds: float) -> NoReturn:
    """End the process with the message and status of a command that took longer than `seconds`."""
    try:
        Limits(None, seconds).report()
    finally:
        os._exit(NotInTime.status)


def _is_written() -> bool:
    """Return whether stderr can be written to. A reader that has stopped reading must not hold up the process."""
    try:
        import select

        poll = select.poll()
        poll.register(2, select.POLLOUT)
        return bool(poll.poll(_STDERR_MS))
    except (OSError, ImportError):
        return True
