"""A layout's blobs (image-spec, image-layout.md): which there are, and the bytes of a small one, proved by its digest.

Untrusted as everything in a store: names that are no digest are passed over. Symbolic links are not followed and special
files are not opened; each is noted as a problem, so that nobody takes such a blob for absent. A shared blob directory (skopeo's `--shared-blob-dir`) is laid out the same way,
`ALGORITHM/ENCODED`, outside of the layout; an operator names it, never the layout, so a link there is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import Self

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import open_below, open_directory, plain
from catalog.layout.blobs_identity import ALGORITHMS
from catalog.layout.files import file_type, lstat
from catalog.names.digest import is_digest, is_docker_digest
from catalog.names.paths import encode_path

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_ALGORITHMS = 16
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # a link is none: nothing is followed
_MOST_ODD = 100
"""Blobs that are no regular files are named one by one up to this number, and counted beyond it."""
_ODD_LINK = "is a symbolic link, which is not followed: put a copy of the file in its place"


class BlobProblem(Exception):
    """A blob that is there and cannot be believed or read: `kind` is one of docs/problems.md."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class BlobDirectories:
    """The directories that hold a store's blobs: the layout's own, and a shared one where there is one.

    A context manager: it keeps directories open, so that nothing below is found through a link that came later.
    """

    def __init__(self, store_path: str, shared: str | None = None) -> None:
        """`store_path` is a path of `catalog.layout.beneath.opened_path`."""
        self._store = store_path
        self._tops = [f"{plain(store_path).rstrip('/')}/blobs", *([shared] if shared else [])]
        self._shared = shared
        self._open: dict[tuple[str, str], int] = {}
        self._odd: dict[str, str] = {}  # by digest, what it is instead of a regular file
        self._not_directories: dict[str, BlobProblem] = {}
        self.unlisted: dict[str, str] = {}
        """The directories that could not be looked into, each with the reason: what lies there is not known."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            if descriptor >= 0:
                os.close(descriptor)
        self._open.clear()

    def list(self) -> Iterator[tuple[str, int, int]]:
        """Digest, size in bytes and modification time in milliseconds of each blob in the layout's own directory.

        Never raises OSError.

        A shared directory is not listed: what of it belongs to a store is what the store points to, and that is `stat`.
        """
        top = self._tops[0]
        self._odd = {}
        try:
            algorithms, others = _algorithms(self._top(top))
        except OSError as error:
            self._note(top, error)
            return
        for name in others:
            self._note_no_directory(f"{top}/{name}")
        for algorithm in algorithms:
            try:
                yield from self._listed(self._directory(top, algorithm), algorithm)
            except OSError as error:
                self._note(f"{top}/{algorithm}", error)

    def _listed(self, directory: int, algorithm: str) -> Iterator[tuple[str, int, int]]:
        """The blobs in a directory that may be searched. Raises OSError."""
        if directory < 0:
            return
        descriptor = os.open(".", _LIST, dir_fd=directory)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    digest = f"{algorithm}:{entry.name}"
                    if not is_digest(digest):
                        continue
                    try:
                        found = os.stat(entry.name, dir_fd=descriptor, follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(found.st_mode):
                        yield digest, found.st_size, found.st_mtime_ns // 1_000_000
                    else:
                        self._note_odd(digest, found)
        finally:
            os.close(descriptor)

    def problems(self) -> dict[str, BlobProblem]:
        """What was met that cannot be read: directories by their paths, as the catalog keeps them, and blobs by their digests.

        A blob that is well in another of the store's directories is no problem.
        """
        told = {path: BlobProblem("unreadable-blob", reason) for path, reason in self._unlisted()}
        told |= self._not_directories
        odd = self._odd_here()
        if len(odd) > _MOST_ODD:
            more = f"{len(odd) - _MOST_ODD} more blobs are symbolic links or no regular files, and are not read"
            told[self._tops[0]] = BlobProblem("bad-blob", more)
        told = {encode_path(path)[0]: problem for path, problem in told.items()}
        return told | {digest: BlobProblem("bad-blob", self._odd[digest]) for digest in odd[:_MOST_ODD]}

    def unknown(self) -> dict[str, str]:
        """The directories of whose blobs it is not known which there are, each with the reason."""
        unknown = dict(self._unlisted()) | {path: each.reason for path, each in self._not_directories.items()}
        return unknown | ({self._tops[0]: "holds many symbolic links"} if len(self._odd_here()) > _MOST_ODD else {})

    @property
    def odd(self) -> int:
        """How many blobs, and directories of blobs, are symbolic links or no regular files."""
        return len(self._odd_here()) + len(self._not_directories)

    def _odd_here(self) -> tuple[str, ...]:
        return tuple(sorted(each for each in self._odd if self._shared is None or self.stat(each) is None))

    def _unlisted(self) -> Iterator[tuple[str, str]]:
        return ((path, f"the directory cannot be listed: {reason}") for path, reason in self.unlisted.items())

    def open(self, digest: str) -> tuple[int, os.stat_result] | None:
        """A descriptor of the blob, open for reading, and its stat; None where there is none. The caller closes it.

        Raises BlobProblem for one that cannot be opened or is no regular file.
        """
        problem: BlobProblem | None = None
        for directory, encoded in self._places(digest):
            try:
                if stat.S_ISREG(os.stat(encoded, dir_fd=directory, follow_symlinks=False).st_mode):
                    descriptor = os.open(encoded, _FLAGS, dir_fd=directory)
                    opened = os.fstat(descriptor)
                    if stat.S_ISREG(opened.st_mode):
                        return descriptor, opened
                    os.close(descriptor)
                problem = problem or BlobProblem("bad-blob", "is no regular file")
            except FileNotFoundError:
                continue
            except OSError as error:
                refuse_exhausted(error)
                problem = problem or BlobProblem("unreadable-blob", error.strerror or str(error))
        if problem is not None:
            raise problem
        return None

    def beginning(self, digest: str, size: int) -> bytes:
        """The first `size` bytes of a blob, or all if it has fewer; empty if it is not there. Raises BlobProblem."""
        opened = self.open(digest)
        if opened is None:
            return b""
        try:
            return _read(opened[0], size)
        except OSError as error:
            refuse_exhausted(error)
            raise BlobProblem("unreadable-blob", error.strerror or str(error)) from error
        finally:
            os.close(opened[0])

    def stat(self, digest: str) -> os.stat_result | None:
        """The stat of the file that `open` would open; None where there is none. Never raises OSError."""
        for directory, encoded in self._places(digest):
            try:
                found = os.stat(encoded, dir_fd=directory, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                return found
            self._note_odd(digest, found)
        return None

    def _places(self, digest: str) -> Iterator[tuple[int, str]]:
        """The directories in which a blob may lie, and its name there."""
        if is_digest(digest):
            algorithm, _, encoded = digest.partition(":")
            for top in self._tops:
                directory = self._directory(top, algorithm)
                if directory >= 0:
                    yield directory, encoded

    def _directory(self, top: str, algorithm: str) -> int:
        """A descriptor of a directory of blobs, links not followed; -1 where there is none."""
        known = self._open.get((top, algorithm))
        if known is None:
            known, path = -1, top
            try:
                above = self._top(top)
                try:
                    path = f"{top}/{algorithm}"
                    known = open_below(above, algorithm)
                finally:
                    os.close(above)
            except OSError as error:
                self._note(path, error)
            self._open[top, algorithm] = known
        return known

    def _top(self, top: str) -> int:
        """A descriptor of the layout's own directory of blobs, or of the shared one. Raises OSError."""
        if top == self._shared:
            return open_directory(f"{top}/.")
        return _open_blobs(self._store)

    def _note(self, path: str, error: OSError) -> None:
        refuse_exhausted(error)
        # An operator named the shared directory: that it is not there is worth a word.
        if error.errno not in _NOT_THERE or path == self._shared:
            self.unlisted[path] = error.strerror or str(error)
        elif error.errno != errno.ENOENT:
            self._note_no_directory(path)

    def _note_odd(self, digest: str, found: os.stat_result) -> None:
        self._odd[digest] = _ODD_LINK if stat.S_ISLNK(found.st_mode) else f"is {file_type(found)}"

    def _note_no_directory(self, path: str) -> None:
        """Note that what should be a directory of blobs is something else, unless it leads to the shared one."""
        found = self._look(path)
        if found is None or stat.S_ISDIR(found.st_mode):
            return
        if not stat.S_ISLNK(found.st_mode):
            self._not_directories[path] = BlobProblem("bad-blob", f"is {file_type(found)}, not a directory of blobs")
        elif not self._is_shared(path):
            try:
                target = self._target(path)
            except OSError:
                target = ""
            self._not_directories[path] = BlobProblem("linked", _link_advice(path, target))

    def _look(self, path: str) -> os.stat_result | None:
        """The stat of a directory of blobs by its shown path, links not followed; None if there is none."""
        own = self._tops[0]
        if not (path == own or path.startswith(f"{own}/")):
            return lstat(path)
        try:
            directory = open_directory(self._store) if path == own else _open_blobs(self._store)
            try:
                return os.stat(os.path.basename(path), dir_fd=directory, follow_symlinks=False)
            finally:
                os.close(directory)
        except OSError:
            return None

    def _is_shared(self, path: str) -> bool:
        """Whether a link in the layout leads to the shared directory, or to one in it, whose blobs are known thereby."""
        own = self._tops[0]
        if self._shared is None or not (path == own or path.startswith(f"{own}/")):
            return False
        try:
            target = self._target(path)
        except OSError:
            return False
        # Not followed: a link that leads there by way of another link is not known as one.
        return target in {f"{top}{path[len(own) :]}" for top in (self._shared, os.path.realpath(self._shared))}

    def _target(self, path: str) -> str:
        """Where a link in place of the layout's directory of blobs, or of one in it, leads; the link is read, not followed.

        Raises OSError.
        """
        own = self._tops[0]
        directory = open_directory(self._store) if path == own else _open_blobs(self._store)
        try:
            link = os.readlink(os.path.basename(path), dir_fd=directory)
            if os.path.isabs(link):
                return os.path.normpath(link)
            return os.path.normpath(os.path.join(os.readlink(f"/proc/self/fd/{directory}"), link))
        finally:
            os.close(directory)

    def read(self, digest: str, limit: int) -> bytes | None:
        """The bytes of a blob of at most `limit` bytes, proved by its digest; None where there is none.

        Raises BlobProblem for one that is too large, does not hash to its name, cannot be proved, or cannot be read.
        """
        if not is_docker_digest(digest):
            raise BlobProblem("unproved-blob", "has a digest of an algorithm that cannot be checked")
        opened = self.open(digest)
        if opened is None:
            return None
        descriptor, found = opened
        try:
            if found.st_size > limit:
                raise BlobProblem("large-manifest", f"has {found.st_size} bytes, more than the limit of {limit}")
            data = _read(descriptor, found.st_size + 1)
        except OSError as error:
            refuse_exhausted(error)
            raise BlobProblem("unreadable-blob", error.strerror or str(error)) from error
        finally:
            os.close(descriptor)
        import hashlib  # not for who only looks whether blobs came: loading it takes as long as looking at 300 stores

        algorithm, _, encoded = digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != encoded:
            raise BlobProblem("digest-differs", f"its {len(data)} bytes are not what its digest says")
        return data


