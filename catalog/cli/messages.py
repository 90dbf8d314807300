"""Notes and errors on stderr, one escaped line each. Every answer imports this module."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.errors import OcicatError

BROKEN_PIPE = 141
"""The status that a shell reports for a process that SIGPIPE ended."""
INTERRUPTED = 130
INTERNAL = 4
_NO_MEMORY = b"ocicat: error: this needs more memory than a command may use: ask for less\n"


class _Volume:
    quiet = False
    verbose = False
    debug = os.environ.get("OCICAT_DEBUG", "").lower() not in ("", "0", "false", "f", "no", "n", "off")


class _Process:
    is_ours = False


process = _Process()
"""`is_ours` is true if this process runs one command line and nothing else, so that a limit may end it: see start.main."""

volume = _Volume()
"""How much is printed on stderr: `--quiet`, `--verbose`, `--debug`."""


def note(text: str) -> None:
    """Print a line that is not an error, unless `--quiet` is given."""
    if not volume.quiet:
        say(text)


def remark(text: str) -> None:
    """Print a note, but only if stderr is a terminal."""
    if sys.stderr.isatty():
        note(text)


def detail(text: str) -> None:
    """Print a line only if `--verbose` is given."""
    if volume.verbose:
        say(text)


def say(text: str) -> None:
    """Print one line on stderr. Any line ends and control characters become spaces; a terminal gets lines that fit it."""
    write(_fitted("ocicat: " + plain(text)) + "\n")


def _fitted(line: str) -> str:
    if not sys.stderr.isatty():
        return line
    from catalog.cli.fitted import fitted

    return fitted(line)


def plain(text: str) -> str:
    """Return `text` with line ends and control characters replaced by spaces."""
    return "".join(c if c.isprintable() or c == "\t" else " " for c in text)


def _error() -> str:
    if not sys.stderr.isatty() and "catalog.cli.colour" not in sys.modules:  # `--color` would have loaded it
        return "error:"
    from catalog.cli.colour import BAD, is_coloured, paint

    return paint("error:", BAD) if is_coloured(sys.stderr) else "error:"


def fail(error: OcicatError) -> int:
    """Print an error, and the candidates of an ambiguous reference below it; return the exit status."""
    trace(error)
    line = _fitted(f"ocicat: error: {plain(str(error))}")
    write(line.replace("error:", _error(), 1) + "\n")
    candidates = list(getattr(error, "candidates", ()))
    if candidates:
        if sys.stderr.isatty():
            from catalog.cli.fitted import fitted_row

            candidates = [fitted_row(line) for line in candidates]
        more = getattr(error, "total", 0) - len(candidates)
        write("".join(f"  {line}\n" for line in candidates) + (f"  and {more} more\n" if more > 0 else ""))
    return error.status


def fail_without_memory() -> int:
    """Report that memory has run out, without allocating any; return the exit status."""
    try:
        os.write(2, _NO_MEMORY)
    except OSError:
        return INTERNAL  # nothing reads stderr
    return INTERNAL


def defect(error: Exception) -> int:
    """Print an unexpected error; return the exit status."""
    found = out_of(error) if isinstance(error, OSError | MemoryError) else None
    if found is not None:
        return fail(found)
    trace(error)
    say(f"error: {bug(error)}")
    return INTERNAL


def unraisable(found: sys.UnraisableHookArgs) -> None:
    """Print a line for an unexpected error that Python cannot raise (for example in a generator that it closes), not a traceback.

    Nothing is printed if memory has run out: the command reports that itself.
    """
    error = found.exc_value
    if volume.debug:
        sys.__unraisablehook__(found)
    elif isinstance(error, Exception) and not isinstance(error, MemoryError):
        say(f"error: {bug(error)}")


def bug(error: Exception) -> str:
    """Return the message for an unexpected error."""
    return f"this is a bug in ocicat ({type(error).__name__}: {error}): run it again with --debug, and report it"


def out_of(error: OSError | MemoryError) -> OcicatError | None:
    """Return an error that names what this process has run out of, if that is why `error` was raised; else None."""
    try:
        from catalog.exhausted import exhausted, out_of_memory
    except OSError:  # such as no file descriptor left to load it with
        return None
    return exhausted(error.errno) if isinstance(error, OSError) else out_of_memory()


def trace(error: Exception) -> None:
    """Print the traceback of `error` if `--debug` is given."""
    if volume.debug:
        import traceback

        write("".join(traceback.format_exception(error)))


class _Route:
    write: Callable[[str], None] | None = None


route = _Route()
"""`ocicat watch` sets `write` to a function that writes to stderr without blocking."""


def write(text: str) -> None:
    """Write to stderr, and ignore failures."""
    if route.write is not None:
        route.write(text)
        return
    try:
        sys.stderr.buffer.write(text.encode("utf-8", "replace"))
        sys.stderr.buffer.flush()
    except (OSError, ValueError):
        return  # nothing reads stderr: the exit status still shows the failure
