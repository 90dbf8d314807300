"""Find the layouts at and below a directory (docs/resolution.md).

A layout is a directory with `oci-layout`, or with `index.json` and `blobs/`. (The image-spec, image-layout.md, requires
all three, but interrupted writers leave fewer.) The file type of `index.json` does not matter here: a FIFO of that name
makes a broken layout, which should be reported, not ignored. The search also enters layouts, because `a` and `a/b` can
both be repositories, but never `blobs`, hidden directories or symbolic links.
"""

from __future__ import annotations

import functools
import os
import stat
import time
from collections.abc import Callable, Container, Iterator
from typing import NamedTuple

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import ARCHIVE_NAMES, MARK, Found, Parents, open_directory, plain

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TICK_NS = 2_000_000_000  # the coarsest clock of any file system (FAT)

_Identity = tuple[int, int, int, int]


class Listing(NamedTuple):
    """The contents of a directory: whether it is a layout, the subdirectories to search, and the files named like archives."""

    is_layout: bool
    below: list[str]
    archives: list[str]


class Listings:
    """A cache of directory listings, for searches that are repeated.

    The times in the stat of a directory show whether a file in it was added or removed, without a listing. A directory
    that had just changed when it was listed may have changed again within the same tick of the clock, so it is not cached
    (git's racy rule). A file system may not update these times, so callers list everything again from time to time
    (`begin(anew=True)`).
    """

    def __init__(self) -> None:
        self._before: dict[str, tuple[_Identity, Listing]] = {}
        self._now: dict[str, tuple[_Identity, Listing]] = {}

    def begin(self, *, anew: bool = False) -> None:
        """Begin a search. Directories that the previous search did not visit are forgotten; with `anew`, all are."""
        self._before, self._now = {} if anew else self._now, {}

    def get(self, path: str, look: Callable[[], os.stat_result]) -> Listing | None:
        """Return the cached listing of the directory, or None if it must be listed.

        `look` returns the stat of the directory or raises OSError.
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
        return known[1]

    def put(self, path: str, found: os.stat_result, at: int, layout: bool, below: list[str]) -> None:
        """Store a listing. `found` is the stat of the directory before it was listed, at time `at` in nanoseconds."""
        if abs(at - max(found.st_mtime_ns, found.st_ctime_ns)) > _TICK_NS:
            self._now[path] = (_identity(found), Listing(layout, below, []))

    def put_archives(self, path: str, archives: list[str]) -> None:
        """Add the files that are named like archives to the listing of a directory, if that is cached."""
        if archives and path in self._now:
            identity, listing = self._now[path]
            self._now[path] = (identity, listing._replace(archives=archives))


def is_layout(path: str, *, archives: bool = False) -> bool:
    """Return whether the directory `path` is a layout; False if it cannot be opened. Raises Exhausted, but never OSError.

    With `archives`, also return True for a tar archive with a layout.

    In a path from `catalog.layout.beneath.opened_path`, only the registered part may be a link. Any other path may be a
    link or lead through one.
    """
    try:
        directory = open_directory(path if MARK in path else f"{path}/.")
    except NotADirectoryError:
        return archives and _is_archive(path if MARK in path else f"{path}/.")
    except OSError as error:
        refuse_exhausted(error)
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
    *,
    passed_over: Container[str] = (),
    archives: bool = False,
) -> Iterator[str]:
    """Yield the absolute paths of all layouts at or below `root`, each before those inside it, ordered by name.

    Paths that are not UTF-8 contain surrogate escapes. `on_error` is called with the path of a directory that cannot be
    read or that has disappeared since its parent was read, and the search continues. `root` itself may be hidden or a
    symbolic link; it may also be a path from `catalog.layout.beneath.opened_path`. `on_directory` is called before each
    directory is read, because there may be many without a layout. With `listings`, unchanged directories are not listed
    again. Layouts in `known` are not listed either if `blobs` is the only directory in them. Directories below `root` that are in
    `passed_over` are neither yielded nor read.

    With `archives`, also yield tar archives of layouts whose names have one of the suffixes in ARCHIVE_NAMES. Those in `known` are
    yielded without reading them. Raises Exhausted.
    """
    opened = root if MARK in root else f"{os.path.abspath(root)}/."
    # For each directory on the way down: its path with a slash, the path for opening it, and the names in it that are still
    # to be visited, in reverse order.
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
                listing = before
            elif not archives and path in known and _is_leaf(parents, where):
                listing = Listing(True, [], [])
            else:
                listing = _look(path, where, parents, on_error, listings)
            if listing.is_layout:
                yield path
            if archives:
                for name in sorted(listing.archives):
                    file = f"{path.rstrip('/')}/{name}"
                    if file in known or _is_archive(f"{where}/{name}"):
                        yield file
            if listing.below:
                inside = f"{path.rstrip('/')}/"
                below = [name for name in listing.below if inside + name not in passed_over]
                pending.append((inside, where, sorted(below, reverse=True)))


def holds_blobs_alone(found: Found, *, blobs: bool = False) -> bool:
    """Return whether `blobs` is the only directory in this directory, judging by its link count.

    This takes two stats instead of a listing; listings were half the cost of a pass over 10,000 unchanged stores. Returns
    False on file systems that do not count subdirectories as links (btrfs reports 1). Pass `blobs=True` if the directory is
    known to contain a directory `blobs`.
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
) -> Listing:
    """List the directory. If it cannot be read, call `on_error` and return what was found until then."""
    marker = index = blobs = False
    below: list[str] = []
    archives: list[str] = []
    try:
        # This follows no link: the directory may have been replaced by one since its parent was read.
        directory = parents.open(where, _DIRECTORY)
    except OSError as error:
        refuse_exhausted(error)
        on_error(path, error)
        return Listing(False, [], [])
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
                elif name.endswith(ARCHIVE_NAMES) and not name.startswith(".") and entry.is_file(follow_symlinks=False):
                    archives.append(name)
        complete = True
    except OSError as error:
        refuse_exhausted(error)
        on_error(path, error)
    finally:
        os.close(directory)
    listing = Listing(marker or (index and blobs), below, archives)
    if listings is not None and complete:
        listings.put(path, before, at, listing.is_layout, below)
        listings.put_archives(path, archives)
    return listing


def _is_archive(opened: str) -> bool:
    from catalog.layout.archive import is_archive  # This loads hashlib, which a search without archives does not need.

    return is_archive(opened)


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _mode(directory: int, name: str) -> int:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except OSError:
        return 0
