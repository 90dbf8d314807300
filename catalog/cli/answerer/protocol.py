"""The protocol between the launcher and the answerer. The other half of it is in contrib/launcher/ocicat.c.

Each connection carries one question. The launcher sends a length of four bytes and then fields that each end with a NUL. The
answerer sends a length, whether it has answered, the exit status, and pieces of stdout and stderr in the order in which they are
printed. Numbers have the byte order of the machine.
"""

from __future__ import annotations

import struct

from catalog._version import __version__

PROTOCOL = "ocicat-answer 1"
LARGEST_REQUEST = 64 << 10
LARGEST_REPLY = 1 << 20
"""In bytes. A larger answer is left to the program itself, which prints it as it comes."""

_LENGTH = struct.Struct("=I")
_HEAD = struct.Struct("=IBB")
_PIECE = struct.Struct("=BI")
_ANSWERED, _DECLINED = 0, 1
_FIELDS = 10


class NoRequest(Exception):
    """The bytes are not a request of this protocol and version."""


class Request:
    """A question: `words` is the command line without `--db`, and `catalog` the path or URL of the catalog.

    `terminals` contains the digit 1 if stdout is a terminal, and 2 if stderr is one. `width` is the width of the first of these
    terminals, or 0. `file` is the device and inode of the catalog as the launcher sees it, and `here` those of its working
    directory `cwd`. `mounts` is the launcher's mount namespace. `variables` has the environment variables that can change an
    answer.
    """

    __slots__ = ("catalog", "cwd", "file", "here", "mounts", "terminals", "variables", "width", "words")

    def __init__(self, data: bytes) -> None:
        """Parse the bytes after the length. Raises NoRequest."""
        fields = data.split(b"\0")
        if len(fields) <= _FIELDS or fields.pop():
            raise NoRequest("not a list of fields that end with a NUL")
        if fields[:2] != [PROTOCOL.encode(), __version__.encode()]:
            raise NoRequest("of another version")
        try:
            self.terminals = fields[2].decode("ascii")
            self.width = int(fields[3])
            device, _, inode = fields[5].partition(b":")
            self.file = int(device), int(inode)
            device, _, inode = fields[7].partition(b":")
            self.here = int(device), int(inode)
            count = int(fields[9])
        except ValueError as error:
            raise NoRequest("a field is not a number") from error
        self.catalog, self.cwd, self.mounts = _text(fields[4]), _text(fields[6]), _text(fields[8])
        if not 0 < count <= len(fields) - _FIELDS:
            raise NoRequest("words are missing")
        self.words = [_text(each) for each in fields[_FIELDS : _FIELDS + count]]
        self.variables = {}
        for each in fields[_FIELDS + count :]:
            name, equals, value = each.partition(b"=")
            if not name or not equals:
                raise NoRequest("a variable without a name or value")
            self.variables[_text(name)] = _text(value)


def length_of(data: bytes | bytearray) -> int | None:
    """Return the length in bytes of the request that begins with `data`, including its length field, or None if `data` is shorter than that.

    Raises NoRequest if it is longer than LARGEST_REQUEST.
    """
    if len(data) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(data)
    if length > LARGEST_REQUEST:
        raise NoRequest("too long")
    return int(length) + _LENGTH.size


def answered(status: int, pieces: list[tuple[int, bytes]]) -> bytes:
    """Return the bytes of a reply with this exit status. `pieces` is the output as pairs of a descriptor (1 or 2) and bytes."""
    body = b"".join([each for number, data in pieces for each in (_PIECE.pack(number, len(data)), data)])
    return _HEAD.pack(len(body) + _HEAD.size - _LENGTH.size, _ANSWERED, status) + body


DECLINED = _HEAD.pack(_HEAD.size - _LENGTH.size, _DECLINED, 0)
"""The reply to a question that the program itself has to answer."""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")  # as Python decodes its arguments and environment
