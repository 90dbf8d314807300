"""The blobs of a layout (image-spec, image-layout.md): list them, and read small ones after checking their digest.

Nothing in a store is trusted. Names that are not digests are ignored. Symbolic links are not followed and special files
are not opened; both are recorded as problems, so that such a blob is not reported as absent. A shared blob directory
(skopeo's `--shared-blob-dir`) lies outside the layout and has the same structure, `ALGORITHM/ENCODED`. An operator chose
it, not the layout, so a link at its path is followed.

The blobs of an archive are found by the same methods (member_blobs.py). This module is longer than others because listing and reading
open every path by the same rules, which stand here once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import Self

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import open_below, open_directory, plain
from catalog.layout.blob_places import directory_places, link_advice, link_places, path_of
from catalog.layout.blobs_identity import ALGORITHMS
from catalog.layout.files import file_type, lstat
from catalog.layout.list_limits import ListLimits
from catalog.layout.member_blobs import MemberBlobs
from catalog.layout.open_blob import BlobProblem, OpenBlob, check_size
from catalog.names.digest import HEX_LENGTHS, is_digest, is_docker_digest
from catalog.names.paths import encode_path, real_path
from catalog.names.sizes import in_bytes

__all__ = ["BlobDirectories", "BlobProblem", "OpenBlob"]

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_ALGORITHMS = 16
TICK_NS = 20_000_000
"""The kernel's clock for the times of files ticks every 1 to 10 ms. A later write within the same tick does not change the times."""
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # ELOOP: a link, which is not followed
_MOST_ODD = 100
"""How many blobs that are not regular files are reported individually. The rest are counted."""
_ODD_LINK = "is a symbolic link, which is not followed: put a copy of the file in its place"


