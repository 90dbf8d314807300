"""A blob that is open for reading, in a directory or in an archive, and the problems that a blob can have."""

from __future__ import annotations

import os
from typing import NamedTuple

from catalog.layout.member_stat import member_stat


class BlobProblem(Exception):
    """A blob that exists but cannot be read or trusted. `kind` is a problem of docs/problems.md."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class OpenBlob(NamedTuple):
    """A blob that is open for reading: a descriptor, which the caller closes, and its stat.

    Its bytes begin at offset `begin` of the open file. A member of an archive has the stat of the archive, but its own size.
    """

    descriptor: int
    stat: os.stat_result
    begin: int = 0

    def look(self) -> os.stat_result:
        """Return the current stat of the blob. Raises OSError."""
        found = os.fstat(self.descriptor)
        return member_stat(found, self.stat.st_size) if self.begin else found

    def read(self, size: int) -> bytes:
        """Return the first `size` bytes of the blob, or all if it has fewer. Raises OSError."""
        return read_at(self.descriptor, min(size, self.stat.st_size) if self.begin else size, self.begin)


def check_size(size: int, limit: int) -> None:
    """Raise BlobProblem for a manifest or config of more than `limit` bytes."""
    if size > limit:
        raise BlobProblem("large-manifest", f"has {size} bytes, more than the limit of {limit}")


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Return `size` bytes of an open file from `offset` on, or fewer at its end. Raises OSError."""
    pieces: list[bytes] = []
    while size > 0 and (piece := os.pread(descriptor, size, offset)):
        pieces.append(piece)
        size -= len(piece)
        offset += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
