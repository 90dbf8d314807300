"""What a process runs out of, and must not blame on what it was about to open."""

from __future__ import annotations

import errno

from catalog.errors import Exhausted

_MESSAGES = {
    errno.EMFILE: "no file descriptor is left for this process: raise its limit (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "no file descriptor is left on this machine: raise sysctl fs.file-max",
    errno.ENOMEM: "no memory is left: give this process more",
}


def exhausted(code: int | None) -> Exhausted | None:
    """The error for an errno that says something of this process and nothing of the file; None for any other."""
    message = _MESSAGES.get(code or 0)
    return None if message is None else Exhausted(message)


def refuse_exhausted(error: OSError) -> None:
    """Raise Exhausted where that is what `error` says."""
    found = exhausted(error.errno)
    if found is not None:
        raise found from error
