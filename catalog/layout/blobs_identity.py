"""Whether blobs of a store were added or removed, without listing them."""

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

    That of an archive is its own inode, size and times.

    A directory that has only just changed may change again within the same tick of its file system's clock (git's racy
    rule; FAT has ticks of two seconds). Until that has passed, each call returns another text. Costs a stat for each
    directory, and no more than exist if the file system counts subdirectories as links. Never raises OSError,
    but Exhausted.
    `store_path` is a path from `catalog.layout.beneath.opened_path`; `at` is what was just found there, if anything was.
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
        # An archive. Nothing is added to it without a change of its own stat, which has to settle, as index.json has.
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
    """Return the identity of what is called `blobs` and is not a directory, if anything is.

    A link is not followed. If it is replaced, other stores may find their blobs shared.
    """
    try:
        found = at.look("blobs")
    except OSError as error:
        refuse_exhausted(error)
        return []
    return [] if stat.S_ISDIR(found.st_mode) else [f"link:{found.st_ino}:{found.st_mtime_ns}"]


def _identify(pieces: list[str], directory: int, now: int) -> bool:
    """Add the identity of an open directory of blobs to `pieces`, and close it; return whether it changed just before `now`."""
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
