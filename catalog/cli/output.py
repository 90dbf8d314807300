"""What goes to stdout: text that a slow reader does not hold up, values as text, and the base class of the formats.

This is on the way of every answer. Whatever came out of a layout is escaped here, once, in every format; JSON escapes by
its own rules.
"""

from __future__ import annotations

import os
import stat
import sys

from catalog.errors import NotInTime, OcicatError
from catalog.names.escape import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable

    from catalog.cli.limits import Limits

    Get = Callable[[str], object]

_INFINITY = float("inf")
KEPT_BYTES = 16 << 20
"""So much is kept of what a reader of stdout does not take."""
_PIECE_BYTES = 8192


def write(text: str) -> None:
    """Write to stdout as UTF-8, whatever the locale says; raises OcicatError where there is no room for it, and Unread."""
    write_bytes(text.encode("utf-8", "replace"))


def write_bytes(data: bytes) -> None:
    """Write to stdout; raises as `write` does, and NotInTime if stdout is not read for so long as `limit_pauses` says."""
    try:
        _stdout.write(data)
    except OSError as error:
        raise _unwritten(error) from error


def flush() -> None:
    """Write all that is kept, however long that takes; raises as `write` does. No state of the catalog is held meanwhile."""
    try:
        _stdout.flush()
    except OSError as error:
        raise _unwritten(error) from error


class _Waits:
    """Stops the clock of the running command's limit (`on`, catalog.cli.limits) while the command waits for a reader or for stdin."""

    on: Limits | None = None

    def __enter__(self) -> None:
        if self.on is not None:
            self.on.pause()

    def __exit__(self, *_error: object) -> None:
        if self.on is not None:
            self.on.go_on()


waits = _Waits()
"""Entered while a reader of stdout, or a writer of stdin, is waited for: a default time limit does not count that."""


def limit_pauses(seconds: float) -> None:
    """Let a reader of stdout stand still for so many seconds in all, once KEPT_BYTES wait for them."""
    _stdout.pauses_left = seconds


class _Stdout:
    """What was written and stdout has not yet taken.

    Whoever asks for rows holds the state of the catalog that they come from, and the WAL grows meanwhile. So a reader of a
    pipe who stands still (`| less`) is not waited for: what they do not take is kept here, KEPT_BYTES of it, and only then
    is there a wait, of a limited time.
    """

    def __init__(self) -> None:
        self.pauses_left = 60.0
        self._kept = bytearray()
        self._next_drain = _PIECE_BYTES

    def write(self, data: bytes) -> None:
        """Write `data`, or keep it."""
        self._kept += data
        if len(self._kept) >= self._next_drain:
            self._drain()

    def flush(self) -> None:
        """Write what is kept."""
        kept = self._kept
        self.drop()
        with waits:
            if kept:
                sys.stdout.buffer.write(kept)
            sys.stdout.flush()

    def drop(self) -> None:
        """Keep nothing."""
        self._kept, self._next_drain = bytearray(), _PIECE_BYTES

    def _drain(self) -> None:
        """Write what is kept as far as that does not block."""
        if not _may_block():
            kept = self._kept
            self.drop()
            sys.stdout.buffer.write(kept)
            return
        import select

        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        sys.stdout.flush()
        # No more than PIPE_BUF fits into a pipe for certain.
        while len(self._kept) >= select.PIPE_BUF:
            if not poll.poll(0):
                if len(self._kept) < KEPT_BYTES:
                    break
                self._wait(poll)
            written = os.write(sys.stdout.fileno(), self._kept[: select.PIPE_BUF])
            del self._kept[:written]
        self._next_drain = len(self._kept) + _PIECE_BYTES

    def _wait(self, poll: select.poll) -> None:
        """Wait until stdout takes something."""
        import time

        began = time.monotonic()
        with waits:
            is_ready = poll.poll(max(0.0, self.pauses_left) * 1000)
        self.pauses_left -= time.monotonic() - began
        if not is_ready:
            _drop()
            raise NotInTime(
                f"what was printed was not read in time, and {KEPT_BYTES >> 20} MiB of it wait: "
                "ask for less, or write it to a file first"
            )


def _may_block() -> bool:
    """Whether stdout is read by a process, or a person, who may stand still."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):  # no file: a test's
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


def _drop() -> None:
    """Let all that is kept, and still comes, go nowhere."""
    _stdout.drop()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered does not fail again


def _unwritten(error: OSError) -> Exception:
    """What to raise for stdout's `error`."""
    _drop()
    if isinstance(error, BrokenPipeError):
        return Unread()
    return OcicatError(f"cannot write the answer ({error.strerror}): what was written is not all of it")


def cell(value: object) -> str:
    """A value as one cell of text: null is empty, text is escaped, a list or an object is JSON."""
    if value is None:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, (list, dict)):
        return json_text(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


_stdout = _Stdout()


class Unread(Exception):
    """Nobody reads stdout any more: no failure, but the end. No OSError, since click has its own mind about those."""


class Format:
    """Writes rows to stdout. `row` takes a function from a field's name to its value; `end` finishes."""

    def row(self, get: Get) -> None:
        """Write one row."""
        raise NotImplementedError

    def nothing(self) -> None:
        """Write what stands for no row, where a line is promised for each."""
        write("\n")

    def flush(self) -> None:
        """Let what was written so far be read."""
        flush()

    def end(self) -> None:
        """Write what is still kept back."""


def json_text(value: object) -> str:
    """A value as JSON on one line."""
    import json

    try:
        return json.dumps(value, separators=(",", ":"), default=bytes.hex, allow_nan=False)
    except ValueError:
        if not isinstance(value, dict):
            raise
        # SQL can say 9e999, and JSON has no word for it.
        finite = {key: None if cell in (_INFINITY, -_INFINITY) else cell for key, cell in value.items()}
        return json.dumps(finite, separators=(",", ":"), default=bytes.hex)
