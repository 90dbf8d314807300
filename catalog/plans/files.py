"""The files of a store's blobs, found without following a link below the store.

A directory is identified by device and inode, so a directory that several stores reach by different paths counts once. Only
regular files in the directories of registered algorithms are found.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple, Self

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import open_below, open_directory, plain
from catalog.names.digest import is_digest

ALGORITHMS = ("sha256", "sha384", "sha512", "blake3")
"""The algorithms whose directories a plan reads."""
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Inode = tuple[int, int]
"""Device and inode."""


class File(NamedTuple):
    """A blob's file: its path without links, the identity of its directory, and its lstat."""

    path: str
    directory: Inode
    found: os.stat_result

    @property
    def changed_ms(self) -> int:
        """When the file or its inode last changed: the later of mtime and ctime, in milliseconds since 1970."""
        return max(self.found.st_mtime_ns, self.found.st_ctime_ns) // 1_000_000


class _Directory(NamedTuple):
    descriptor: int
    path: str
    inode: Inode


class BlobFiles:
    """The blob directories of one store, as a context manager: its own, and the shared one if there is one."""

    def __init__(self, opened: str, shared: str | None) -> None:
        """`opened` is a path of `catalog.layout.beneath.opened_path`."""
        self._opened = opened
        self._shared = shared
        self._known: dict[tuple[bool, str], _Directory | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._known.values():
            if each is not None:
                os.close(each.descriptor)
        self._known.clear()

    def find(self, digest: str) -> list[File]:
        """Return the regular files that the store has for a digest: in its own directory, in the shared one, or both."""
        algorithm, _, encoded = digest.partition(":")
        files = []
        if algorithm in ALGORITHMS and is_digest(digest):
            for is_shared in (False, True):
                directory = self._directory(algorithm, is_shared=is_shared)
                if directory is None:
                    continue
                try:
                    found = os.stat(encoded, dir_fd=directory.descriptor, follow_symlinks=False)
                except OSError as error:
                    refuse_exhausted(error)
                    continue
                if stat.S_ISREG(found.st_mode):
                    files.append(File(f"{directory.path}/{encoded}", directory.inode, found))
        return files

    def shared(self) -> Iterator[tuple[str, File]]:
        """Yield the digest and file of each regular file in the shared directory. Raises OSError if it cannot be listed."""
        for algorithm in ALGORITHMS:
            directory = self._directory(algorithm, is_shared=True)
            if directory is None:
                continue
            listing = os.open(".", _LIST, dir_fd=directory.descriptor)
            try:
                with os.scandir(listing) as entries:
                    for entry in entries:
                        digest = f"{algorithm}:{entry.name}"
                        if not is_digest(digest):
                            continue
                        try:
                            found = os.stat(entry.name, dir_fd=directory.descriptor, follow_symlinks=False)
                        except FileNotFoundError:
                            continue
                        if stat.S_ISREG(found.st_mode):
                            yield digest, File(f"{directory.path}/{entry.name}", directory.inode, found)
            finally:
                os.close(listing)

    def _directory(self, algorithm: str, *, is_shared: bool) -> _Directory | None:
        key = is_shared, algorithm
        if key not in self._known:
            self._known[key] = self._open(algorithm, is_shared=is_shared)
        return self._known[key]

    def _open(self, algorithm: str, *, is_shared: bool) -> _Directory | None:
        if is_shared and self._shared is None:
            return None
        try:
            top = open_directory(f"{self._shared}/." if is_shared else self._opened)
            try:
                above = top if is_shared else open_below(top, "blobs")
                try:
                    descriptor = open_below(above, algorithm)
                finally:
                    if above != top:
                        os.close(above)
            finally:
                os.close(top)
        except OSError as error:
            refuse_exhausted(error)
            return None
        found = os.fstat(descriptor)
        shown = self._shared if is_shared else f"{plain(self._opened).rstrip('/')}/blobs"
        return _Directory(descriptor, real_path(descriptor, f"{shown}/{algorithm}"), (found.st_dev, found.st_ino))


def real_path(descriptor: int, otherwise: str) -> str:
    """Return the path of an open directory, without links, so that a link that is moved later cannot lead elsewhere."""
    try:
        found = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return otherwise
    return found if found.startswith("/") and not found.endswith(" (deleted)") else otherwise