class BlobDirectories:
    """The directories that contain the blobs of a store: that of the layout, and a shared one if any.

    The blobs of an archive are found by the same methods. This is a context manager. It keeps the directories, or the archive, open,
    so that replacing one with a link has no effect on it.
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

        A compressed archive is inflated only with `limits`; otherwise it is unlisted, and opening a blob of it is a problem. What
        `pause` raises while an archive is read is passed on.
        """
        self._store = store_path
        self._tops = [f"{plain(store_path).rstrip('/')}/blobs", *([shared] if shared else [])]
        self._shared = shared
        self._open: dict[tuple[str, str], int] = {}
        self._odd: dict[str, str] = {}  # digest: what the file is instead of a regular file
        self._not_directories: dict[str, BlobProblem] = {}
        self._members = MemberBlobs(store_path, limits, pause)
        self._unlisted: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            if descriptor >= 0:
                os.close(descriptor)
        self._open.clear()
        self._members.close()

    @property
    def unlisted(self) -> dict[str, str]:
        """Directories that could not be read, each with the reason. Which blobs they contain is not known."""
        return self._unlisted | self._members.unlisted

    @property
    def is_torn(self) -> bool:
        """Whether the store is an archive that cannot be read until it changes."""
        return self._members.is_torn

    def list(self) -> Iterator[tuple[str, int, int]]:
        """Yield digest, size in bytes and modification time in milliseconds of each blob in the layout's own directory.

        A shared directory is not listed, because only the blobs that a store refers to belong to it; use `stat` for
        these. Never raises OSError; see `problems`.
        """
        for digest, found in self.stats():
            yield digest, found.st_size, found.st_mtime_ns // 1_000_000

    def stats(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the digest and the stat of each blob that `list` does."""
        top = self._tops[0]
        self._odd = {}
        try:
            algorithms, others = _algorithms(self._top(top))
        except OSError as error:
            if self._members.are_meant(error):
                yield from self._members.stats()
            else:
                self._note(top, error)
            return
        for name in others:
            self._note_no_directory(f"{top}/{name}")
        for algorithm in algorithms:
            try:
                yield from self._listed(self._directory(top, algorithm), algorithm)
            except OSError as error:
                self._note(f"{top}/{algorithm}", error)

    def _listed(self, directory: int, algorithm: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the blobs in one directory, given its O_PATH descriptor or -1. Raises OSError."""
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
        """The path of the archive that the store is, once that is known; None if it is a directory."""
        return self._members.path

    def problems(self) -> dict[str, BlobProblem]:
        """Return the problems found so far, by the path of a directory, as the catalog stores it, or the digest of a blob.

        A blob that is a regular file in another directory of the store is not a problem.
        """
        problems = {path: BlobProblem("unreadable-blob", reason) for path, reason in self._unlisted_reasons()}
        problems |= self._not_directories | self._members.problems()
        odd, reasons = self._odd_here(), self._odd | self._members.odd
        if len(odd) > _MOST_ODD:
            rest = len(odd) - _MOST_ODD
            what = (
                "blob is a symbolic link or not a regular file"
                if rest == 1
                else "blobs are symbolic links or not regular files"
            )
            more = f"{rest} more {what}, and {'is' if rest == 1 else 'are'} not read"
            problems[self._tops[0]] = BlobProblem("bad-blob", more)
        problems = {encode_path(path)[0]: problem for path, problem in problems.items()}
        return problems | {digest: BlobProblem("bad-blob", reasons[digest]) for digest in odd[:_MOST_ODD]}

    def unknown(self) -> dict[str, str]:
        """Return the directories whose blobs are not all known, each with the reason."""
        not_directories = self._not_directories | self._members.not_directories
        unknown = dict(self._unlisted_reasons()) | {path: each.reason for path, each in not_directories.items()}
        return unknown | ({self._tops[0]: "holds many symbolic links"} if len(self._odd_here()) > _MOST_ODD else {})

    def places(self) -> dict[str, bool]:
        """Return where the blobs are, also behind links, as texts of `blob_places`; True for the layout's own directories.

        Call it after `list`. In a shared directory and behind links, only ALGORITHMS count, and of the targets of linked
        blobs the first _MOST_ODD. Never raises OSError.
        """
        own = self._tops[0]
        places: dict[str, bool] = {}
        for algorithm in ALGORITHMS if self._shared is not None else ():
            self._directory(self._tops[1], algorithm)
        for (top, algorithm), directory in sorted(self._open.items(), key=lambda each: each[0][0] == own):
            if directory >= 0:
                with contextlib.suppress(OSError):
                    places |= dict.fromkeys(directory_places(directory), top == own)
                places[f"{top}/{algorithm}"] = top == own
        targets: set[tuple[str, str]] = set()
        for path, problem in self._not_directories.items():
            if problem.kind == "linked":
                with contextlib.suppress(OSError):
                    near, target = self._target(path)
                    below = ALGORITHMS if path == own else (".",)
                    targets.update((near, os.path.normpath(f"{target}/{name}")) for name in below)
        for near, target in sorted(targets | self._linked_blobs()):
            for place in link_places(near, target):
                places.setdefault(place, False)
        return places

    def _linked_blobs(self) -> set[tuple[str, str]]:
        """Return the directories to which blobs that are links lead, each with the directory in which the link is."""
        targets: set[tuple[str, str]] = set()
        for digest in sorted(each for each, reason in self._odd.items() if reason == _ODD_LINK):
            for directory, encoded in self._places(digest):
                with contextlib.suppress(OSError):
                    near = path_of(directory) or "/"
                    target = os.path.normpath(os.path.join(near, os.readlink(encoded, dir_fd=directory)))
                    targets.add((near, os.path.dirname(target)))
            if len(targets) >= _MOST_ODD:
                break
        return targets

    @property
    def odd(self) -> int:
        """The number of blobs that are not regular files, and of blob directories that are not directories."""
        return len(self._odd_here()) + len(self._not_directories) + len(self._members.not_directories)

    def _odd_here(self) -> tuple[str, ...]:
        odd = sorted(self._odd | self._members.odd)
        return tuple(each for each in odd if self._shared is None or self.stat(each) is None)

    def _unlisted_reasons(self) -> Iterator[tuple[str, str]]:
        return ((path, f"the directory cannot be listed: {reason}") for path, reason in self.unlisted.items())

    def open(self, digest: str) -> OpenBlob | None:
        """Return the blob, open for reading; None if it is absent. The caller closes its descriptor.

        Raises BlobProblem if the blob cannot be opened or is not a regular file, and Exhausted.
        """
        problem: BlobProblem | None = None
        for directory, encoded in self._places(digest):
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
        """Return all bytes of a blob of at most `limit` bytes in the layout's own directory, and its stat, which did not change meanwhile.

        This takes fewer system calls than `open`. Returns None for everything that is not as simple: no such file or a larger one,
        one with holes, one that changed just now or while it was read, an archive. `open` tells what it is. `each` is called with the
        number of bytes that were read; what it raises is passed on.
        """
        directory = self._directory(self._tops[0], algorithm)
        if directory < 0 or HEX_LENGTHS.get(algorithm) != len(encoded) or "/" in encoded:
            return None
        try:
            before = os.stat(encoded, dir_fd=directory, follow_symlinks=False)
            size, changed = before.st_size, max(before.st_mtime_ns, before.st_ctime_ns)
            if not stat.S_ISREG(before.st_mode) or size > limit or before.st_blocks * 512 < size:
                return None
            if time.time_ns() - changed <= TICK_NS:
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
            and after.st_mtime_ns == before.st_mtime_ns
            and after.st_ctime_ns == before.st_ctime_ns
        )
        return (data, after) if is_same else None

    def beginning(self, digest: str, size: int) -> bytes:
        """Return the first `size` bytes of a blob, or all if it has fewer; b"" if it is absent.

        Raises BlobProblem and Exhausted.
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
        """Return the stat of the file that `open` would open, or None. Never raises OSError."""
        for directory, encoded in self._places(digest):
            try:
                found = os.stat(encoded, dir_fd=directory, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                return found
            self._note_odd(digest, found)
        return self._members.stat(digest)

    def _find(self, digest: str) -> None:
        """Open what the blob may be in, if that was not done yet."""
        next(self._places(digest), None)

    def _places(self, digest: str) -> Iterator[tuple[int, str]]:
        """Yield each directory in which a blob may lie, and its name there."""
        if is_digest(digest):
            algorithm, _, encoded = digest.partition(":")
            for top in self._tops:
                directory = self._directory(top, algorithm)
                if directory >= 0:
                    yield directory, encoded

    def _directory(self, top: str, algorithm: str) -> int:
        """Return a descriptor of the blob directory of an algorithm, without following links; -1 if there is none."""
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
                if top == self._shared or not self._members.are_meant(error):
                    self._note(path, error)
            self._open[top, algorithm] = known
        return known

    def _top(self, top: str) -> int:
        """Return a descriptor of the layout's own blob directory, or of the shared one. Raises OSError."""
        if top == self._shared:
            return open_directory(f"{top}/.")
        return _open_blobs(self._store)

    def _note(self, path: str, error: OSError) -> None:
        refuse_exhausted(error)
        # An operator chose the shared directory, so it is reported if it is absent.
        if error.errno not in _NOT_THERE or path == self._shared:
            self._unlisted[path] = error.strerror or str(error)
        elif error.errno != errno.ENOENT:
            self._note_no_directory(path)

    def _note_odd(self, digest: str, found: os.stat_result) -> None:
        self._odd[digest] = _ODD_LINK if stat.S_ISLNK(found.st_mode) else f"is {file_type(found)}"

    def _note_no_directory(self, path: str) -> None:
        """Record that a blob directory is something else, unless it is a link to the shared directory."""
        found = self._look(path)
        if found is None or stat.S_ISDIR(found.st_mode):
            return
        if not stat.S_ISLNK(found.st_mode):
            self._not_directories[path] = BlobProblem("bad-blob", f"is {file_type(found)}, not a directory of blobs")
        elif not self._is_shared(path):
            try:
                _, target = self._target(path)
            except OSError:
                target = ""
            self._not_directories[path] = BlobProblem("linked", link_advice(path, target))

    def _look(self, path: str) -> os.stat_result | None:
        """Return the stat of a blob directory, given its plain path, without following links; None if there is none."""
        own = self._tops[0]
        if not (path == own or path.startswith(f"{own}/")):
            return lstat(path)
        try:
            directory = open_directory(self._store) if path == own else _open_blobs(self._store)
            try:
                return os.stat(os.path.basename(path), dir_fd=directory, follow_symlinks=False)
            finally:
                os.close(directory)
        except OSError as error:
            refuse_exhausted(error)
            return None

    def _is_shared(self, path: str) -> bool:
        """Return whether a link in the layout leads to the shared directory or to a directory in it.

        The blobs behind such a link are known anyway.
        """
        own = self._tops[0]
        if self._shared is None or not (path == own or path.startswith(f"{own}/")):
            return False
        try:
            _, target = self._target(path)
        except OSError as error:
            refuse_exhausted(error)
            return False
        # The link is read, not followed, so one that leads there through another link is not recognised.
        return target in {f"{top}{path[len(own) :]}" for top in (self._shared, real_path(self._shared))}

    def _target(self, path: str) -> tuple[str, str]:
        """Return where a link is that stands in place of a blob directory of the layout, and its target. Raises OSError.

        The link is read, not followed.
        """
        own = self._tops[0]
        directory = open_directory(self._store) if path == own else _open_blobs(self._store)
        try:
            link = os.readlink(os.path.basename(path), dir_fd=directory)
            near = path_of(directory) or os.path.dirname(path)
            return near, os.path.normpath(os.path.join(near, link))
        finally:
            os.close(directory)

    def read(self, digest: str, limit: int) -> bytes | None:
        """Return the bytes of a blob of at most `limit` bytes after checking its digest; None if it is absent.

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
        import hashlib  # loaded only here: that takes as long as checking 300 stores for new blobs

        algorithm, _, encoded = digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != encoded:
            raise BlobProblem("digest-differs", f"its {in_bytes(len(data))} do not match its digest")
        return data

    def _read(self, digest: str, limit: int) -> bytes | None:
        """Return the bytes of a blob without a check; None if it is absent. Raises BlobProblem and Exhausted."""
        opened = self.open(digest)
        if opened is None:
            return None
        size = opened.stat.st_size
        try:
            check_size(size, limit)
            return opened.read(size + 1)
        except OSError as error:
            refuse_exhausted(error)
            raise BlobProblem("unreadable-blob", error.strerror or str(error)) from error
        finally:
            os.close(opened.descriptor)


def _open_blobs(store_path: str) -> int:
    """Return a descriptor of the blob directory of a layout. Raises OSError."""
    directory = open_directory(store_path)
    try:
        return open_below(directory, "blobs")
    finally:
        os.close(directory)


def _algorithms(top: int) -> tuple[list[str], list[str]]:
    """Return the names of the directories in `blobs`, registered algorithms first, and of other files in place of one.

    `top` is the O_PATH descriptor of `blobs`, which is closed. Raises OSError.
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
