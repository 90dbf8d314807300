"""Finds the layouts at and below a directory (resolution.md section 10).

A layout is a directory with `oci-layout`, or with `index.json` and `blobs/` (image-spec, image-layout.md, asks for all
three; writers that were interrupted leave less). What type `index.json` is of does not matter here: a FIFO under that name
is a broken layout, to be reported and not overlooked. `a` and `a/b` can both be repositories, so the search goes into
layouts too; never into `blobs`, hidden directories or symbolic links.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from catalog.names.exhausted import refuse_exhausted

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def is_layout(path: str) -> bool:
    """Whether the directory `path` is a layout. One that cannot be looked into is none; never raises OSError."""
    marker = _mode(f"{path}/oci-layout")
    if marker and not stat.S_ISDIR(marker):
        return True
    return _mode(f"{path}/index.json") != 0 and stat.S_ISDIR(_mode(f"{path}/blobs"))


def discover(
    root: str, on_error: Callable[[str, OSError], None], on_directory: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """The absolute paths of all layouts at or below `root`, a layout before those in it, in the order of their names.

    Paths that are not UTF-8 come with surrogate escapes. A directory that cannot be read, or is gone since its parent
    was read, goes to `on_error` with its path, and the search goes on. `root` itself may be hidden or a symbolic link.
    `on_directory` is called before each directory is read: there may be many without a layout. Raises Exhausted.
    """
    root = os.path.abspath(root)
    # For each directory on the way down, its path with a slash and the names in it that are still to come, last first.
    pending = [("", [root])]
    flags = _DIRECTORY
    while pending:
        parent, names = pending[-1]
        if not names:
            pending.pop()
            continue
        path = parent + names.pop()
        on_directory()
        layout, below = _look(path, flags, on_error)
        flags = _DIRECTORY | os.O_NOFOLLOW  # it may have become a symbolic link since its parent was read
        if layout:
            yield path
        if below:
            below.sort(reverse=True)
            pending.append((f"{path.rstrip('/')}/", below))


def _look(path: str, flags: int, on_error: Callable[[str, OSError], None]) -> tuple[bool, list[str]]:
    """Whether the directory is a layout, and the names of the directories in it that may hold others."""
    marker = index = blobs = False
    below: list[str] = []
    try:
        directory = os.open(path, flags)
    except OSError as error:
        refuse_exhausted(error)
        on_error(path, error)
        return False, below
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                is_directory = entry.is_dir(follow_symlinks=False)
                if name == "oci-layout":
                    marker = not is_directory
                elif name == "index.json":
                    index = True
                if is_directory:
                    if name == "blobs":
                        blobs = True
                    elif not name.startswith("."):
                        below.append(name)
    except OSError as error:
        refuse_exhausted(error)
        on_error(path, error)
    finally:
        os.close(directory)
    return marker or (index and blobs), below


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0
