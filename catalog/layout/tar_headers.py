"""Read the headers of an untrusted tar archive (POSIX ustar and pax, GNU, star, V7) in bounded time and memory.

Python's tarfile was not used: it keeps two kilobytes for each member, reads extended headers of any size into memory, and had loops
over headers that ran for minutes or for ever on some input (CVE-2019-20907, CVE-2024-6232, CVE-2025-8194). This reader finds only
what a layout needs: the place of each member's bytes. An archive about which programs that read tar disagree is refused (decision 0023).

Everything is read through `read(size, offset)`, forwards, so the same code reads a file in place and a compressed stream.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

BLOCK = 512
MOST_HEADERS = 500_000
"""The most header blocks of an archive, including those of extended headers and sparse maps."""
MOST_MEMBERS = 100_000
"""The most members of an archive."""
EXTENDED_BYTES = 1 << 20
"""The largest extended header. Go has the same limit."""
_WINDOW = 16 << 10  # the bytes that are read at once: several headers if the members are small

FILE, DIRECTORY, HARD_LINK, SYMBOLIC_LINK, SPARSE = (
    "a regular file",
    "a directory",
    "a hard link",
    "a symbolic link",
    "a sparse file",
)
_KINDS = {
    b"0": FILE, b"\0": FILE, b"7": FILE, b"1": HARD_LINK, b"2": SYMBOLIC_LINK, b"3": "a character device", b"4": "a block device",
    b"5": DIRECTORY, b"D": DIRECTORY, b"6": "a FIFO", b"S": SPARSE,
}  # fmt: skip
_WITHOUT_DATA = b"23456"
NOT_TAR = "is not a tar archive"
_ZEROS = bytes(BLOCK)
_OCTAL = re.compile(rb"[0-7]*\Z")
_DECIMAL = re.compile(rb"[0-9]{1,19}\Z")
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ")
_MOST_SIZE = (1 << 63) - 1


class Torn(Exception):
    """The archive is cut off, damaged, or contradicts itself. The message is one line."""


class Member(NamedTuple):
    """A member: its name as written, its kind (FILE and so on), and the offset and size of its bytes. A link has a `target`."""

    name: bytes
    kind: str
    offset: int
    size: int
    target: bytes


def members(read: Callable[[int, int], bytes], size: int | None = None) -> Iterator[Member]:
    """Yield the members in their order, without the pauses of `steps`."""
    return (each for each in steps(read, size) if each is not None)


def steps(read: Callable[[int, int], bytes], size: int | None = None) -> Iterator[Member | None]:
    """Yield the members in their order, and None after other headers. There may be many other headers before the next member.

    `read(size, offset)` returns fewer bytes only at the end of the archive. Its offsets never decrease. `size` is the size of the
    archive in bytes, if it is known; no member may end beyond it. Raises Torn, and anything that `read` raises.
    """
    blocks = _Blocks(read, size)
    count = itertools.count(1)
    at = 0
    extended: dict[bytes, bytes] = {}
    while True:
        block = blocks.header(at)
        if block == _ZEROS:
            if blocks.read(BLOCK, at + BLOCK) not in (_ZEROS, b""):
                raise Torn(f"has an empty header at byte {at}, and more after it")
            if extended:
                raise Torn(f"ends after an extended header, at byte {at}")
            return
        kind, length = _header(block, at)
        at += BLOCK
        if kind in b"xXLK":
            _extend(extended, kind, _extension(blocks, at, length))
            yield None
        elif kind == b"g":
            if {b"path", b"linkpath", b"size"} & _records(_extension(blocks, at, length)).keys():
                raise Torn("has a global header with a path or a size, which programs read differently")
            yield None
        else:
            if next(count) > MOST_MEMBERS:
                raise Torn(f"has more than {MOST_MEMBERS} members")
            if kind == b"S":
                at = yield from blocks.behind_map(block, at)
            member = _member(block, kind, at, length, extended)
            extended = {}
            blocks.check(member)
            yield member
            length = member.size
        at += -(-length // BLOCK) * BLOCK


class _Blocks:
    """Reads the archive, a window at a time, and counts header blocks."""

    def __init__(self, read: Callable[[int, int], bytes], size: int | None) -> None:
        self._read = read
        self._size = size
        self._window = b""
        self._begin = 0
        self._headers = 0

    def header(self, at: int) -> bytes:
        """Return the block at `at`. Raises Torn."""
        self._headers += 1
        if self._headers > MOST_HEADERS:
            raise Torn(f"has more than {MOST_HEADERS} headers")
        block = self.read(BLOCK, at)
        if len(block) < BLOCK:
            raise Torn(f"is cut off at byte {at + len(block)}, " + ("in a header" if block else "without an end"))
        return block

    def read(self, size: int, at: int) -> bytes:
        """Return `size` bytes from `at` on, or fewer at the end of the archive."""
        begin = at - self._begin
        if not (begin >= 0 and begin + size <= len(self._window)):
            wanted = max(size, _WINDOW)
            if self._size is not None:
                wanted = min(wanted, self._size - at)
            self._window, self._begin, begin = self._read(wanted, at) if wanted > 0 else b"", at, 0
        return self._window[begin : begin + size]

    def behind_map(self, block: bytes, at: int) -> Generator[None, None, int]:
        """Return the offset of the data of a sparse member of GNU tar, after the blocks that contain the rest of its map.

        Yields once per such block. Raises Torn.
        """
        more = block[482]
        while more:
            more = self.header(at)[504]
            at += BLOCK
            yield
        return at

    def check(self, member: Member) -> None:
        """Raise Torn if a member ends beyond the end of the archive."""
        if self._size is not None and member.offset + member.size > self._size:
            end = member.offset + member.size
            raise Torn(f"is cut off: its {self._size} bytes end in a member that ends at byte {end}")


def _header(block: bytes, at: int) -> tuple[bytes, int]:
    """Return the type of a header and the size of the data after it, in bytes. Raises Torn."""
    # POSIX adds the bytes as unsigned numbers, with spaces in place of the checksum; some programs added signed numbers.
    # GNU tar does not accept a checksum in base 256.
    checksum = None if block[148] & 0x80 else _number(block[148:156], at)
    total = sum(block) - sum(block[148:156]) + 8 * 32
    if checksum != total and checksum != total - 256 * sum(byte > 127 for byte in block[:148] + block[156:]):
        raise Torn(f"has a header with a wrong checksum at byte {at}" if at else NOT_TAR)
    kind = block[156:157]
    length = _number(block[124:136], at)
    if kind == b"1":
        return kind, 0  # some programs write the size of the link's target here
    if length and kind in _WITHOUT_DATA:
        raise Torn(f"has {_KINDS[kind]} with {length} bytes at byte {at}, which programs read differently")
    return kind, length


def _number(field: bytes, at: int) -> int:
    """Return the number in a field, in octal digits, or in base 256 as GNU tar writes large numbers. Raises Torn."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        if field[0] & 0x40 or value > _MOST_SIZE:
            raise Torn(f"has a header with a negative or too large number at byte {at}")
        return value
    digits = field.strip(b" \0")
    if _OCTAL.match(digits) is None:
        raise Torn(f"has a header with a malformed number at byte {at}" if at else NOT_TAR)
    return int(digits or b"0", 8)


