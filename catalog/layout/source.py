"""Read a file piece by piece, and skip or return one JSON value of any size in bounded memory.

The end of a value is found by its brackets and strings alone. msgspec also checks each value that is returned; it is as
strict as Go and has no limit other than Python's recursion limit.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import msgspec

from catalog.layout.text import mend

WINDOW = 256 << 10
"""The number of bytes that are read at once."""

MAX_DEPTH = 10_000
"""The maximum nesting of brackets in a value that is skipped. The maximum of msgspec is much lower: Python's recursion limit."""

_QUOTE = ord('"')
_SPACE = re.compile(rb"[ \t\n\r]*+")
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]*+")
# These expressions match strings and brackets without backtracking. Before 3.11.5, Python matches too little if a group is
# repeated possessively (CPython gh-106052; Debian 12 has such a Python), so an atomic group, which takes more memory, is used.
if sys.version_info >= (3, 11, 5):
    _TEXT, _REPEATED = rb'[^"\\]*+(?:\\.[^"\\]*+)*+', rb"(?:%s)*+"
else:
    _TEXT, _REPEATED = rb'(?>(?:[^"\\]++|\\.)*)', rb"(?>(?:%s)*)"
_IN_STRING = re.compile(_TEXT, re.DOTALL)
_SKIPPED = (
    rb'[^"\[\]{}]++',  # anything that opens or closes nothing
    rb'"' + _TEXT + rb'"',  # a string that ends within the buffer
    rb'\[[^"\[\]{}]*+\]',  # brackets without brackets inside
    rb'\{[^"\[\]{}]*+\}',
)
_MARK = re.compile(_REPEATED % b"|".join(_SKIPPED) + rb'(["\[\]{}])', re.DOTALL)
_OFFSET = re.compile(r" \(byte (\d+)\)")

_decode_any = msgspec.json.Decoder(msgspec.Raw).decode


class Malformed(ValueError):
    """The file as a whole is malformed. The message is one line, with an offset in bytes if there is one."""


class TooDeep(Malformed):
    """A value is nested too deep to be decoded. The position of the source is after it."""


def check_json(text: bytes, offset: int = 0) -> None:
    """Raise Malformed, or TooDeep, unless `text`, which is at `offset` of the file, is exactly one JSON value.

    As in Go, bytes that are not UTF-8 and halves of surrogate pairs (`mend`) are accepted.
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
    at = offset + int(found[1]) - text.startswith("trailing char")  # msgspec's offset of this error is one too high
    return f"not JSON: {text} at byte {at}"


class Source:
    """A file that is read piece by piece, with a position that only moves forward."""

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
        """Discard the bytes before the position and read the next piece. Returns False at the end of the file."""
        piece = b"" if self.ended else self._read(WINDOW)
        self.ended = not piece
        self._dropped += self.at
        self.buffer = self.buffer[self.at :] + piece
        self.at = 0
        return not self.ended

    def peek(self) -> int:
        """Return the next byte that is not white space, without moving past it; -1 at the end of the file."""
        while True:
            self.at = _end(_SPACE, self.buffer, self.at)
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.more():
                return -1

    def take(self, wanted: bytes) -> int:
        """Return the next byte that is not white space, and move past it. Raises Malformed if it is not in `wanted`."""
        byte = self.peek()
        if byte < 0:
            raise Malformed(f"torn: the JSON ends in the middle, at byte {self.offset}")
        if byte not in wanted:
            names = " or ".join(repr(chr(one)) for one in wanted)
            raise Malformed(f"not JSON: {chr(byte)!a} at byte {self.offset}, where {names} is expected")
        self.at += 1
        return byte

    def value(self, limit: int) -> bytes | None:
        """Move past one value and return its bytes, which are valid JSON, or None if there are more than `limit`.

        A value that large is checked only for matching brackets and strings. Raises Malformed if the file ends within the
        value or the value is not JSON, and TooDeep if it is nested too deep to be checked.
        """
        walk = _Walk(self.peek())
        begin = self.offset
        reach = self.at if walk.in_scalar else self.at + 1
        whole = True
        while True:
            reach, done = walk.over(self.buffer, reach)
            if walk.error:
                raise Malformed(f"{walk.error} at byte {self._dropped + reach - 1}, in the value at byte {begin}")
            whole = whole and reach - self.at <= limit
            if done:
                break
            if not whole:
                self.at = reach
            reach -= self.at
            if not self.more():
                raise Malformed(f"torn: the JSON ends in the middle, in the value at byte {begin}")
        if self.offset == begin and reach == self.at:
            raise Malformed(f"not JSON: {chr(self.buffer[reach])!a} at byte {begin}, where a value is expected")
        text = self.buffer[self.at : reach] if whole else None
        self.at = reach
        if text is not None:
            check_json(text, begin)
        return text


class _Walk:
    """The state of the search for the end of a value: the open brackets, and whether it is inside a string."""

    def __init__(self, first: int) -> None:
        self.in_scalar = first < 0 or first not in b'"[{'
        self.in_string = False
        self.closing = bytearray()
        self.error = ""
        if not self.in_scalar:
            self._mark(first)

    def over(self, buffer: bytes, at: int) -> tuple[int, bool]:
        """Return the end of the value in `buffer` and True, or the position that the search has reached and False.

        If the value is not JSON or is nested too deep, `error` says so, and the returned position is just after that.
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
            if self.error or (not self.in_string and not self.closing):
                return at, True

    def _mark(self, mark: int) -> None:
        if mark == _QUOTE:
            self.in_string = True
        elif mark in b"[{":
            self.closing.append(mark + 2)  # in ASCII, the closing bracket is two after the opening one
            if len(self.closing) > MAX_DEPTH:
                self.error = "nested too deep"
        elif not self.closing or self.closing.pop() != mark:
            self.error = f"not JSON: {chr(mark)!r} closes nothing"


def _end(pattern: re.Pattern[bytes], buffer: bytes, at: int) -> int:
    found = pattern.match(buffer, at)
    return found.end() if found else at
