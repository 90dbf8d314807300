"""Finds the layouts at and below a directory (docs/resolution.md).

A layout is a directory with `oci-layout`, or with `index.json` and `blobs/` (image-spec, image-layout.md, asks for all
three; writers that were interrupted leave less). What type `index.json` is of does not matter here: a FIFO under that name
is a broken layout, to be reported and not overlooked. `a` and `a/b` can both be repositories, so the search goes into
layouts too; never into `blobs`, hidden directories or symbolic links.
"""

from __future__ import annotations

import functools
import os
import stat
import time
from collections.abc import Callable, Container, Iterator

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import MARK, Found, Parents, open_directory, plain

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TICK_NS = 2_000_000_000  # no clock of a file system is coarser

_Identity = tuple[int, int, int, int]


class Listings:
    """What directories held when they were last listed, for who searches the same ones again and again.

    A directory's times tell whether something came or went in it, at one stat instead of a listing. One that had only
    just changed when it was listed may have changed again within the same tick of the clock, so it is listed again
    (git's racy rule). File systems may exist whose directories keep their times: so all are listed anew now and then.
    """

    def __init__(self) -> None:
        self._before: dict[str, tuple[_Identity, bool, list[str]]] = {}
        self._now: dict[str, tuple[_Identity, bool, list[str]]] = {}

    def begin(self, *, anew: bool = False) -> None:
        """A search of everything begins: what the one before did not come to is forgotten; with `anew`, all of it."""
        self._before, self._now = {} if anew else self._now, {}

    def get(self, path: str, look: Callable[[], os.stat_result]) -> tuple[bool, list[str]] | None:
        """Whether the directory is a layout, and what is to be searched in it; None where it has to be listed.

        `look` gives its stat, or raises OSError.
        """
        known = self._before.get(path)
        if known is None:
            return None
        try:
            found = look()
        except OSError:
            return None
        if _identity(found) != known[0]:
            return None
        self._now[path] = known
        return known[1], known[2]

    def put(self, path: str, found: os.stat_result, at: int, layout: bool, below: list[str]) -> None:
        """Keep what was listed; `found` is what the directory was at the time `at`, before that."""
        if abs(at - max(found.st_mtime_ns, found.st_ctime_ns)) > _TICK_NS:
            self._now[path] = (_identity(found), layout, below)


def is_layout(path: str) -> bool:
    """Whether the directory `path` is a layout. One that cannot be looked into is none; never raises OSError.

    A path of `catalog.layout.beneath.opened_path` is opened as that says; any other may be, or lead through, a link.
    """
    try:
        directory = open_directory(path if MARK in path else f"{path}/.")
    except OSError:
        return False
    try:
        marker = _mode(directory, "oci-layout")
        if marker and not stat.S_ISDIR(marker):
            return True
        return _mode(directory, "index.json") != 0 and stat.S_ISDIR(_mode(directory, "blobs"))
    finally:
        os.close(directory)


def discover(
    root: str,
    on_error: Callable[[str, OSError], None],
    on_directory: Callable[[], None] = lambda: None,
    listings: Listings | None = None,
    known: Container[str] = (),
    is_leaf: Callable[[str], bool] | None = None,
) -> Iterator[str]:
    """The absolute paths of all layouts at or below `root`, a layout before those in it, in the order of their names.

    Paths that are not UTF-8 come with surrogate escapes. A directory that cannot be read, or is gone since its parent
    was read, goes to `on_error` with its path, and the search goes on. `root` itself may be hidden or a symbolic link.
    `on_directory` is called before each directory is read: there may be many without a layout. With `listings` those that
    did not change since are not listed again; nor are layouts among `known` that hold `blobs` and no other directory
    (`is_leaf`, where that was looked at before). A `root` of `catalog.layout.beneath.opened_path` is opened as that says.
    Raises Exhausted.
    """
    opened = root if MARK in root else f"{os.path.abspath(root)}/."
    # For each directory on the way down, its path with a slash, the path to open it by, and the names in it that are still
    # to come, last first.
    pending = [("", "", [plain(opened)])]
    with Parents() as parents:
        while pending:
            prefix, above, names = pending[-1]
            if not names:
                pending.pop()
                continue
            name = names.pop()
            path, where = prefix + name, f"{above}/{name}" if above else opened
            on_directory()
            before = None if listings is None else listings.get(path, functools.partial(parents.stat, where))
            if before is not None:
                layout, below = before
            elif path in known and (_is_leaf(parents, where) if is_leaf is None else is_leaf(path)):
                layout, below = True, []
            else:
                layout, below = _look(path, where, parents, on_error, listings)
            if layout:
                yield path
            if below:
                pending.append((f"{path.rstrip('/')}/", where, sorted(below, reverse=True)))


def holds_blobs_alone(found: Found, *, blobs: bool = False) -> bool:
    """Whether there is nothing to search in a directory: where links count the directories in it, `blobs` is the only one.

    Two stats for a listing, which was half of a pass over 10,000 stores that did not change. Where a file system counts no links
    (btrfs has 1), the answer is no. `blobs` says that it is known to hold a directory `blobs`.
    """
    if found.stat.st_nlink != 3:
        return False
    try:
        return blobs or stat.S_ISDIR(found.look("blobs").st_mode)
    except OSError:
        return False


def _is_leaf(parents: Parents, where: str) -> bool:
    found = parents.find(where)
    return found is not None and holds_blobs_alone(found)


def _look(
    path: str, where: str, parents: Parents, on_error: Callable[[str, OSError], None], listings: Listings | None
) -> tuple[bool, list[str]]:
    """Whether the directory is a layout, and the names of the directories in it that may hold others."""
    marker = index = blobs = False
    below: list[str] = []
    try:
        # Not through a link: it may have become one since its parent was read.
        directory = parents.open(where, _DIRECTORY)
    except OSError as error:
        refuse_exhausted(error)
        on_error(path, error)
        return False, below
    complete = False
    at = time.time_ns()
    try:
        before = os.fstat(directory)
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
        complete = True
    except OSError as error:
        refuse_exhausted(error)
        on_error(path, error)
    finally:
        os.close(directory)
    layout = marker or (index and blobs)
    if listings is not None and complete:
        listings.put(path, before, at, layout, below)
    return layout, below


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _mode(directory: int, name: str) -> int:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except OSError:
        return 0