def _member(block: bytes, kind: bytes, at: int, length: int, extended: dict[bytes, bytes]) -> Member:
    """Return the member of a header. `extended` are the records of the extended headers before it. Raises Torn."""
    name = extended.get(b"path") or _name(block)
    if b"\0" in name:
        raise Torn(f"has a name with a NUL before byte {at}")
    what = _KINDS.get(kind, f"of the unknown type {kind!r}")
    if any(key.startswith(b"GNU.sparse.") for key in extended):
        what = SPARSE
    if what is FILE and name.endswith(b"/"):
        what = DIRECTORY  # as V7 wrote directories
        if length:
            raise Torn(f"has a directory with {length} bytes before byte {at}, which programs read differently")
    elif extended.get(b"size") and what not in (DIRECTORY, HARD_LINK, SYMBOLIC_LINK):
        if _DECIMAL.match(extended[b"size"]) is None:
            raise Torn(f"has an extended header with a malformed size before byte {at}")
        length = int(extended[b"size"])
    target = extended.get(b"linkpath") or _text(block[157:257])
    return Member(name, what, at, length, target if what in (HARD_LINK, SYMBOLIC_LINK) else b"")


def _name(block: bytes) -> bytes:
    name = _text(block[:100])
    if block[257:263] != b"ustar\0":  # GNU tar and V7 have other data where ustar has the beginning of the name
        return name
    prefix = _text(block[345:476] if block[508:512] == b"tar\0" else block[345:500])
    return prefix + b"/" + name if prefix else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _extension(blocks: _Blocks, at: int, length: int) -> bytes:
    if length > EXTENDED_BYTES:
        raise Torn(f"has an extended header of {length} bytes, more than {EXTENDED_BYTES}, at byte {at}")
    data = blocks.read(length, at)
    if len(data) < length:
        raise Torn(f"is cut off at byte {at + len(data)}, in an extended header")
    return data


def _extend(extended: dict[bytes, bytes], kind: bytes, data: bytes) -> None:
    """Add the records of an extended header for the next member. Raises Torn if an earlier header has one of them, too."""
    long_key = b"path" if kind == b"L" else b"linkpath"
    records = {long_key: _text(data)} if kind in b"LK" else _records(data)
    if not records.keys().isdisjoint(extended):
        raise Torn("has two extended headers for one member that set the same field")
    extended.update(records)


def _records(data: bytes) -> dict[bytes, bytes]:
    """Return the records of a pax header, each `LENGTH KEY=VALUE` and a line end (POSIX, pax Extended Header). Raises Torn."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        found = _RECORD.match(data, at)
        end = at + int(found[1]) if found is not None else -1
        key, equals, value = data[found.end() : end - 1].partition(b"=") if found is not None else (b"", b"", b"")
        if end > len(data) or not equals or not key or data[end - 1 : end] != b"\n":
            raise Torn("has a malformed extended header")
        records[key] = value
        at = end
    return records