def _open_blobs(store_path: str) -> int:
    """A descriptor of a layout's directory of blobs. Raises OSError."""
    directory = open_directory(store_path)
    try:
        return open_below(directory, "blobs")
    finally:
        os.close(directory)


def _read(descriptor: int, size: int) -> bytes:
    pieces: list[bytes] = []
    while size > 0 and (piece := os.read(descriptor, size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _link_advice(path: str, target: str) -> str:
    """What works where a directory of blobs is a link to `target`, which is empty if that is not known."""
    above, name = os.path.split(path)
    if name != "blobs":
        above, target = os.path.split(above)[0], os.path.dirname(target) if os.path.basename(target) == name else ""
    link = "is a symbolic link, which is not followed"
    if not target:
        return f"{link}: put a directory in its place, by a bind mount or a copy"
    return (
        f"{link}: give its directory to 'ocicat add {encode_path(above)[0]} --shared-blob-dir {encode_path(target)[0]}'"
    )


def _algorithms(top: int) -> tuple[list[str], list[str]]:
    """The names of the directories in a directory of blobs, registered algorithms first, and of what stands in place of one.

    `top` is its O_PATH descriptor, which is closed. Raises OSError.
    """
    names: list[str] = []
    others: list[str] = []
    try:
        descriptor = os.open(".", _LIST, dir_fd=top)
    finally:
        os.close(top)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    names.append(entry.name)
                elif entry.name in ALGORITHMS or (entry.is_symlink() and is_digest(f"{entry.name}:0")):
                    others.append(entry.name)
    finally:
        os.close(descriptor)
    names.sort(key=lambda name: (name not in ALGORITHMS, name))
    return names[:_MAX_ALGORITHMS], sorted(others)[:_MAX_ALGORITHMS]
