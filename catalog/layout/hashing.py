"""Hash an open file of any size without reading its holes: a sparse file of terabytes may have no data on disk."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator

_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)
_BLOCK = 512  # the unit of st_blocks, whatever the block size of the file system


def file_identity(found: os.stat_result) -> str:
    """Return a text that changes when the contents of a file change, as far as its stat shows that."""
    return identity_of(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def identity_of(size: int, mtime_ns: int, ctime_ns: int, ino: int) -> str:
    """Return the same as `file_identity`, from the fields of a stat."""
    return f"{size}:{mtime_ns}:{ctime_ns}:{ino}"


def hash_blob(
    descriptor: int, algorithm: str, found: os.stat_result, each: Callable[[int], None], begin: int = 0
) -> str:
    """Return the hex digest of the first `found.st_size` bytes of an open file, or of all bytes if there are fewer.

    With `begin`, hash that many bytes from this offset on. `each` is called with the number of bytes of every piece; exceptions from it
    are passed on. Raises OSError.
    """
    size = found.st_size
    if size <= _CHUNK and found.st_blocks * _BLOCK >= size:  # the usual case; a search for holes would take as long
        piece = os.pread(descriptor, size, begin)
        if len(piece) == size:
            each(size)
            return hashlib.new(algorithm, piece).hexdigest()
    digest = hashlib.new(algorithm)
    for start, end, is_hole in _extents(descriptor, begin, begin + size):
        at = start
        while at < end:
            wanted = min(end - at, _CHUNK)
            piece = _ZEROS[:wanted] if is_hole else os.pread(descriptor, wanted, at)
            if not piece:
                return digest.hexdigest()
            digest.update(piece)
            at += len(piece)
            each(len(piece))
    return digest.hexdigest()


def hole_bytes(descriptor: int, found: os.stat_result, most: int, begin: int = 0) -> int:
    """Return how many bytes of an open file, or of the part that begins at `begin`, are in holes. Raises OSError.

    Counting stops above `most`. `found` is the stat of the file; if all its blocks are allocated, it has no holes.
    """
    if found.st_blocks * _BLOCK >= found.st_size:
        return 0
    count = 0
    for at, end, is_hole in _extents(descriptor, begin, begin + found.st_size):
        count += (end - at) * is_hole
        if count > most:
            break
    return count


def _extents(descriptor: int, at: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """Yield the extents of a file from `at` up to `size`, in order: begin, end, and whether the extent is a hole."""
    while at < size:
        try:
            data = min(os.lseek(descriptor, at, os.SEEK_DATA), size)
        except OSError as error:
            if error.errno != errno.ENXIO:  # the file system does not support SEEK_DATA
                yield at, size, False
                return
            data = size  # a hole up to `size`, or the file ends before `size`
            if at >= os.fstat(descriptor).st_size:
                return
        if data > at:
            yield at, data, True
        if data == size:
            return
        end = min(os.lseek(descriptor, data, os.SEEK_HOLE), size)
        yield data, end, False
        at = end
