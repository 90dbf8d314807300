"""The blobs of a layout (image-spec, image-layout.md): list them, and read small ones after checking their digest.

Nothing in a store is trusted. Names that are not digests are ignored. Symbolic links are not followed and special files
are not opened; both are recorded as problems, so that such a blob is not reported as absent. A shared blob directory
(skopeo's `--shared-blob-dir`) lies outside the layout and has the same structure, `ALGORITHM/ENCODED`.

algorithm_directories.py opens the directories. The same methods also find the blobs of an archive (member_blobs.py).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import Self

from catalog.exhausted import refuse_exhausted
from catalog.layout.algorithm_directories import LIST, AlgorithmDirectories
from catalog.layout.files import file_type
from catalog.layout.list_limits import ListLimits
from catalog.layout.member_blobs import MemberBlobs
from catalog.layout.open_blob import BlobProblem, OpenBlob, check_size
from catalog.names.digest import HEX_LENGTHS, is_digest, is_docker_digest
from catalog.names.paths import encode_path
from catalog.names.sizes import in_bytes

__all__ = ["BlobDirectories", "BlobProblem", "OpenBlob"]

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
TICK_NS = 20_000_000
"""The kernel's clock for the times of files ticks every 1 to 10 ms. A later write within the same tick does not change the times."""
_MOST_ODD = 100
"""At most this many blobs that are not regular files are reported individually. The rest are counted."""
_ODD_LINK = "is a symbolic link, which is not followed: put a copy of the file in its place"


