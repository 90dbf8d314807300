"""What a process runs out of, and must not blame on what it was about to open."""

from __future__ import annotations

import errno

from catalog.errors import Exhausted

_MESSAGES = {
    errno.EMFILE: "no file descriptor is left for this process: raise its limit (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "no file descriptor is left on this machine: raise sysctl fs.file-max",
    errno.ENOMEM: "no memory is left: give this process more",
}

TOO_LARGE = "need more memory than there is: give this process more, and run 'ocicat index --full'"
"""The end of a problem of a store, after what is too large."""


def exhausted(code: int | None) -> Exhausted | None:
    """The error for an errno that says something of this process and nothing of the file; None for any other."""
    message = _MESSAGES.get(code or 0)
    return None if message is None else Exhausted(message)


def out_of_memory() -> Exhausted:
    """The error for a MemoryError that is nobody's fault."""
    return Exhausted(_MESSAGES[errno.ENOMEM])


_RESERVED = 16 << 20
_reserve: list[bytearray] = []


def reserve() -> None:
    """Keep some address space back, of which no page is used, for the way back from a MemoryError; none where there is none.

    Python up to 3.13 needs a few bytes to enter a `with` or `finally` on the way of an exception; where it does not get them
    it tries for ever.
    """
    if not _reserve:
        try:
            _reserve.append(bytearray(_RESERVED))
        except MemoryError:
            return


def give_back() -> None:
    """Let that be used: to be called as near as possible to where a MemoryError comes from."""
    _reserve.clear()


def refuse_exhausted(error: OSError) -> None:
    """Raise Exhausted where that is what `error` says."""
    found = exhausted(error.errno)
    if found is not None:
        raise found from error
