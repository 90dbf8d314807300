"""What goes to stderr: notes and errors, one line each, nothing raw. On the way of every answer."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.errors import OcicatError

BROKEN_PIPE = 141
"""As a shell reports a process that SIGPIPE ended."""
INTERRUPTED = 130
INTERNAL = 4


class _Volume:
    quiet = False
    verbose = False
    debug = os.environ.get("OCICAT_DEBUG", "").lower() not in ("", "0", "false", "f", "no", "n", "off")


class _Process:
    is_ours = False


process = _Process()
"""Whether this process runs one command line and nothing else, so that a limit of time or memory may end it: see start.main."""

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
    write("ocicat: " + _plain(text) + "\n")


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else " " for c in text)


def _error() -> str:
    if not sys.stderr.isatty():
        return "error:"
    from catalog.cli.colour import BAD, is_coloured, paint

    return paint("error:", BAD) if is_coloured(sys.stderr) else "error:"


def fail(error: OcicatError) -> int:
    """Say what went wrong, with an ambiguous reference's candidates below it; returns the exit status."""
    trace(error)
    write(f"ocicat: {_error()} {_plain(str(error))}\n")
    candidates = getattr(error, "candidates", ())
    if candidates:
        more = getattr(error, "total", 0) - len(candidates)
        write("".join(f"  {line}\n" for line in candidates) + (f"  and {more} more\n" if more > 0 else ""))
    return error.status


def defect(error: Exception) -> int:
    """Say that something went wrong that nobody thought of; returns the exit status."""
    found = out_of(error) if isinstance(error, OSError | MemoryError) else None
    if found is not None:
        return fail(found)
    trace(error)
    say(
        f"error: this is a defect of ocicat ({type(error).__name__}: {error}): run it again with --debug, and report it"
    )
    return INTERNAL


def out_of(error: OSError | MemoryError) -> OcicatError | None:
    """What this process has run out of, where that is all that went wrong: it may have been about to load a module."""
    try:
        from catalog.exhausted import exhausted, out_of_memory
    except OSError:
        return None
    return exhausted(error.errno) if isinstance(error, OSError) else out_of_memory()


def trace(error: Exception) -> None:
    """Show where `error` came from, where that is asked for."""
    if volume.debug:
        import traceback

        write("".join(traceback.format_exception(error)))


class _Route:
    write: Callable[[str], None] | None = None


route = _Route()
"""By whom all goes to stderr, where that is not to stop this process: `ocicat watch` sets it."""


def write(text: str) -> None:
    """Write to stderr, whatever becomes of it."""
    if route.write is not None:
        route.write(text)
        return
    try:
        sys.stderr.buffer.write(text.encode("utf-8", "replace"))
        sys.stderr.buffer.flush()
    except (OSError, ValueError):
        return  # nobody reads stderr: the exit status still says it