class BlobDirectories:
    """The directories that contain the blobs of a store: the layout's own and a shared one, if any.

    The same methods find the blobs of an archive. This is a context manager. It keeps the directories, or the archive, open, so that
    replacing one with a link has no effect.
    """

    def __init__(
        self,
        store_path: str,
        shared: str | None = None,
        *,
        limits: ListLimits | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare without opening anything. `store_path` is a path from `catalog.layout.beneath.opened_path`.

        A compressed archive is inflated only with `limits`; otherwise it is unlisted, and opening one of its blobs raises BlobProblem.
        Exceptions from `pause`, which is called while an archive is read, are passed on.
        """
        self._shared = shared
        self._members = MemberBlobs(store_path, limits, pause)
        self._directories = AlgorithmDirectories(store_path, shared, self._members.are_meant)
        self._odd: dict[str, str] = {}  # by digest: what there is instead of a regular file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._directories.close()
        self._members.close()

    @property
    def unlisted(self) -> dict[str, str]:
        """Directories that could not be read, so that their blobs are unknown, each with the reason."""
        return self._directories.unlisted | self._members.unlisted

    @property
    def is_torn(self) -> bool:
        """Whether the store is an archive that cannot be read until it changes."""
        return self._members.is_torn

    def list(self) -> Iterator[tuple[str, int, int]]:
        """Yield the digest, the size in bytes and the modification time in milliseconds of each blob in the layout's own directory.

        A shared directory is not listed, because only blobs there that a store refers to belong to that store; use `stat`
        for them. Raises Exhausted, but never OSError; see `problems`.
        """
        for digest, found in self.stats():
            yield digest, found.st_size, found.st_mtime_ns // 1_000_000

    def stats(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the digest and the stat of each blob that `list` yields."""
        directories = self._directories
        self._odd = {}
        try:
            algorithms, others = directories.names()
        except OSError as error:
            if self._members.are_meant(error):
                yield from self._members.stats()
            else:
                directories.note(directories.own, error)
            return
        for name in others:
            directories.note_odd(f"{directories.own}/{name}")
        for algorithm in algorithms:
            try:
                yield from self._listed(directories.of_layout(algorithm), algorithm)
            except OSError as error:
                directories.note(f"{directories.own}/{algorithm}", error)

    def _listed(self, directory: int, algorithm: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the blobs in one directory, given its O_PATH descriptor or -1. Raises OSError."""
        if directory < 0:
            return
        descriptor = os.open(".", LIST, dir_fd=directory)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    digest = f"{algorithm}:{entry.name}"
                    if not is_digest(digest):
                        continue
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(found.st_mode):
                        yield digest, found
                    else:
                        self._note_odd(digest, found)
        finally:
            os.close(descriptor)

    @property
    def archive(self) -> str | None:
        """The path of the store if it is known to be an archive, else None."""
        return self._members.path

    def problems(self) -> dict[str, BlobProblem]:
        """Return the problems found so far. A key is the path of a directory, as the catalog stores it, or the digest of a blob.

        A blob that is a regular file in another directory of the store is not a problem.
        """
        problems = {path: BlobProblem("unreadable-blob", reason) for path, reason in self._unlisted_reasons()}
        problems |= self._directories.odd | self._members.problems()
        odd, reasons = self._odd_here(), self._odd | self._members.odd
        if len(odd) > _MOST_ODD:
            rest = len(odd) - _MOST_ODD
            what = (
                "blob is a symbolic link or not a regular file"
                if rest == 1
                else "blobs are symbolic links or not regular files"
            )
            more = f"{rest} more {what}, and {'is' if rest == 1 else 'are'} not read"
            problems[self._directories.own] = BlobProblem("bad-blob", more)
        problems = {encode_path(path)[0]: problem for path, problem in problems.items()}
        return problems | {digest: BlobProblem("bad-blob", reasons[digest]) for digest in odd[:_MOST_ODD]}

    def unknown(self) -> dict[str, str]:
        """Return the directories whose blobs are not all known, each with the reason."""
        not_directories = self._directories.odd | self._members.not_directories
        unknown = dict(self._unlisted_reasons()) | {path: each.reason for path, each in not_directories.items()}
        return unknown | (
            {self._directories.own: "holds many symbolic links"} if len(self._odd_here()) > _MOST_ODD else {}
        )

    def places(self) -> dict[str, bool]:
        """Return the identifiers (blob_places.py) of the directories that contain the blobs, including directories behind links.

        The value is True for the layout's own directories. Call this after `list`. Links of blobs are read until they have
        _MOST_ODD targets. Raises Exhausted, but never OSError.
        """
        linked = sorted(each for each, reason in self._odd.items() if reason == _ODD_LINK)
        return self._directories.places(linked, _MOST_ODD)

    @property
    def odd(self) -> int:
        """The number of blobs that are not regular files, and of blob directories that are not directories."""
        return len(self._odd_here()) + len(self._directories.odd) + len(self._members.not_directories)

    def _odd_here(self) -> tuple[str, ...]:
        odd = sorted(self._odd | self._members.odd)
        return tuple(each for each in odd if self._shared is None or self.stat(each) is None)

    def _unlisted_reasons(self) -> Iterator[tuple[str, str]]:
        return ((path, f"the directory cannot be listed: {reason}") for path, reason in self.unlisted.items())

    def open(self, digest: str) -> OpenBlob | None:
        """Return the blob, open for reading, or None if it is absent. The caller closes its descriptor.

        Raises BlobProblem if the blob cannot be opened or is not a regular file, and Exhausted.
        """
        problem: BlobProblem | None = None
        for directory, encoded in self._directories.with_blob(digest):
            try:
                if stat.S_ISREG(os.stat(encoded, dir_fd=directory, follow_symlinks=False).st_mode):
                    descriptor = os.open(encoded, _FLAGS, dir_fd=directory)
                    opened = os.fstat(descriptor)
                    if stat.S_ISREG(opened.st_mode):
                        return OpenBlob(descriptor, opened)
                    os.close(descriptor)
                problem = problem or BlobProblem("bad-blob", "is not a regular file")
            except FileNotFoundError:
                continue
            except OSError as error:
                refuse_exhausted(error)
                problem = problem or BlobProblem("unreadable-blob", error.strerror or str(error))
        try:
            member = self._members.open(digest)
        except BlobProblem as found:
            raise problem or found from None
        if member is None and problem is not None:
            raise problem
        return member

    def read_still(
        self, algorithm: str, encoded: str, limit: int, each: Callable[[int], None]
    ) -> tuple[bytes, os.stat_result] | None:
        """Return all bytes of a blob of at most `limit` bytes in the layout's own directory, and its stat.

        This takes fewer system calls than `open`. Returns None in all other cases, for example if the file is absent, larger or sparse,
        if it changed just before or while it was read, or if the store is an archive. Then call `open`. `each` is called with the number
        of bytes that were read; exceptions from it are passed on.
        """
        directory = self._directories.of_layout(algorithm)
        if directory < 0 or HEX_LENGTHS.get(algorithm) != len(encoded) or "/" in encoded:
            return None
        try:
            before = os.stat(encoded, dir_fd=directory, follow_symlinks=False)
            size, modified, changed = before.st_size, before.st_mtime_ns, before.st_ctime_ns
            if not stat.S_ISREG(before.st_mode) or size > limit or before.st_blocks * 512 < size:
                return None
            settled = time.time_ns() - TICK_NS
            if modified >= settled or changed >= settled:
                return None
            descriptor = os.open(encoded, _FLAGS, dir_fd=directory)
            try:
                data = os.pread(descriptor, size, 0)
                each(len(data))
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            return None
        is_same = (
            after.st_ino == before.st_ino
            and after.st_dev == before.st_dev
            and after.st_size == size == len(data)
            and after.st_mtime_ns == modified
            and after.st_ctime_ns == changed
        )
        return (data, after) if is_same else None

    def beginning(self, digest: str, size: int) -> bytes:
        """Return the first `size` bytes of a blob, or all of it if it is shorter, or b"" if it is absent.

        A blob of a compressed archive may return less (`MemberBlobs.beginning`). Raises BlobProblem and Exhausted.
        """
        self._find(digest)
        held = self._members.beginning(digest, size)
        if held is not None:
            return held
        opened = self.open(digest)
        if opened is None:
            return b""
        try:
            return opened.read(size)
        except OSError as error:
            refuse_exhausted(error)
            raise BlobProblem("unreadable-blob", error.strerror or str(error)) from error
        finally:
            os.close(opened.descriptor)

    def stat(self, digest: str) -> os.stat_result | None:
        """Return the stat of the file that `open` would open, or None. Raises Exhausted, but never OSError."""
        for directory, encoded in self._directories.with_blob(digest):
            try:
                found = os.stat(encoded, dir_fd=directory, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                return found
            self._note_odd(digest, found)
        return self._members.stat(digest)

    def _find(self, digest: str) -> None:
        """Open the directories that may contain the blob, or find out that the store is an archive, if not yet done."""
        if not self._directories.is_open(digest.partition(":")[0]):
            next(self._directories.with_blob(digest), None)

    def _note_odd(self, digest: str, found: os.stat_result) -> None:
        self._odd[digest] = _ODD_LINK if stat.S_ISLNK(found.st_mode) else f"is {file_type(found)}"

    def read(self, digest: str, limit: int) -> bytes | None:
        """Return the bytes of a blob of at most `limit` bytes after checking its digest, or None if it is absent.

        Raises BlobProblem if the blob is too large, does not match its digest, cannot be checked, or cannot be read, and
        Exhausted.
        """
        if not is_docker_digest(digest):
            raise BlobProblem("unproved-blob", "has a digest of an algorithm that cannot be checked")
        self._find(digest)
        try:
            data = self._members.read(digest, limit)
        except BlobProblem:
            if self._shared is None:
                raise
            data = None
        if data is None:
            data = self._read(digest, limit)
        if data is None:
            return None
        import hashlib  # loaded only here, because loading it takes as long as checking 300 stores for new blobs

        algorithm, _, encoded = digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != encoded:
            raise BlobProblem("digest-differs", f"its {in_bytes(len(data))} do not match its digest")
        return data

    def _read(self, digest: str, limit: int) -> bytes | None:
        """Return the bytes of a blob without checking its digest, or None if it is absent. Raises BlobProblem and Exhausted."""
        opened = self.open(digest)
        if opened is None:
            return None
        size = opened.stat.st_size
        try:
            check_size(size, limit)
            return opened.read(size)
        except OSError as error:
            refuse_exhausted(error)
            raise BlobProblem("unreadable-blob", error.strerror or str(error)) from error
        finally:
            os.close(opened.descriptor)
