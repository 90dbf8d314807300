"""The pager that shows long output on a terminal, as git does. This module is loaded only if the output does not fit on one screen.

The shell runs the command in OCICAT_PAGER, or else in PAGER. If both are unset, it is `less`, or else `more`. If the variable is
empty or `cat`, there is no pager. Unless LESS is set, it becomes FRX: less ends if the output fits, shows colours, and leaves the
output on the screen.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys

_SPECIAL = set("|&;<>()$`\\\"'*?[#~=%{} \t")


def start() -> int | None:
    """Start the pager and connect stdout to it, and stderr if that is a terminal; return its process id, or None if there is no pager."""
    command = _command()
    if command is None:
        return None
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    environment = {"LESS": "FRX", "LV": "-c", **os.environ}
    actions = [(os.POSIX_SPAWN_DUP2, reading, 0)]
    defaults = [signal.SIGPIPE, signal.SIGINT]  # Python ignores SIGPIPE, which a child would inherit
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", command], environment, file_actions=actions, setsigdef=defaults)
    os.close(reading)
    os.dup2(writing, 1)
    if sys.stderr.isatty():
        os.dup2(writing, 2)
    os.close(writing)
    return pid


def wait(pid: int) -> None:
    """Close the pager's input and wait until the pager ends. Meanwhile, only the pager reacts to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.waitpid(pid, 0)


def is_longer_than_the_screen(text: bytes | bytearray) -> bool:
    """Return whether a text, with its long lines wrapped, has more lines than the terminal on stdout."""
    try:
        columns, lines = os.get_terminal_size(1)
    except OSError:
        return False
    if not lines or not columns:
        return False
    count = 0
    for line in text.split(b"\n"):
        count += 1 + max(0, len(line) - 1) // columns
        if count > lines:
            return True
    return False


def _command() -> str | None:
    for name in ("OCICAT_PAGER", "PAGER"):
        command = os.environ.get(name)
        if command is not None:
            command = command.strip()
            program = command.split(" ")[0]
            if command in ("", "cat"):
                return None
            # A missing pager would lose the output, so the program is looked up. A script for the shell cannot be checked.
            return command if _SPECIAL & set(program) or shutil.which(program) else None
    return next((program for program in ("less", "more") if shutil.which(program)), None)
