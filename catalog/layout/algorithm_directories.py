"""Open the directories `blobs/ALGORITHM` of a layout, and those of a shared blob directory, without following links.

A layout may have anything in place of such a directory, even a link that leads out of the layout. That is reported as a problem, so
that its blobs are not reported as absent. A shared directory was chosen by an operator, so a link at its path is followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import open_below, open_directory, plain
from catalog.layout.blob_places import directory_places, link_advice, link_places, path_of
from catalog.layout.blobs_identity import ALGORITHMS
from catalog.layout.files import file_type, lstat
from catalog.layout.open_blob import BlobProblem
from catalog.names.digest import is_digest
from catalog.names.paths import real_path

LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_ALGORITHMS = 16
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # ELOOP: a link, which is not followed


class AlgorithmDirectories:
    """Opens each directory when it is first needed, and keeps it open, so that replacing it with a link has no effect.

    `store_path` is a path from `catalog.layout.beneath.opened_path`. `is_archive` is called with the error from opening the layout's own
    blob directory, and returns whether the store is an archive, which has no such directory.
    """

    def __init__(self, store_path: str, shared: str | None, is_archive: Callable[[OSError], bool]) -> None:
        self._store = store_path
        self.own = f"{plain(store_path).rstrip('/')}/blobs"
        """The path of the layout's own directory of blobs."""
        self.shared = shared
        """The path of the shared directory of blobs, if there is one."""
        self._tops = [self.own, *([shared] if shared else [])]
        self._is_archive = is_archive
        self._open: dict[tuple[str, str], int] = {}
        self.unlisted: dict[str, str] = {}
        """Directories that could not be read, each with the reason."""
        self.odd: dict[str, BlobProblem] = {}
        """The problem with anything that stands in place of a directory, by path."""

    def close(self) -> None:
        """Close all directories."""
        for descriptor in self._open.values():
            if descriptor >= 0:
                os.close(descriptor)
        self._open.clear()

    def names(self) -> tuple[list[str], list[str]]:
        """Return the names of the layout's own directories, ALGORITHMS first, and the names of files or links in their place.

        At most _MAX_ALGORITHMS names of each are returned. Raises OSError.
        """
        names: list[str] = []
        others: list[str] = []
        top = self._top(self.own)
        try:
            descriptor = os.open(".", LIST, dir_fd=top)
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

    def of_layout(self, algorithm: str) -> int:
        """Return a descriptor (O_PATH) of the layout's own directory for an algorithm, or -1 if there is none."""
        known = self._open.get((self.own, algorithm))
        return self._directory(self.own, algorithm) if known is None else known

    def is_open(self, algorithm: str) -> bool:
        """Return whether opening the layout's own directory for an algorithm was tried, successfully or not."""
        return (self.own, algorithm) in self._open

    def with_blob(self, digest: str) -> Iterator[tuple[int, str]]:
        """Yield a descriptor (O_PATH) of each directory that may contain the blob, and the blob's file name there. Raises Exhausted."""
        if is_digest(digest):
            algorithm, _, encoded = digest.partition(":")
            for top in self._tops:
                directory = self._directory(top, algorithm)
                if directory >= 0:
                    yield directory, encoded

    def note(self, path: str, error: OSError) -> None:
        """Record that a directory could not be opened or listed. An absent directory of the layout itself is not recorded.

        Raises Exhausted.
        """
        refuse_exhausted(error)
        # An operator chose the shared directory, so it is reported if absent.
        if error.errno not in _NOT_THERE or path == self.shared:
            self.unlisted[path] = error.strerror or str(error)
        elif error.errno != errno.ENOENT:
            self.note_odd(path)

    def note_odd(self, path: str) -> None:
        """Record that something else stands in place of a directory, unless that is a link to the shared directory."""
        found = self._look(path)
        if found is None or stat.S_ISDIR(found.st_mode):
            return
        if not stat.S_ISLNK(found.st_mode):
            self.odd[path] = BlobProblem("bad-blob", f"is {file_type(found)}, not a directory of blobs")
        elif not self._is_shared(path):
            try:
                _, target = self._target(path)
            except OSError:
                target = ""
            self.odd[path] = BlobProblem("linked", link_advice(path, target))

    def places(self, linked_blobs: Iterable[str], most: int) -> dict[str, bool]:
        """Return the identifiers (blob_places.py) of the directories that contain the blobs, including directories behind links.

        The value is True for the layout's own directories. In a shared directory and behind links, only ALGORITHMS count. `linked_blobs`
        are the digests of blobs that are links, which are read until they have `most` targets. Raises Exhausted, but never OSError.
        """
        places: dict[str, bool] = {}
        for algorithm in ALGORITHMS if self.shared is not None else ():
            self._directory(self._tops[1], algorithm)
        for (top, algorithm), directory in sorted(self._open.items(), key=lambda each: each[0][0] == self.own):
            if directory >= 0:
                with contextlib.suppress(OSError):
                    places |= dict.fromkeys(directory_places(directory), top == self.own)
                places[f"{top}/{algorithm}"] = top == self.own
        targets: set[tuple[str, str]] = set()
        for path, problem in self.odd.items():
            if problem.kind == "linked":
                with contextlib.suppress(OSError):
                    near, target = self._target(path)
                    below = ALGORITHMS if path == self.own else (".",)
                    targets.update((near, os.path.normpath(f"{target}/{name}")) for name in below)
        for near, target in sorted(targets | self._targets_of(linked_blobs, most)):
            for place in link_places(near, target):
                places.setdefault(place, False)
        return places

    def _targets_of(self, linked_blobs: Iterable[str], most: int) -> set[tuple[str, str]]:
        """Return the target directories of blobs that are links, each with the directory that contains the link."""
        targets: set[tuple[str, str]] = set()
        for digest in linked_blobs:
            for directory, encoded in self.with_blob(digest):
                with contextlib.suppress(OSError):
                    near = path_of(directory) or "/"
                    target = os.path.normpath(os.path.join(near, os.readlink(encoded, dir_fd=directory)))
                    targets.add((near, os.path.dirname(target)))
            if len(targets) >= most:
                break
        return targets

    def _directory(self, top: str, algorithm: str) -> int:
        """Return a descriptor of the directory of an algorithm in `top`, or -1 if there is none. Does not follow links."""
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
                if top == self.shared or not self._is_archive(error):
                    self.note(path, error)
            self._open[top, algorithm] = known
        return known

    def _top(self, top: str) -> int:
        """Return a descriptor of the layout's own blob directory, or of the shared one. Raises OSError."""
        if top == self.shared:
            return open_directory(f"{top}/.")
        return self._open_own()

    def _open_own(self) -> int:
        directory = open_directory(self._store)
        try:
            return open_below(directory, "blobs")
        finally:
            os.close(directory)

    def _is_in_layout(self, path: str) -> bool:
        return path == self.own or path.startswith(f"{self.own}/")

    def _look(self, path: str) -> os.stat_result | None:
        """Return the stat of a directory, given its plain path, or None if that fails. Does not follow links. Raises Exhausted."""
        if not self._is_in_layout(path):
            return lstat(path)
        try:
            directory = self._above(path)
            try:
                return os.stat(os.path.basename(path), dir_fd=directory, follow_symlinks=False)
            finally:
                os.close(directory)
        except OSError as error:
            refuse_exhausted(error)
            return None

    def _above(self, path: str) -> int:
        """Return a descriptor of the parent of one of the layout's own directories. Raises OSError."""
        return open_directory(self._store) if path == self.own else self._open_own()

    def _is_shared(self, path: str) -> bool:
        """Return whether a link in the layout leads to the shared directory or to a directory in it.

        The blobs behind such a link are found anyway.
        """
        if self.shared is None or not self._is_in_layout(path):
            return False
        try:
            _, target = self._target(path)
        except OSError as error:
            refuse_exhausted(error)
            return False
        # The link is read, not followed, so a link that leads there through another link is not recognised.
        return target in {f"{top}{path[len(self.own) :]}" for top in (self.shared, real_path(self.shared))}

    def _target(self, path: str) -> tuple[str, str]:
        """Return the location and the target of a link that stands in place of a directory of the layout. Raises OSError.

        The link is read, not followed.
        """
        directory = self._above(path)
        try:
            link = os.readlink(os.path.basename(path), dir_fd=directory)
            near = path_of(directory) or os.path.dirname(path)
            return near, os.path.normpath(os.path.join(near, link))
        finally:
            os.close(directory)
