"""Writing to stdout without waiting for a slow reader, the text form of values, and the base class of the formats.

Every answer imports this module. Text from a layout is escaped here, once, for every format; JSON has its own escapes.
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
    from catalog.lookup.match import Match

    Get = Callable[[str], object]

_INFINITY = float("inf")
KEPT_BYTES = 16 << 20
"""How much output is kept in memory when the reader of stdout does not read it."""
_PIECE_BYTES = 8192


def write(text: str) -> None:
    """Write to stdout as UTF-8, whatever the locale is.

    Raises Unread if nothing reads stdout any more, and OcicatError if it cannot be written, for example to a full disk.
    """
    write_bytes(text.encode("utf-8", "replace"))


def write_bytes(data: bytes) -> None:
    """Write to stdout. Raises as `write` does, and NotInTime if nobody reads stdout for longer than `limit_pauses` allows."""
    try:
        _stdout.write(data)
    except OSError as error:
        raise _unwritten(error) from error


def flush() -> None:
    """Write everything that is kept, however long that takes. Raises as `write` does.

    Call this only when no read transaction of the catalog is open.
    """
    try:
        _stdout.flush()
    except OSError as error:
        raise _unwritten(error) from error


def page() -> None:
    """Let a pager show the output if stdin and stdout are a terminal and the output is longer than the screen."""
    _stdout.may_page = sys.stdout.isatty() and sys.stdin.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def unpaged() -> None:
    """Write without a pager: for `--no-pager`, and for commands that print as things happen or read references from stdin."""
    _stdout.may_page = False


def end_pager() -> bool:
    """Wait until the pager ends, if there is one; return whether there was."""
    if _stdout.pager is None:
        return False
    from catalog.cli.pager import wait

    try:
        wait(_stdout.pager)
    except KeyboardInterrupt:
        wait(_stdout.pager)
    return True


class _Waits:
    """A context manager that pauses the time limit of the running command, `on`, if there is one."""

    on: Limits | None = None

    def __enter__(self) -> None:
        if self.on is not None:
            self.on.pause()

    def __exit__(self, *_error: object) -> None:
        if self.on is not None:
            self.on.go_on()


waits = _Waits()
"""Entered while the command waits for a reader of stdout or for lines on stdin. A default time limit does not count that time."""


def limit_pauses(seconds: float) -> None:
    """Set the total time to wait for a reader that has stopped reading stdout, once KEPT_BYTES are kept."""
    _stdout.pauses_left = seconds


def begin_again() -> None:
    """Discard what an earlier command of this process left: output that was not written, and the time limit that it paused."""
    _stdout.drop()
    waits.on = None


class _Stdout:
    """Output that the command has written and stdout has not yet accepted.

    A command that reads rows holds a read transaction, and the WAL grows meanwhile. So the command does not wait for a reader
    that has stopped reading a pipe (`| less`): up to KEPT_BYTES of output are kept here, and only then does it wait, for a
    limited time.
    """

    def __init__(self) -> None:
        self.pauses_left = 60.0
        self.may_page = False
        self.pager: int | None = None
        self._kept = bytearray()
        self._next_drain = _PIECE_BYTES

    def write(self, data: bytes) -> None:
        """Write `data`, or keep it."""
        self._kept += data
        if len(self._kept) >= self._next_drain:
            self._drain()

    def flush(self) -> None:
        """Write everything that is kept."""
        if self.may_page:
            self._page()
            self.may_page = False  # the caller prints as things happen
        kept = self._kept
        self.drop()
        with waits:
            if kept:
                sys.stdout.buffer.write(kept)
            sys.stdout.flush()

    def drop(self) -> None:
        """Forget everything that is kept."""
        self._kept, self._next_drain = bytearray(), _PIECE_BYTES

    def _page(self) -> bool:
        """Start the pager if the kept output is longer than the screen; return whether it is, and can now be written."""
        from catalog.cli import pager

        if not pager.is_longer_than_the_screen(self._kept):
            return False
        self.may_page = False
        self.pager = pager.start()
        return True

    def _drain(self) -> None:
        """Write as much of the kept output as is possible without blocking."""
        if self.may_page and not self._page():
            self._next_drain = len(self._kept) + _PIECE_BYTES
            return
        if not _may_block():
            kept = self._kept
            self.drop()
            sys.stdout.buffer.write(kept)
            return
        import select

        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        sys.stdout.flush()
        # A pipe that is ready is certain to have room for PIPE_BUF bytes, and not for more.
        while len(self._kept) >= select.PIPE_BUF:
            if not poll.poll(0):
                if len(self._kept) < KEPT_BYTES:
                    break
                self._wait(poll)
            written = os.write(sys.stdout.fileno(), self._kept[: select.PIPE_BUF])
            del self._kept[:written]
        self._next_drain = len(self._kept) + _PIECE_BYTES

    def _wait(self, poll: select.poll) -> None:
        """Wait until stdout can be written to. Raises NotInTime."""
        import time

        began = time.monotonic()
        with waits:
            is_ready = poll.poll(max(0.0, self.pauses_left) * 1000)
        self.pauses_left -= time.monotonic() - began
        if not is_ready:
            drop()
            raise NotInTime(
                f"the output was not read in time, and {KEPT_BYTES >> 20} MiB of it is waiting: "
                "ask for less, or write the output to a file first"
            )


def _may_block() -> bool:
    """Return whether a write to stdout may block, because a process or a person reads it."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):  # not a file, as in tests
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


def drop() -> None:
    """Discard all output that is kept, and all later output."""
    _stdout.drop()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that flushing Python's own buffer does not fail again


def _unwritten(error: OSError) -> Exception:
    """Return the exception to raise for an error of stdout."""
    drop()
    if isinstance(error, BrokenPipeError):
        return Unread()
    return OcicatError(f"cannot write the output ({error.strerror}), so it is incomplete")


def cell(value: object) -> str:
    """Return a value as the text of one cell: null is empty, strings are escaped, lists and objects are JSON."""
    if isinstance(value, str):
        return escape(value)
    if value is None:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, (list, dict)):
        return json_text(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


_stdout = _Stdout()


class Unread(Exception):
    """Nothing reads stdout any more: the command ends, but this is not an error.

    It is not an OSError, because click handles those itself.
    """


class Format:
    """Writes rows to stdout. `row` takes a function from a field's name to its value; `end` finishes."""

    def row(self, get: Get) -> None:
        """Write one row."""
        raise NotImplementedError

    def match(self, match: Match) -> None:
        """Write the row of a match."""
        self.row(match.value)

    def nothing(self) -> None:
        """Write the placeholder for a missing row, for callers that promise one line per row."""
        write("\n")

    def flush(self) -> None:
        """Flush what was written so far."""
        flush()

    def end(self) -> None:
        """Write whatever is still pending, such as the end of a document."""


def json_text(value: object) -> str:
    """Return a value as JSON on one line."""
    import json

    try:
        return json.dumps(value, separators=(",", ":"), default=bytes.hex, allow_nan=False)
    except ValueError:
        if not isinstance(value, dict):
            raise
        # SQL can return infinity (9e999), which JSON cannot express.
        finite = {key: None if cell in (_INFINITY, -_INFINITY) else cell for key, cell in value.items()}
        return json.dumps(finite, separators=(",", ":"), default=bytes.hex)
