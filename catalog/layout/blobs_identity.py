"""Detect whether blobs of a store were added or removed, without listing them."""

from __future__ import annotations

import os
import stat
import time

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import Found, Parents, open_below, open_directory

ALGORITHMS = ("sha256", "sha384", "sha512", "blake3")
"""The digest algorithms whose directories are checked, and listed first."""
_TICK_NS = 2_000_000_000


def blobs_identity(store_path: str, shared: str | None = None, at: Found | None = None) -> str:
    """Return a text that changes if a blob with one of ALGORITHMS is added or removed: inodes and mtimes of directories.

    For an archive, the text consists of its inode, size and times.

    A directory that has just changed may change again within the same tick of its file system's clock (git's racy rule;
    FAT has ticks of two seconds). Until that tick is over, each call returns a different text. The cost is one stat per
    algorithm, or per existing directory if the file system counts subdirectories as links. Raises Exhausted, but never
    OSError. `store_path` is a path from `catalog.layout.beneath.opened_path`; `at` is the result of `Parents.find`, if known.
    """
    if at is not None:
        return _identity(at, shared)
    with Parents() as parents:
        return _identity(parents.find(store_path), shared)


def _identity(at: Found | None, shared: str | None) -> str:
    pieces: list[str] = []
    now = time.time_ns()
    racy = False
    if at is not None and at.is_file:
        # An archive. Its stat changes whenever something is added to it, and has to settle like that of index.json.
        found = at.stat
        pieces.append(f"tar:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}")
    elif at is not None:
        try:
            directory = open_below(at.directory, "blobs")
        except OSError as error:
            refuse_exhausted(error)
            pieces += _not_a_directory(at)
        else:
            racy = _identify(pieces, directory, now)
    if shared:
        try:
            directory = open_directory(f"{shared}/.")
        except OSError as error:
            refuse_exhausted(error)
        else:
            racy = _identify(pieces, directory, now) or racy
    return " ".join([*pieces, f"racy:{now}"] if racy else pieces)


def _not_a_directory(at: Found) -> list[str]:
    """Return the identity of a file named `blobs` that is not a directory; an empty list if there is none.

    A link is not followed. If it is replaced, other stores may find that their blobs are shared.
    """
    try:
        found = at.look("blobs")
    except OSError as error:
        refuse_exhausted(error)
        return []
    return [] if stat.S_ISDIR(found.st_mode) else [f"link:{found.st_ino}:{found.st_mtime_ns}"]


def _identify(pieces: list[str], directory: int, now: int) -> bool:
    """Append the identity of an open blob directory to `pieces`, and close it. Return whether it changed just before `now`."""
    try:
        found = os.fstat(directory)
        changed = found.st_mtime_ns
        pieces.append(f".:{found.st_ino}:{changed}")
        racy = abs(now - changed) < _TICK_NS
        left = found.st_nlink - 2  # Some file systems report 1 or 2 for every directory.
        for name in ALGORITHMS:
            try:
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except OSError as error:
                refuse_exhausted(error)
                continue
            changed = found.st_mtime_ns
            pieces.append(f"{name}:{found.st_ino}:{changed}")
            racy = racy or abs(now - changed) < _TICK_NS
            if stat.S_ISDIR(found.st_mode):
                left -= 1
                if left == 0:
                    break
        return racy
    finally:
        os.close(directory)
