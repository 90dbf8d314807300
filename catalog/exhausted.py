"""Recognise errors which mean that this process or machine has run out of something, not that a file is bad."""

from __future__ import annotations

import errno

from catalog.errors import Exhausted

_MESSAGES = {
    errno.EMFILE: "no file descriptor is left for this process: raise its limit (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "no file descriptor is left on this machine: raise sysctl fs.file-max",
    errno.ENOMEM: "no memory is left: give this process more",
}

TOO_LARGE = "need more memory than there is: give this process more, and run 'ocicat index --full'"
"""The end of the text of a store's problem. The text begins with what is too large."""


def exhausted(code: int | None) -> Exhausted | None:
    """Return the error for an errno that is about this process or machine, not about a file; None for any other errno."""
    message = _MESSAGES.get(code or 0)
    return None if message is None else Exhausted(message)


def out_of_memory() -> Exhausted:
    """Return the error to raise instead of a MemoryError."""
    return Exhausted(_MESSAGES[errno.ENOMEM])


_RESERVED = 16 << 20
_reserve: list[bytearray] = []


def reserve() -> None:
    """Reserve some address space, without using its pages, for handling a later MemoryError. Does nothing if none is left.

    Python up to 3.13 needs a few bytes to enter a `with` or `finally` while an exception propagates. If it cannot allocate
    them, it retries for ever.
    """
    if not _reserve:
        try:
            _reserve.append(bytearray(_RESERVED))
        except MemoryError:
            return


def give_back() -> None:
    """Release the reserve. Call this as close as possible to where a MemoryError is raised."""
    _reserve.clear()


def refuse_exhausted(error: OSError) -> None:
    """Raise Exhausted if `error` means that this process or machine has run out of something; else do nothing."""
    found = exhausted(error.errno)
    if found is not None:
        raise found from error
