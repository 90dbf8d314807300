"""The files that an extraction of a tar archive would leave: the last member of each name, with hard links resolved.

Symbolic links, devices, sparse files and names that lead out of the archive are reported as problems and never followed or read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from catalog.layout.blobs_identity import ALGORITHMS
from catalog.layout.member_names import digest_of, normal_name
from catalog.layout.small_members import SmallMembers
from catalog.layout.tar_headers import DIRECTORY, FILE, HARD_LINK, SYMBOLIC_LINK, Member

MOST_PROBLEMS = 100
"""The most unusable members that are reported individually. The rest are counted."""
_SHORT_NAME = 200
_FILES_OF_LAYOUT = (b"index.json", b"oci-layout")


class MemberPlace(NamedTuple):
    """The offset and size of a member's bytes, or the reason why the member is not used."""

    offset: int
    size: int
    reason: str = ""


class OddMember(NamedTuple):
    """A member that is not used: its name, with surrogate escapes for bytes that are not UTF-8, and the reason."""

    name: str
    reason: str


class ArchiveContents:
    """The files that an extraction of the archive would leave. `odd` are members that are not used, at most MOST_PROBLEMS.

    For a compressed archive, `compression` is the name of the format, and `small` has the bytes of small members.
    """

    def __init__(self) -> None:
        self._places: dict[bytes, MemberPlace] = {}
        self.odd: list[OddMember] = []
        self.more_odd = 0
        self.has_blobs = False
        self.compression: str | None = None
        self.small: SmallMembers | None = None

    def add(self, member: Member) -> None:
        """Add the next member, in the order of the archive."""
        name = normal_name(member.name)
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
        target = normal_name(member.target)
        place = None if target is None else self._places.get(_key(target))
        if place is None:
            why = "leads out of the archive" if target is None else "is not in the archive before it"
            place = MemberPlace(-1, 0, f"is a hard link to a member that {why}")
            self._note(member.name, place.reason)
        return place

    def _note(self, name: bytes, reason: str) -> None:
        """Record an unusable member, unless it is a file of the layout: its reason is reported in another way."""
        normal = normal_name(name)
        if normal is not None and (normal in _FILES_OF_LAYOUT or digest_of(normal) is not None):
            return
        if len(self.odd) < MOST_PROBLEMS:
            self.odd.append(OddMember(name[:_SHORT_NAME].decode("utf-8", "surrogateescape"), reason))
        else:
            self.more_odd += 1

    def __len__(self) -> int:
        return len(self._places)

    def get(self, name: str) -> MemberPlace | None:
        """Return the place of the member of that name, or None if there is none."""
        return self._places.get(name.encode())

    def blob(self, digest: str) -> MemberPlace | None:
        """Return the place of a blob, or None if it is absent or if its directory is not a directory."""
        algorithm, _, encoded = digest.partition(":")
        place = self._places.get(f"blobs/{algorithm}/{encoded}".encode())
        return place if place is not None and self._is_directory(algorithm) else None

    def blobs(self) -> Iterator[tuple[str, MemberPlace]]:
        """Yield the digest and the place of each blob."""
        fine: dict[str, bool] = {}
        for key, place in self._places.items():
            digest = digest_of(key)
            if digest is not None:
                algorithm = digest.partition(":")[0]
                if algorithm not in fine:
                    fine[algorithm] = self._is_directory(algorithm)
                if fine[algorithm]:
                    yield digest, place

    def not_directories(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each blob directory (`blobs` or one in it) that is not a directory, and what it is instead."""
        for name in ("blobs", *(f"blobs/{algorithm}" for algorithm in ALGORITHMS)):
            place = self._places.get(name.encode())
            if place is not None and place.reason != f"is {DIRECTORY}":
                yield name, place.reason or f"is {FILE}"

    def _is_directory(self, algorithm: str) -> bool:
        """Return whether `blobs` and the directory of an algorithm are directories or have no member of their own."""
        above = (self._places.get(name.encode()) for name in ("blobs", f"blobs/{algorithm}"))
        return all(place is None or place.reason == f"is {DIRECTORY}" for place in above)


def is_layout(contents: ArchiveContents) -> bool:
    """Return whether these members are a layout, by the rule for directories (discover.py)."""
    marker = contents.get("oci-layout")
    if marker is not None and marker.reason != f"is {DIRECTORY}":
        return True
    return contents.get("index.json") is not None and contents.has_blobs


def begins_layout(contents: ArchiveContents) -> bool:
    """Return whether one of these members, the first ones of an archive, looks like part of a layout."""
    return contents.has_blobs or contents.get("oci-layout") is not None or contents.get("index.json") is not None


def _key(name: bytes) -> bytes:
    """Return the key of a name. A long name, which no layout has, is replaced by a hash."""
    return name if len(name) <= _SHORT_NAME else b"\0" + hashlib.blake2b(name, digest_size=16).digest()
