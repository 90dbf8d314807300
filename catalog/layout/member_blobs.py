"""The blobs of a store that is a tar archive. They are read in place, or from the bytes that were kept while it was inflated."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import plain, stat_file
from catalog.layout.files import ROOM, CompressedArchive, IndexChanged, IndexProblem, open_archive
from catalog.layout.list_limits import ListLimits
from catalog.layout.member_stat import member_stat
from catalog.layout.open_blob import BlobProblem, OpenBlob, check_size
from catalog.names.digest import is_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.layout.archive import Archive
    from catalog.layout.archive_contents import MemberPlace
    from catalog.layout.small_members import SmallMembers

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class MemberBlobs:
    """The blobs of the archive at a path from `opened_path`; none if the path is a directory. `are_meant` opens the archive.

    A compressed archive is inflated only with `limits`. Exceptions from `pause`, which is called while it is read, are passed on.
    """

    def __init__(self, store_path: str, limits: ListLimits | None, pause: Callable[[], None]) -> None:
        self._store = store_path
        self._limits, self._pause = limits, pause
        self._archive: Archive | None = None
        self._how_compressed = ""  # the reason for a BlobProblem, if the archive is compressed and was not inflated
        self.odd: dict[str, str] = {}
        """For each member that has the name of a blob but is not a regular file, what it is, by digest."""
        self.not_directories: dict[str, BlobProblem] = {}
        """The problems of blob directories that are not directories, by path."""
        self.unlisted: dict[str, str] = {}
        """The path of the archive, and the reason why its blobs are unknown; empty if they are known."""
        self.is_torn = False
        """Whether the archive cannot be read until it changes."""

    @property
    def path(self) -> str | None:
        """The path of the archive if it is open, else None."""
        return None if self._archive is None else plain(self._store)

    def close(self) -> None:
        """Close the archive, if it is open."""
        archive, self._archive = self._archive, None
        if archive is not None:
            archive.close()

    def are_meant(self, error: OSError) -> bool:
        """Return whether the store is an archive, given the error from opening it as a directory. If it is one, open it.

        An archive that cannot be read is recorded in `unlisted`. Raises Exhausted, and anything that `pause` raises.
        """
        if self._archive is not None or self.unlisted:
            return True
        if error.errno != errno.ENOTDIR:
            return False
        try:
            if not stat.S_ISREG(stat_file(self._store).st_mode):
                return False
            self._archive = open_archive(self._store, self._limits, self._pause)
        except CompressedArchive as problem:
            self._how_compressed = problem.reason
            self.unlisted[plain(self._store)] = problem.reason
        except IndexProblem as problem:
            self.unlisted[plain(self._store)] = problem.reason
            self.is_torn = problem.state in ("invalid", "missing")
        except IndexChanged as changed:
            self.unlisted[plain(self._store)] = str(changed)
        except OSError as failure:
            refuse_exhausted(failure)
            if failure.errno in _NOT_THERE:
                return False
            self.unlisted[plain(self._store)] = failure.strerror or str(failure)
        return True

    def stats(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the digest and the stat of each blob. Every stat has the times of the archive."""
        archive = self._archive
        if archive is None:
            return
        self.odd = {}
        for digest, place in archive.contents.blobs():
            if place.reason:
                self.odd[digest] = place.reason
            else:
                yield digest, member_stat(archive.found, place.size)
        for name, reason in archive.contents.not_directories():
            self.not_directories[f"{plain(self._store)}/{name}"] = BlobProblem(
                "bad-blob", f"{reason}, not a directory of blobs"
            )

    def problems(self) -> dict[str, BlobProblem]:
        """Return the problems of members that are not blobs, by path."""
        if self._archive is None:
            return {}
        path, contents = plain(self._store), self._archive.contents
        found = {f"{path}/{name}": BlobProblem("odd-member", reason) for name, reason in contents.odd}
        if contents.more_odd:
            found[path] = BlobProblem("odd-member", f"{contents.more_odd} more of its members are not used")
        return self.not_directories | found

    def stat(self, digest: str) -> os.stat_result | None:
        """Return the stat of the archive with the size of a blob, or None if the blob is absent."""
        place = self._place(digest)
        if self._archive is None or place is None:
            return None
        if place.reason:
            self.odd[digest] = place.reason
            return None
        return member_stat(self._archive.found, place.size)

    def open(self, digest: str) -> OpenBlob | None:
        """Return a blob, open for reading, or None if it is absent. The caller closes its descriptor.

        Raises Exhausted and BlobProblem. All blobs of a compressed archive raise BlobProblem, and so do all blobs of an archive that
        has changed since its headers were read.
        """
        if self._how_compressed:
            raise BlobProblem("unreadable-blob", self._how_compressed)
        place = self._place(digest)
        if self._archive is None or place is None:
            return None
        if place.reason:
            raise BlobProblem("bad-blob", place.reason)
        if self._archive.contents.compression is not None:
            raise BlobProblem("unreadable-blob", CompressedArchive(self._archive.contents.compression).reason)
        try:
            found = os.fstat(self._archive.descriptor)
            if not self._archive.is_as_read(found):
                raise BlobProblem("unreadable-blob", "is in an archive that changed while it was read")
            return OpenBlob(os.dup(self._archive.descriptor), member_stat(found, place.size), place.offset)
        except OSError as error:
            refuse_exhausted(error)
            raise BlobProblem("unreadable-blob", error.strerror or str(error)) from error

    def beginning(self, digest: str, size: int) -> bytes | None:
        """Return the first `size` bytes of a blob of an archive that was inflated, or None if the caller has to try `open`.

        For a blob that was not kept, returns only `{` if it begins like JSON, or no bytes if it does not.
        """
        place, small = self._place_in_compressed(digest)
        if place is None or small is None:
            return None
        data = small.get(place.offset)
        if data is not None:
            return data[:size]
        return b"{" if small.is_left_out(place.offset) else b""

    def read(self, digest: str, limit: int) -> bytes | None:
        """Return the bytes of a blob of an archive that was inflated, or None if the caller has to try `open`.

        The digest is not checked. Raises BlobProblem if the blob has more than `limit` bytes or was not kept.
        """
        place, small = self._place_in_compressed(digest)
        if place is None or small is None:
            return None
        check_size(place.size, limit)
        data = small.get(place.offset)
        if data is None and small.is_left_out(place.offset):
            raise BlobProblem("unreadable-blob", f"has {place.size} bytes, {ROOM}")
        if data is None:
            raise BlobProblem(
                "unreadable-blob", "does not begin like JSON, so it was not kept when the archive was inflated"
            )
        return data

    def _place_in_compressed(self, digest: str) -> tuple[MemberPlace | None, SmallMembers | None]:
        small = None if self._archive is None else self._archive.contents.small
        place = None if small is None else self._place(digest)
        return (None, None) if place is None or place.reason else (place, small)

    def _place(self, digest: str) -> MemberPlace | None:
        """Return the place of a blob in the archive, or None if the blob is absent or no archive is open."""
        return None if self._archive is None or not is_digest(digest) else self._archive.contents.blob(digest)
