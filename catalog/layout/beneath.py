"""Open directories below a registered one without following symbolic links on the way.

Anyone who may write below a root can replace any directory there with a link at any moment. Only the registered path
itself (a root, or a store that was added by its path) may be a link, because an operator chose it. So a path has two
parts, `TOP/./REST`. TOP is opened like any path. Each component of REST is opened relative to the one before, without
following links. `/.` at the end means that the last component is a registered path too, so a link there is followed.

A few components are opened one by one. Many are opened with one openat2(2) if the kernel has it, so that the cost of
opening a store does not grow with its depth. The caller trusts a path without `/./`, except for its last component.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
import struct
from collections.abc import Container
from typing import NamedTuple, Self

from catalog.exhausted import refuse_exhausted

_SEARCH = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC  # works on a directory that may be searched but not listed
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
MARK = "/./"
ARCHIVE_NAMES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
"""The suffixes of files that may be archives. Only roots that are registered for archives are searched for them."""
_FEW = 4
"""Up to this many components are opened one by one, which takes less time than loading ctypes."""

_MOST_EXPLAINED = 64
_PATH_MAX = 4095
_OPENAT2 = 437
_RESOLVE_NO_XDEV, _RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x01, 0x02, 0x04, 0x08


@functools.lru_cache(maxsize=8)  # A pass calls this several times for one store.
def opened_path(path: str, root: str | None = None, *, follow: bool) -> str:
    """Return the path for opening the directory `path`, which is at or below the registered `root`, if given.

    With `follow`, a symbolic link at `path` itself is followed.
    """
    end = "/." if follow else ""
    if root is None or path == root:
        return path + end
    return f"{root.rstrip('/')}{MARK}{path[len(root) :].lstrip('/')}{end}"


def plain(opened: str) -> str:
    """Return the path as it is registered and shown, without the marks of `opened_path`."""
    return opened.removesuffix("/.").replace(MARK, "/", 1) or "/"


def open_directory(opened: str, flags: int = _SEARCH) -> int:
    """Open a directory, given a path from `opened_path`, and return its descriptor, by default O_PATH.

    Raises OSError, which is ENOTDIR or ELOOP if a component that must not be a symbolic link is one.
    """
    top, names, name, follow = _parts(opened)
    if name is None:
        return os.open(top, flags if follow else flags | os.O_NOFOLLOW)
    return _step(_descend(os.open(top, _SEARCH), names), name, flags if follow else flags | os.O_NOFOLLOW)


def open_below(directory: int, name: str, flags: int = _SEARCH) -> int:
    """Open the directory `name` in an open directory without following a link, by default as O_PATH. Raises OSError."""
    return os.open(name, flags | os.O_NOFOLLOW, dir_fd=directory)


def open_on_mount(directory: int, path: str) -> int:
    """Open the directory `path` as O_PATH, following links, but without entering another mount, where it could hang.

    Returns -1 if it cannot be opened like that. Raises Exhausted.
    """
    try:
        return _openat2(directory, path, _RESOLVE_NO_XDEV | _RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        refuse_exhausted(error)
        return -1


def stat_directory(opened: str) -> os.stat_result:
    """Return the stat of the file at a path that `open_directory` takes. It need not be a directory. Raises OSError."""
    top, names, name, follow = _parts(opened)
    if name is None:
        return os.stat(top, follow_symlinks=follow)
    above = _descend(os.open(top, _SEARCH), names)
    try:
        return os.stat(name, dir_fd=above, follow_symlinks=follow)
    finally:
        os.close(above)


def stat_file(opened: str) -> os.stat_result:
    """Return the stat of the directory or file at a path from `opened_path`. Raises OSError."""
    top, names, name, follow = _parts(opened)
    if name is None:
        return os.stat(top.removesuffix("/.") or "/", follow_symlinks=follow)
    above = _descend(os.open(top, _SEARCH), names)
    try:
        return os.stat(name, dir_fd=above, follow_symlinks=follow)
    finally:
        os.close(above)


def open_file(opened: str) -> int:
    """Open the regular file at a path from `opened_path` for reading, without blocking, and return its descriptor. Raises OSError."""
    top, names, name, follow = _parts(opened)
    flags = _READ if follow else _READ | os.O_NOFOLLOW
    if name is None:
        return os.open(top.removesuffix("/.") or "/", flags)
    return _step(_descend(os.open(top, _SEARCH), names), name, flags)


def leads_out(opened: str) -> bool:
    """Return whether a directory between the registered one and this one is a symbolic link now.

    This is for messages, so it checks only the first 64 directories. Never raises OSError.
    """
    top, names, name, _ = _parts(opened)
    if name is None:
        return False
    try:
        directory = os.open(top, _SEARCH)
    except OSError:
        return False
    try:
        for name in names[:_MOST_EXPLAINED]:
            if stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                return True
            above, directory = directory, -1
            directory = _step(above, name, _SEARCH | os.O_NOFOLLOW)
    except OSError:
        return False
    finally:
        if directory >= 0:
            os.close(directory)
    return False


def opened_below(path: str, roots: Container[str]) -> str | None:
    """Return the path for opening a directory at or below one of `roots`, or None if it is not below any of them.

    The deepest root counts, and links below it are not followed.
    """
    root = path
    while root not in roots:
        above = os.path.dirname(root)
        if above == root:
            return None
        root = above
    return opened_path(path, root, follow=path == root)


class Found(NamedTuple):
    """A directory that is open for searching, and its stat; or only the stat of a regular file, which may be an archive."""

    directory: int
    stat: os.stat_result

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.directory < 0

    def look(self, name: str) -> os.stat_result:
        """Return the stat of `name` in the directory, without following a link. Raises OSError."""
        return os.stat(name, dir_fd=self.directory, follow_symlinks=False)


class Parents:
    """Opens directories, and keeps the parent of the last one open, because siblings usually follow.

    This is a context manager for one search or pass. If the parent is renamed meanwhile, the open one is still used.
    """

    def __init__(self) -> None:
        self._path = ""
        self._directory = -1
        self._found = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._close_found()

    def open(self, opened: str, flags: int = _SEARCH) -> int:
        """Do what `open_directory` does."""
        above, _, name = opened.rpartition("/")
        if name == "." or MARK not in opened:
            return open_directory(opened, flags)
        _check_length(opened)
        return open_below(self.directory(above), name, flags)

    def stat(self, opened: str) -> os.stat_result:
        """Do what `stat_directory` does."""
        above, _, name = opened.rpartition("/")
        if name == "." or MARK not in opened:
            return stat_directory(opened)
        return os.stat(name, dir_fd=self.directory(above), follow_symlinks=False)

    def find(self, opened: str) -> Found | None:
        """Return the directory or regular file at a path, or None if there is neither. The result is valid until the next call.

        Raises Exhausted.
        """
        above, _, name = opened.rpartition("/")
        self._close_found()
        try:
            if name == "." or MARK not in opened:
                directory = self.directory(opened)
            else:
                _check_length(opened)
                directory = self._found = open_below(self.directory(above), name)
            return Found(directory, os.fstat(directory))
        except NotADirectoryError:
            return self._file(opened)
        except OSError as error:
            refuse_exhausted(error)
            return None

    def _file(self, opened: str) -> Found | None:
        is_alone = opened.endswith("/.") or MARK not in opened
        try:
            found = stat_file(opened) if is_alone else self.stat(opened)
        except OSError as error:
            refuse_exhausted(error)
            return None
        return Found(-1, found) if stat.S_ISREG(found.st_mode) else None

    def directory(self, opened: str) -> int:
        """Return a descriptor of the directory, which the caller must not close. Raises OSError."""
        if opened != self._path or self._directory < 0:
            above, _, name = opened.rpartition("/")
            if self._directory >= 0 and above == self._path and name != "." and MARK in opened:
                directory = open_below(self._directory, name)
            else:
                directory = open_directory(opened)
            self._close()
            self._directory, self._path = directory, opened
        return self._directory

    def _close(self) -> None:
        directory, self._directory = self._directory, -1
        if directory >= 0:
            os.close(directory)

    def _close_found(self) -> None:
        directory, self._found = self._found, -1
        if directory >= 0:
            os.close(directory)


def _check_length(opened: str) -> None:
    """Raise OSError for a path that is longer than the kernel accepts: no other program could open a layout there."""
    if len(opened) > _PATH_MAX // 4 and len(os.fsencode(plain(opened))) > _PATH_MAX:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), plain(opened))


def _parts(opened: str) -> tuple[str, list[str], str | None, bool]:
    """Split a path into the path to open first, the names below it, the last name or None, and whether to follow a link there.

    Raises OSError if the path is too long.
    """
    _check_length(opened)
    top, mark, rest = opened.partition(MARK)
    if not mark:
        # A trailing slash would make the kernel follow a link.
        return (opened, [], None, True) if opened.endswith("/.") else (opened.rstrip("/") or "/", [], None, False)
    follow = rest.endswith("/.")
    *names, name = (rest[:-2] if follow else rest).split("/")
    return f"{top}/.", names, name, follow


def _descend(directory: int, names: list[str]) -> int:
    """Open the directories `names`, each in the one before, beginning in `directory`, and return the last one. Closes the others.

    Raises OSError.
    """
    if len(names) > _FEW:
        try:
            found = _openat2(directory, "/".join(names), _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH)
        except BaseException:
            os.close(directory)
            raise
        if found >= 0:
            os.close(directory)
            return found
    for name in names:
        directory = _step(directory, name, _SEARCH | os.O_NOFOLLOW)
    return directory


def _step(directory: int, name: str, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=directory)
    finally:
        os.close(directory)


def _openat2(directory: int, path: str, resolve: int) -> int:
    """Open `path` with openat2(2). Returns -1 if the kernel or a system call filter does not allow it. Raises OSError."""
    import ctypes

    how = struct.pack("QQQ", _SEARCH, 0, resolve)
    libc = ctypes.CDLL(None, use_errno=True)
    found: int = libc.syscall(
        ctypes.c_long(_OPENAT2),
        ctypes.c_int(directory),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.c_char_p(how),
        ctypes.c_size_t(len(how)),
    )
    if found >= 0:
        return found
    error = ctypes.get_errno()
    if error in (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG, errno.EAGAIN, errno.EINTR, errno.ENAMETOOLONG):
        return -1
    raise OSError(error, os.strerror(error), path)
