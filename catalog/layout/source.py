"""A file's bytes as they come, and walking over one JSON value of any size in bounded memory.

The walk goes by brackets and strings alone. What it returns has then been through msgspec, which is as strict as Go and
has no limits of its own but Python's recursion limit; so nothing is taken for JSON on this module's word.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import msgspec

from catalog.layout.text import mend

WINDOW = 256 << 10
"""Bytes read at once."""

MAX_DEPTH = 10_000
"""Brackets within brackets before a file is refused; msgspec stops far below, at Python's recursion limit."""

_QUOTE = ord('"')
_SPACE = re.compile(rb"[ \t\n\r]*+")
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]*+")
# Strings and brackets are walked over without going back. Python before 3.11.5 takes too little where a group is repeated
# possessively (CPython's gh-106052; Debian 12 has such a Python): there an atomic group does it, with more memory.
if sys.version_info >= (3, 11, 5):
    _TEXT, _REPEATED = rb'[^"\\]*+(?:\\.[^"\\]*+)*+', rb"(?:%s)*+"
else:
    _TEXT, _REPEATED = rb'(?>(?:[^"\\]++|\\.)*)', rb"(?>(?:%s)*)"
_IN_STRING = re.compile(_TEXT, re.DOTALL)
_SKIPPED = (
    rb'[^"\[\]{}]++',  # anything that cannot open or close
    rb'"' + _TEXT + rb'"',  # a string that ends in what has been read
    rb'\[[^"\[\]{}]*+\]',  # brackets with none inside
    rb'\{[^"\[\]{}]*+\}',
)
_MARK = re.compile(_REPEATED % b"|".join(_SKIPPED) + rb'(["\[\]{}])', re.DOTALL)
_OFFSET = re.compile(r" \(byte (\d+)\)")

_decode_any = msgspec.json.Decoder(msgspec.Raw).decode


class Malformed(ValueError):
    """The file as a whole is not what it should be; one line says why, with an offset in bytes where there is one."""


class TooDeep(Malformed):
    """A value with more brackets within brackets than can be looked into. The position is behind it."""


def prove(text: bytes, offset: int = 0) -> None:
    """Raises Malformed where `text`, which stands at `offset`, is not exactly one JSON value, and TooDeep.

    As in Go, bytes that are no UTF-8 are let through, and so is half a surrogate pair (by `mend`).
    """
    try:
        try:
            _decode_any(text)
        except msgspec.DecodeError:
            _decode_any(mend(text))
    except RecursionError:
        raise TooDeep(f"nested too deep at byte {offset}") from None
    except msgspec.DecodeError as error:
        raise Malformed(_reason(str(error), offset, offset + len(text))) from None


def _reason(message: str, offset: int, end: int) -> str:
    found = _OFFSET.search(message)
    if found is None:
        return f"torn: the JSON ends in the middle, at byte {end}"
    text = message[: found.start()].removeprefix("JSON is malformed: ")
    at = offset + int(found[1]) - text.startswith("trailing char")  # which msgspec places one byte too far
    return f"no JSON: {text} at byte {at}"


class Source:
    """Bytes that are read piece by piece, and a position in them that only moves forward."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._dropped = 0
        self.ended = False
        self.buffer = b""
        self.at = 0

    @property
    def offset(self) -> int:
        """The position in the file, in bytes."""
        return self._dropped + self.at

    def more(self) -> bool:
        """Drops what lies before the position and reads on; False at the end of the file."""
        piece = b"" if self.ended else self._read(WINDOW)
        self.ended = not piece
        self._dropped += self.at
        self.buffer = self.buffer[self.at :] + piece
        self.at = 0
        return not self.ended

    def peek(self) -> int:
        """The next byte that is no white space, which stays where it is; -1 at the end of the file."""
        while True:
            self.at = _end(_SPACE, self.buffer, self.at)
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.more():
                return -1

    def take(self, wanted: bytes) -> int:
        """Moves past the next byte that is no white space and returns it; Malformed where it is none of `wanted`."""
        byte = self.peek()
        if byte < 0:
            raise Malformed(f"torn: the JSON ends in the middle, at byte {self.offset}")
        if byte not in wanted:
            names = " or ".join(repr(chr(one)) for one in wanted)
            raise Malformed(f"no JSON: {chr(byte)!a} at byte {self.offset}, where {names} should be")
        self.at += 1
        return byte

    def value(self, limit: int) -> bytes | None:
        """Moves past one value and returns its bytes, which are JSON; None where they are more than `limit`.

        Of a value that large, brackets and strings are looked at and no more. Raises Malformed where the file ends in
        the value or it is no JSON, TooDeep where nobody can tell.
        """
        walk = _Walk(self.peek())
        begin = self.offset
        reach = self.at if walk.in_scalar else self.at + 1
        whole = True
        while True:
            reach, done = walk.over(self.buffer, reach)
            if walk.trouble:
                raise Malformed(f"{walk.trouble} at byte {self._dropped + reach - 1}, in the value at byte {begin}")
            whole = whole and reach - self.at <= limit
            if done:
                break
            if not whole:
                self.at = reach
            reach -= self.at
            if not self.more():
                raise Malformed(f"torn: the JSON ends in the middle, in the value at byte {begin}")
        if self.offset == begin and reach == self.at:
            raise Malformed(f"no JSON: {chr(self.buffer[reach])!a} at byte {begin}, where a value should be")
        text = self.buffer[self.at : reach] if whole else None
        self.at = reach
        if text is not None:
            prove(text, begin)
        return text


class _Walk:
    """The state between the pieces of one value: which brackets are open, and whether a string is."""

    def __init__(self, first: int) -> None:
        self.in_scalar = first < 0 or first not in b'"[{'
        self.in_string = False
        self.closing = bytearray()
        self.trouble = ""
        if not self.in_scalar:
            self._mark(first)

    def over(self, buffer: bytes, at: int) -> tuple[int, bool]:
        """Where in `buffer` the value ends and True; or how far it has been walked over, and False.

        Where it is no JSON, or nested too deep, `trouble` says so, and the place returned is just behind it.
        """
        if self.in_scalar:
            end = _end(_SCALAR, buffer, at)
            return end, end < len(buffer)
        while True:
            if self.in_string:
                at = _end(_IN_STRING, buffer, at)
                if at == len(buffer) or buffer[at] != _QUOTE:  # a backslash may be the last byte so far
                    return at, False
                self.in_string = False
                at += 1
            else:
                found = _MARK.match(buffer, at)
                if found is None:
                    return len(buffer), False
                at = found.end()
                self._mark(buffer[at - 1])
            if self.trouble or (not self.in_string and not self.closing):
                return at, True

    def _mark(self, mark: int) -> None:
        if mark == _QUOTE:
            self.in_string = True
        elif mark in b"[{":
            self.closing.append(mark + 2)  # in ASCII a closing bracket comes two after its opening one
            if len(self.closing) > MAX_DEPTH:
                self.trouble = "nested too deep"
        elif not self.closing or self.closing.pop() != mark:
            self.trouble = f"no JSON: {chr(mark)!r} closes nothing"


def _end(pattern: re.Pattern[bytes], buffer: bytes, at: int) -> int:
    found = pattern.match(buffer, at)
    return found.end() if found else at
