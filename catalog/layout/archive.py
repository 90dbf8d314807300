"""A layout inside a tar archive: list its members, as an extraction would leave them, and read them in place.

Nothing is extracted. The headers are read once (tar_headers.py, archive_pass.py), and only the location of each member's bytes is kept
(archive_contents.py). A compressed archive is inflated once, and then its small members are kept as well (small_members.py).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from catalog.exhausted import refuse_exhausted
from catalog.layout.archive_contents import ArchiveContents, begins_layout, is_layout
from catalog.layout.archive_pass import contents_of, identity_of, is_racy
from catalog.layout.beneath import open_file, stat_file
from catalog.layout.inflating import INFLATED, MAGIC_BYTES, Inflating, NotInstalled, compression
from catalog.layout.list_limits import ListLimits
from catalog.layout.member_names import digest_of, normal_name
from catalog.layout.open_blob import read_at
from catalog.layout.tar_headers import FILE, Torn, members, steps

_FIRST = 16
"""If none of this many first members looks like part of a layout, a search for archives does not read the rest of the file."""
_MANY = 4_000
"""A search for archives reads this many headers. An archive that has more counts as a layout if a blob is among them."""
_LEAST = 1024  # bytes of an uncompressed archive: the zeros at its end
_LOOK = ListLimits(archive_bytes=1 << 20)
"""How much of a compressed file is inflated to find out whether it looks like a layout."""
_MOST_OTHERS = 10_000


class Archive:
    """A tar archive, open for reading. `found` is its stat when it was opened, `contents` are its members.

    A compressed archive is only read with `limits`. Opening raises OSError if there is no regular file at the path or it cannot be read,
    Torn, NotInstalled, and Compressed. `pause` is called now and then; if it raises, the exception is passed on, and the next attempt to
    open the archive continues where this one stopped.
    """

    def __init__(self, opened: str, limits: ListLimits | None = None, pause: Callable[[], None] = lambda: None) -> None:
        self.descriptor = -1
        _check_regular(stat_file(opened))  # before it is opened, because opening a device may do anything
        self.descriptor = open_file(opened)
        try:
            self.found = os.fstat(self.descriptor)
            _check_regular(self.found)
            self.contents = contents_of(self.descriptor, self.found, limits, pause)
        except BaseException:
            self.close()
            raise

    def is_as_read(self, found: os.stat_result) -> bool:
        """Return whether the archive, whose stat is `found` now, is as it was when its headers were read."""
        return identity_of(found, None) == identity_of(self.found, None)

    def take(self) -> int:
        """Return the descriptor. From now on, the caller must close it."""
        descriptor, self.descriptor = self.descriptor, -1
        return descriptor

    def close(self) -> None:
        """Close the file. Closing it again has no effect."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def _check_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.ENOTDIR, "neither a directory nor a regular file")


def is_archive(opened: str) -> bool:
    """Return whether there is a tar archive with a layout at a path from `opened_path`. Raises Exhausted, but never OSError.

    Most of a file with other contents is not read, because one of its first members has to look like part of a layout. Only the first
    members of a compressed file are read. Returns False for a file that cannot be inflated.
    """
    try:
        found = stat_file(opened)
        if not stat.S_ISREG(found.st_mode):
            return False
        descriptor = open_file(opened)
    except OSError as error:
        refuse_exhausted(error)
        return False
    try:
        how = compression(os.pread(descriptor, MAGIC_BYTES, 0))
        if how is not None:
            return how in INFLATED and _begins_like_layout(descriptor, found, how)
        if found.st_size < _LEAST:
            return False
        contents = ArchiveContents()
        count = 0
        for number, member in enumerate(steps(lambda size, at: os.pread(descriptor, size, at), found.st_size)):
            if number == _MANY:
                return next(contents.blobs(), None) is not None
            if member is not None:
                contents.add(member)
                count += 1
            if count == _FIRST and not begins_layout(contents):
                return False
        return is_layout(contents)
    except (OSError, Torn):
        return False
    finally:
        os.close(descriptor)


def compression_at(opened: str) -> str | None:
    """Return the compression of the file at a path from `opened_path`, or None if there is none or it cannot be read. Raises Exhausted."""
    try:
        _check_regular(stat_file(opened))
        descriptor = open_file(opened)
    except OSError as error:
        refuse_exhausted(error)
        return None
    try:
        return compression(os.pread(descriptor, MAGIC_BYTES, 0))
    except OSError as error:
        refuse_exhausted(error)
        return None
    finally:
        os.close(descriptor)


_OTHERS: dict[tuple[int, ...], bool] = {}
"""For each compressed file that was examined, by identity, whether it looks like a layout. Each sweep of a root needs this again."""


def _begins_like_layout(descriptor: int, found: os.stat_result, how: str) -> bool:
    """Return whether a compressed file begins with members that only a layout has. Raises OSError."""
    identity = identity_of(found, None)
    known = _OTHERS.get(identity)
    if known is None:
        try:
            known = _has_member_of_layout(Inflating(how, _LOOK, lambda size, at: read_at(descriptor, size, at)))
        except NotInstalled:
            return False
        if not is_racy(found):
            if len(_OTHERS) >= _MOST_OTHERS:
                _OTHERS.clear()
            _OTHERS[identity] = known
    return known


def _has_member_of_layout(inflating: Inflating) -> bool:
    try:
        for number, member in enumerate(members(inflating.read), 1):
            name = normal_name(member.name)
            if name is not None and member.kind == FILE and (name == b"oci-layout" or digest_of(name) is not None):
                return True
            if number == _FIRST:
                break
    except Torn:
        pass
    return False


def why_no_archive(opened: str, limits: ListLimits) -> str | None:
    """Return why the file at a path from `opened_path` is not a tar archive with a layout, or None if it is one. Raises Exhausted."""
    try:
        archive = Archive(opened, limits)
    except (Torn, NotInstalled) as error:
        return str(error)
    except OSError as error:
        refuse_exhausted(error)
        return f"cannot be read: {error.strerror}"
    archive.close()
    if is_layout(archive.contents):
        return None
    if archive.contents.get("manifest.json") is not None:
        return "has no index.json: docker save before 25 and podman save without --format oci-archive write none"
    return "has neither oci-layout nor index.json and blobs"
