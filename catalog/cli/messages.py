"""What goes to stderr: notes and errors, one line each, nothing raw. On the way of every answer."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.errors import OcicatError

BROKEN_PIPE = 141
"""As a shell reports a process that SIGPIPE ended."""
INTERRUPTED = 130
INTERNAL = 4


class _Volume:
    quiet = False
    verbose = False
    debug = bool(os.environ.get("OCICAT_DEBUG", "") not in ("", "0"))


volume = _Volume()
"""How much is said: `--quiet`, `--verbose`, `--debug`."""


def note(text: str) -> None:
    """Say something that is no error; not with `--quiet`."""
    if not volume.quiet:
        say(text)


def detail(text: str) -> None:
    """Say something that only `--verbose` asks for."""
    if volume.verbose:
        say(text)


def say(text: str) -> None:
    """One line on stderr. Line ends and control characters that slipped in become spaces."""
    line = "".join(c if c.isprintable() or c == "\t" else " " for c in text)
    try:
        sys.stderr.buffer.write(f"ocicat: {line}\n".encode("utf-8", "replace"))
        sys.stderr.buffer.flush()
    except (OSError, ValueError):
        return  # nobody reads stderr: the exit status still says it


def fail(error: OcicatError) -> int:
    """Say what went wrong, with an ambiguous reference's candidates below it; returns the exit status."""
    if volume.debug:
        import traceback

        traceback.print_exception(error)
    say(f"error: {error}")
    candidates = getattr(error, "candidates", ())
    if candidates:
        for line in candidates:
            sys.stderr.buffer.write(f"  {line}\n".encode("utf-8", "replace"))
        more = getattr(error, "total", 0) - len(candidates)
        if more > 0:
            sys.stderr.buffer.write(f"  and {more} more\n".encode())
        sys.stderr.buffer.flush()
    return error.status


def write_help(text: str) -> None:
    """The help text, to stderr, for a call that lacks its arguments."""
    sys.stderr.write(f"{text}\n")
