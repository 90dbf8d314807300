"""Open the files of an untrusted store safely, and detect whether they changed while they were read.

A file in a store may be a FIFO that blocks forever, a device, or a symbolic link to somewhere else, or may become one at
any moment. So a file is checked with stat first and opened only if it is a regular file, relative to its directory,
without following links and without blocking. Then it is checked again. catalog.layout.beneath opens the directory.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import ARCHIVE_NAMES, Found, leads_out, open_directory, plain, stat_directory, stat_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.layout.archive import Archive
    from catalog.layout.list_limits import ListLimits

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_IN_MOTION = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EAGAIN)
"""Errors of open for a name that was a regular file a moment ago. It is now absent, a link, a socket, or under a lease."""

_HEADER_BYTES = 512
ROOM = "more than is kept of a compressed archive: decompress it"
"""The end of the message about a file in a compressed archive that is too large to be kept."""

_TYPES = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


_IDENTITY = "%d:%d:%d:%d:%d"  # A third faster than an f-string, and each pass needs it for every store.


class FileState(NamedTuple):
    """The fields of a file's stat that identify its contents. `size` is in bytes."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def identity(self) -> str:
        """All fields as one text, as the catalog stores it. As long as it stays equal, the contents have not changed."""
        return _IDENTITY % self

    @property
    def list_bytes(self) -> int:
        """The size of `index.json` in bytes; 0 if the stat does not show it."""
        return self.size


class ArchiveState(FileState):
    """The stat of an archive that contains `index.json`: any change of the archive may be a change of its index.json."""

    __slots__ = ()

    @property
    def list_bytes(self) -> int:
        """0, because the size of `index.json` is not known before the archive is read."""
        return 0


