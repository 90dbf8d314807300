"""A layout inside a tar archive: which members it has, as an extraction would leave them, and reading them where they are.

Nothing is extracted. The headers are read once (tar_headers.py), and what is kept of a member is where its bytes are. The last member
of a name counts, a hard link means the member that had its name before it, and names may begin with `./`. Symbolic links, devices,
sparse files and names that lead out of the archive are problems and never followed.

The members of a few archives are kept for some seconds in this process, because one pass looks at an archive several times.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from catalog.exhausted import refuse_exhausted
from catalog.layout.beneath import open_file, stat_file
from catalog.layout.blobs_identity import ALGORITHMS
from catalog.layout.tar_headers import DIRECTORY, FILE, HARD_LINK, SYMBOLIC_LINK, Member, Torn, members
from catalog.names.digest import is_digest

MOST_PROBLEMS = 100
"""How many odd members are reported individually. The rest are counted."""
_SHORT_NAME = 200
_KEPT_SECONDS = 10.0
_KEPT_MEMBERS = 50_000  # in all archives that are kept
_TICK_NS = 20_000_000  # The kernel's clock for the times of files ticks every 1 to 10 ms.
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\0": "xz", b"BZh": "bzip2"}
_FILES_OF_LAYOUT = (b"index.json", b"oci-layout")
_FIRST = 16
"""One of so many first members has to look like part of a layout, or the rest is not looked at when archives are searched for."""


class MemberPlace(NamedTuple):
    """Where the bytes of a member are, or why it has none that count."""

    offset: int
    size: int
    reason: str = ""


class OddMember(NamedTuple):
    """A member that does not count: its name, with escapes for what is not UTF-8, and the reason."""

    name: str
    reason: str


class ArchiveContents:
    """What an extraction of the archive would leave. `odd` are members that do not count; at most MOST_PROBLEMS are kept."""

    def __init__(self) -> None:
        self._places: dict[bytes, MemberPlace] = {}
        self.odd: list[OddMember] = []
        self.more_odd = 0
        self.has_blobs = False

    def add(self, member: Member) -> None:
        """Add a member after those before it."""
        name = _normal(member.name)
        if name is None:
            self._note(member.name, "leads out of the archive")
            return
        if not name:
            return  # the top directory
        key = _key(name)
        self.has_blobs = self.has_blobs or name == b"blobs" or name.startswith(b"blobs/")
        if member.kind == FILE:
            self._places[key] = MemberPlace(member.offset, member.size)
        elif member.kind == HARD_LINK:
            self._places[key] = self._linked(member)
        else:
            self._places[key] = MemberPlace(-1, 0, f"is {member.kind}")
            if member.kind != DIRECTORY:
                advice = ", which is not followed" if member.kind == SYMBOLIC_LINK else ", which is not read"
                self._note(member.name, f"is {member.kind}{advice}")

    def _linked(self, member: Member) -> MemberPlace:
        target = _normal(member.target)
        place = None if target is None else self._places.get(_key(target))
        if place is None:
            why = "leads out of the archive" if target is None else "is not in the archive before it"
            place = MemberPlace(-1, 0, f"is a hard link to a member that {why}")
            self._note(member.name, place.reason)
        return place

    def _note(self, name: bytes, reason: str) -> None:
        """Note an odd member, unless it is a file of the layout, of which the reason is reported in another way."""
        normal = _normal(name)
        if normal is not None and (normal in _FILES_OF_LAYOUT or _digest_of(normal) is not None):
            return
        if len(self.odd) < MOST_PROBLEMS:
            self.odd.append(OddMember(name[:_SHORT_NAME].decode("utf-8", "surrogateescape"), reason))
        else:
            self.more_odd += 1

    def __len__(self) -> int:
        return len(self._places)

    def get(self, name: str) -> MemberPlace | None:
        """Return where the member of that name is; None if there is none."""
        return self._places.get(name.encode())

    def blob(self, digest: str) -> MemberPlace | None:
        """Return where a blob is; None if it is absent, also if its directory is something else."""
        algorithm, _, encoded = digest.partition(":")
        place = self._places.get(f"blobs/{algorithm}/{encoded}".encode())
        return place if place is not None and self._is_directory(algorithm) else None

    def blobs(self) -> Iterator[tuple[str, MemberPlace]]:
        """Yield the digest of each blob and where it is."""
        fine: dict[str, bool] = {}
        for key, place in self._places.items():
            digest = _digest_of(key)
            if digest is not None:
                algorithm = digest.partition(":")[0]
                if algorithm not in fine:
                    fine[algorithm] = self._is_directory(algorithm)
                if fine[algorithm]:
                    yield digest, place

    def not_directories(self) -> Iterator[tuple[str, str]]:
        """Yield `blobs`, or a directory in it, if it is not a directory, and what it is."""
        for name in ("blobs", *(f"blobs/{algorithm}" for algorithm in ALGORITHMS)):
            place = self._places.get(name.encode())
            if place is not None and place.reason != f"is {DIRECTORY}":
                yield name, place.reason or f"is {FILE}"

    def _is_directory(self, algorithm: str) -> bool:
        """Return whether nothing else than a directory is in the place of `blobs` and of the directory of an algorithm."""
        above = (self._places.get(name.encode()) for name in ("blobs", f"blobs/{algorithm}"))
        return all(place is None or place.reason == f"is {DIRECTORY}" for place in above)


class Archive:
    """A tar archive, open for reading. `found` is its stat when it was opened, `contents` are its members.

    Opening raises OSError if there is no regular file at the path, Torn, and Exhausted.
    """

    def __init__(self, opened: str) -> None:
        self.descriptor = -1
        _check_regular(stat_file(opened))  # before it is opened, because opening a device may do anything
        self.descriptor = open_file(opened)
        try:
            self.found = os.fstat(self.descriptor)
            _check_regular(self.found)
            self.contents = _KEPT.get(self.found) or self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> ArchiveContents:
        contents = ArchiveContents()
        for member in members(self.read, self.found.st_size):
            contents.add(member)
        _KEPT.put(self.found, contents)
        return contents

    def read(self, size: int, offset: int) -> bytes:
        """Return `size` bytes from `offset` on; fewer only at the end of the file. Raises OSError."""
        pieces = []
        while size > 0 and (piece := os.pread(self.descriptor, size, offset)):
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def is_as_read(self, found: os.stat_result) -> bool:
        """Return whether the archive, whose stat is `found` now, is as it was when its headers were read."""
        return _file(found) == _file(self.found)

    def take(self) -> int:
        """Return the descriptor, which the caller closes from now on."""
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
    """Return whether there is a tar archive with a layout at a path from `opened_path`. Never raises OSError.

    Most of a file that holds something else is not read: one of its first members has to look like part of a layout.
    """
    try:
        found = stat_file(opened)
        if not stat.S_ISREG(found.st_mode) or found.st_size < 1024:
            return False
        descriptor = open_file(opened)
    except OSError as error:
        refuse_exhausted(error)
        return False
    try:
        contents = ArchiveContents()
        for number, member in enumerate(members(lambda size, at: os.pread(descriptor, size, at), found.st_size), 1):
            contents.add(member)
            if number == _FIRST and not _begins_layout(contents):
                return False
        return is_layout(contents)
    except (OSError, Torn):
        return False
    finally:
        os.close(descriptor)


def why_no_archive(opened: str) -> str | None:
    """Return why the file at a path from `opened_path` is not a tar archive with a layout; None if it is one. Raises Exhausted."""
    try:
        archive = Archive(opened)
    except Torn as torn:
        return _why_compressed(opened) or str(torn)
    except OSError as error:
        refuse_exhausted(error)
        return f"cannot be read: {error.strerror}"
    archive.close()
    if is_layout(archive.contents):
        return None
    if archive.contents.get("manifest.json") is not None:
        return "has no index.json: it is of docker save before 25, or of podman save without --format oci-archive"
    return "has neither oci-layout nor index.json and blobs"


def _why_compressed(opened: str) -> str | None:
    """Return what to do about a compressed file; None if it is not one. Raises OSError."""
    descriptor = open_file(opened)
    try:
        begins = os.pread(descriptor, 6, 0)
    finally:
        os.close(descriptor)
    how = next((how for magic, how in _COMPRESSED.items() if begins.startswith(magic)), None)
    return (
        None
        if how is None
        else f"is compressed with {how}, so its blobs cannot be read in place: give the tar file itself"
    )


def is_layout(contents: ArchiveContents) -> bool:
    """Return whether these members are a layout, by the rule for directories (discover.py)."""
    marker = contents.get("oci-layout")
    if marker is not None and marker.reason != f"is {DIRECTORY}":
        return True
    return contents.get("index.json") is not None and contents.has_blobs


def _begins_layout(contents: ArchiveContents) -> bool:
    return contents.has_blobs or contents.get("oci-layout") is not None or contents.get("index.json") is not None


def _normal(name: bytes) -> bytes | None:
    """Return the name of a member without `./` and slashes at its end; None if it leads out of the archive."""
    if name.startswith(b"/"):
        return None
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    return None if b".." in parts else b"/".join(parts)


def _digest_of(name: bytes) -> str | None:
    """Return the digest of the blob that has this name in a layout; None if it is the name of something else."""
    if not name.startswith(b"blobs/"):
        return None
    algorithm, slash, encoded = name[6:].decode("utf-8", "replace").partition("/")
    digest = f"{algorithm}:{encoded}"
    return digest if slash and is_digest(digest) else None


def _key(name: bytes) -> bytes:
    """Return the key of a name: long names, of which no layout has any, are kept as a hash."""
    return name if len(name) <= _SHORT_NAME else b"\0" + hashlib.blake2b(name, digest_size=16).digest()


class _Kept:
    """The members of archives that were read lately, by what their stat shows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_file: OrderedDict[tuple[int, ...], tuple[float, ArchiveContents]] = OrderedDict()

    def get(self, found: os.stat_result) -> ArchiveContents | None:
        with self._lock:
            kept = self._by_file.get(_file(found))
        return kept[1] if kept is not None and time.monotonic() - kept[0] < _KEPT_SECONDS else None

    def put(self, found: os.stat_result, contents: ArchiveContents) -> None:
        """Keep the members of an archive, unless it may still change without another time (git's racy rule)."""
        changed = max(found.st_mtime_ns, found.st_ctime_ns)
        if not time.time_ns() - changed > _TICK_NS:
            return
        now = time.monotonic()
        with self._lock:
            self._by_file[_file(found)] = now, contents
            self._by_file.move_to_end(_file(found))
            total = sum(len(each) for _, each in self._by_file.values())
            while self._by_file and (total > _KEPT_MEMBERS or len(self._by_file) > 8):
                total -= len(self._by_file.popitem(last=False)[1][1])


def _file(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


_KEPT = _Kept()