class IndexProblem(Exception):
    """A store cannot be read. `state` is "invalid", "unreadable" or "missing" (docs/resolution.md)."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason
        self.file: FileState | None = None
        """The state of the unusable file that was read, or None if no file was read."""


class CompressedArchive(IndexProblem):
    """The store is a compressed archive, and the caller did not ask for inflating it."""

    def __init__(self, how: str) -> None:
        super().__init__(
            "unreadable", f"is in an archive compressed with {how}, whose blobs are not read: decompress it"
        )


class NoArchive(IndexProblem):
    """The file at the path of a store does not even begin like a tar archive, so the store counts as missing."""

    def __init__(self) -> None:
        super().__init__("missing", "the directory has become a file, which is not a tar archive")


class IndexChanged(Exception):
    """The file changed while it was read, so somebody is writing it. Discard the data, and read the file again later."""


def identity_of(found: os.stat_result) -> str:
    """Return `FileState.identity` of a regular file, given its stat."""
    return _IDENTITY % (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def file_type(found: os.stat_result) -> str:
    """Return the type of a file in words, given its stat: "a FIFO"."""
    return (
        "a regular file" if stat.S_ISREG(found.st_mode) else _TYPES.get(stat.S_IFMT(found.st_mode), "an unknown file")
    )


def lstat(path: str) -> os.stat_result | None:
    """Return the lstat of `path`, or None if that fails for any reason. Never raises OSError."""
    try:
        return os.lstat(path)
    except OSError:
        return None


def stat_index(store_path: str, at: Found | None = None) -> FileState:
    """Return the state of the store's `index.json` without opening it. Raises IndexProblem as `read_index` does.

    `store_path` is a path from `catalog.layout.beneath.opened_path`; `at` is the directory or archive there, if it was just found.
    """
    own = -1
    try:
        if at is not None:
            if at.is_file:
                if (archive := _of_archive(store_path, at.stat)) is None:
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                return archive
            found = at.look("index.json")
        else:
            own = open_directory(store_path)
            found = os.stat("index.json", dir_fd=own, follow_symlinks=False)
    except OSError as error:
        if at is None and (archive := _archive_state(store_path, error)) is not None:
            return archive
        raise _no_file(store_path, "index.json", error) from None
    finally:
        if own >= 0:
            os.close(own)
    if not stat.S_ISREG(found.st_mode):
        raise _not_regular("index.json", found)
    return _state(found)


def is_file(store_path: str) -> bool:
    """Return whether there is a regular file at the path of a store, which is an archive or unusable. Raises Exhausted."""
    try:
        return stat.S_ISREG(stat_file(store_path).st_mode)
    except OSError as error:
        refuse_exhausted(error)
        return False


def _archive_state(store_path: str, error: OSError) -> ArchiveState | None:
    """Return the state of the file at the path of a store, or None if no file is there that may be an archive.

    `error` is the error from opening the path as a directory. Raises Exhausted.
    """
    if error.errno != errno.ENOTDIR:
        return None
    try:
        found = stat_file(store_path)
    except OSError as gone:
        refuse_exhausted(gone)
        return None
    return _of_archive(store_path, found)


def _of_archive(store_path: str, found: os.stat_result) -> ArchiveState | None:
    """Return the state of the file at the path of a store if it may be an archive, else None.

    An empty file counts as an archive only if it is named like one.
    """
    if not stat.S_ISREG(found.st_mode) or not (found.st_size or plain(store_path).endswith(ARCHIVE_NAMES)):
        return None
    return ArchiveState(*_state(found))


class StoreFile:
    """A regular file in the directory of a store, or in its archive, open for reading.

    `state` is the state of the file, or of the archive, when it was opened. `size` is the size of the file itself, in bytes. Opening
    raises IndexProblem, and IndexChanged if the file is being replaced at this moment. A compressed archive is only inflated with
    `limits`; exceptions from `pause`, which is called meanwhile, are passed on.
    """

    def __init__(
        self,
        store_path: str,
        name: str,
        limits: ListLimits | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._limits, self._pause = limits, pause
        self._data: bytes | None = None  # set for a file in a compressed archive
        self._file = self._directory = -1
        self._begin = 0
        self._archive = ""  # the path of the archive, for a file in an archive
        self._size: int | None = None  # set for a file in an archive
        try:
            self.state = self._open(store_path)
        except BaseException:
            self.close()
            raise

    def _open(self, store_path: str) -> FileState:
        try:
            self._directory = open_directory(store_path)
        except OSError as error:
            if _archive_state(store_path, error) is not None:
                return self._open_in_archive(store_path)
            raise _no_file(store_path, self.name, error) from None
        try:
            before = os.stat(self.name, dir_fd=self._directory, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise IndexProblem("invalid", f"no {self.name}") from None
            raise _unreadable(self.name, error) from None
        if not stat.S_ISREG(before.st_mode):
            raise _not_regular(self.name, before)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._file = os.open(self.name, flags, dir_fd=self._directory)
        except OSError as error:
            if error.errno in _IN_MOTION:
                raise IndexChanged(f"{self.name} is being replaced") from None
            raise _unreadable(self.name, error) from None
        after = os.fstat(self._file)
        if not stat.S_ISREG(after.st_mode) or _state(after) != _state(before):
            raise IndexChanged(f"{self.name} is being replaced")
        return _state(after)

    def _open_in_archive(self, store_path: str) -> FileState:
        archive = open_archive(store_path, self._limits, self._pause)
        try:
            place = archive.contents.get(self.name)
            state = ArchiveState(*_state(archive.found))
            if place is None or place.reason:
                reason = f"no {self.name}" if place is None else f"{self.name} {place.reason}"
                problem = IndexProblem("invalid", reason)
                problem.file = state
                raise problem
            if archive.contents.small is not None:
                self._data = archive.contents.small.get(place.offset)
                if self._data is None:
                    problem = IndexProblem("invalid", f"{self.name} has {place.size} bytes, {ROOM}")
                    problem.file = state
                    raise problem
            self._archive, self._begin, self._size = store_path, place.offset, place.size
            self._file = archive.take()
            return state
        finally:
            archive.close()

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return self.state.size if self._size is None else self._size

    def read(self, size: int, offset: int) -> bytes:
        """Return `size` bytes from `offset` on, or fewer at the end of the file. Raises IndexProblem."""
        if self._data is not None:
            return self._data[offset : offset + size]
        if self._size is not None:
            size = min(size, max(self._size - offset, 0))
            offset += self._begin
        pieces = []
        while size > 0:
            try:
                piece = os.pread(self._file, size, offset)
            except OSError as error:
                raise _unreadable(self.name, error) from None
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check(self, size: int | None = None) -> None:
        """Raise IndexChanged if the open file or its name has changed, or if the file is not `size` bytes long.

        Raises IndexProblem if that cannot be determined.
        """
        try:
            named = (
                stat_file(self._archive)
                if self._archive
                else os.stat(self.name, dir_fd=self._directory, follow_symlinks=False)
            )
            states = _state(os.fstat(self._file)), _state(named)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise IndexChanged(f"{self.name} was removed after it was opened") from None
            raise _unreadable(self.name, error) from None
        if states != (self.state, self.state) or size not in (None, self.size):
            raise IndexChanged(f"{self.name} changed while it was read")

    def close(self) -> None:
        """Close the file. Closing it again has no effect."""
        file, directory = self._file, self._directory
        self._file = self._directory = -1
        for descriptor in (file, directory):
            if descriptor >= 0:
                os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def _state(found: os.stat_result) -> FileState:
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def open_archive(
    store_path: str, limits: ListLimits | None = None, pause: Callable[[], None] = lambda: None
) -> Archive:
    """Open the archive of a store. A compressed archive is only inflated with `limits`.

    Raises IndexProblem, CompressedArchive, IndexChanged if the archive changed while its headers were read, Exhausted, and anything
    that `pause` raises.
    """
    from catalog.layout.archive import Archive, compression_at  # This loads hashlib, which directories do not need.
    from catalog.layout.archive_pass import Compressed
    from catalog.layout.inflating import NotInstalled
    from catalog.layout.tar_headers import NOT_TAR, Torn

    try:
        before = stat_file(store_path)
        try:
            return Archive(store_path, limits, pause)
        except Compressed as compressed:
            raise CompressedArchive(str(compressed)) from None
        except NotInstalled as needed:
            raise IndexProblem("unreadable", f"the archive {needed}") from None
        except Torn as torn:
            if _state(stat_file(store_path)) != _state(before):
                raise IndexChanged("the archive changed while it was read") from None
            if str(torn) == NOT_TAR or (before.st_size < _HEADER_BYTES and compression_at(store_path) is None):
                raise NoArchive from None
            problem = IndexProblem("invalid", f"the archive {torn}")
            problem.file = ArchiveState(*_state(before))
            raise problem from None
    except OSError as error:
        if error.errno in _IN_MOTION or error.errno == errno.ENOTDIR:
            raise IndexChanged("the archive is being replaced") from None
        raise _unreadable("the archive", error) from None


def missing(store_path: str) -> str | None:
    """Return why a store can be opened neither as a directory nor as an archive, or None if it can. Raises Exhausted."""
    try:
        os.close(open_directory(store_path))
    except OSError as error:
        if _archive_state(store_path, error) is not None:
            return None
        problem = _no_file(store_path, "index.json", error)
        return problem.reason if problem.state == "missing" else error.strerror or str(error)
    return None


def _no_file(store_path: str, name: str, error: OSError) -> IndexProblem:
    # Only here is the directory checked with an extra stat, to find out what exactly is absent.
    if error.errno not in _GONE:
        return _unreadable(name, error)
    if leads_out(store_path):
        return IndexProblem("missing", "a directory above it has become a symbolic link, which is not followed")
    try:
        found = stat_directory(store_path)
    except OSError as gone:
        if gone.errno not in _GONE:
            return _unreadable(name, gone)
        is_link = store_path.endswith("/.") and _is_link(store_path.removesuffix("/."))
        return IndexProblem("missing", "the symbolic link leads nowhere" if is_link else "the directory is gone")
    if stat.S_ISDIR(found.st_mode):
        return IndexProblem("invalid", f"no {name}")
    return IndexProblem("missing", f"the directory has become {_TYPES.get(stat.S_IFMT(found.st_mode), 'a file')}")


def _is_link(store_path: str) -> bool:
    """Return whether the last component of a path without the final `/.` is a symbolic link."""
    try:
        return stat.S_ISLNK(stat_directory(store_path).st_mode)
    except OSError:
        return False


def _not_regular(name: str, found: os.stat_result) -> IndexProblem:
    if stat.S_ISLNK(found.st_mode):
        advice = "replace it with a copy of the file, or add the layout that it points into"
        return IndexProblem("invalid", f"{name} is a symbolic link, which is not followed: {advice}")
    return IndexProblem("invalid", f"{name} is {file_type(found)}, not a regular file")


def _unreadable(name: str, error: OSError) -> IndexProblem:
    """Return the problem of a file that cannot be read. Raises Exhausted if the cause is in this process."""
    refuse_exhausted(error)
    return IndexProblem("unreadable", f"{name}: {error.strerror}")
