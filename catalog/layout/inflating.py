"""Read an untrusted file that is compressed with gzip or zstd, forwards only and in bounded memory.

No size in the file is trusted. Each piece of output has at most 128 KiB, zstd gets the largest window that every decoder has to
accept (RFC 8878, 3.1.1.1.2), and the output may not exceed the limits. The input may not be much longer than the output either. No
real archive has such an input, and the limit bounds the time for the next bytes of output.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Protocol

from catalog.layout.list_limits import ListLimits
from catalog.layout.tar_headers import Torn

PIECE = 128 << 10
"""The most output of one step, in bytes."""
FREE_BYTES = 64 << 20
"""The ratio is limited only after this much output: a small file of zeros is no attack."""
MAGIC_BYTES = 6
"""The number of bytes at the beginning of a file that identify its compression."""
_INPUT = 32 << 10
_WASTE = 1 << 20  # the input may be twice as long as the output, and this many bytes more
_WINDOW_LOG = 23  # 8 MiB; zstd --ultra and --long may want more
_WITH_HEADER = 16 + zlib.MAX_WBITS  # gzip, and nothing else
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte from 0x50 to 0x5f: a zstd frame without contents
_OTHERS = {b"\xfd7zXZ\0": "xz", b"BZh": "bzip2", b"\x04\x22\x4d\x18": "lz4"}

INFLATED = ("gzip", "zstd")
"""The compressions that can be read."""
AGAIN = "and run 'ocicat index --full'"


class NotInstalled(Exception):
    """The package that inflates an archive is not installed. The message says what to do."""


def compression(begins: bytes) -> str | None:
    """Return the compression of a file that begins with these MAGIC_BYTES, or None if it does not look compressed."""
    if begins.startswith(_GZIP):
        return "gzip"
    if begins.startswith(_ZSTD) or (begins[1:4] == _SKIPPABLE and begins[0] >> 4 == 5):
        return "zstd"
    return next((how for magic, how in _OTHERS.items() if begins.startswith(magic)), None)


class _Engine(Protocol):
    """The interface that the decompressors of Python's standard library share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    """One member of a gzip file (RFC 1952), as an _Engine."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_WITH_HEADER)
        self._left = b""
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        found = self._inner.decompress(self._left + data if self._left else data, max_length)
        self._left = self._inner.unconsumed_tail
        self.needs_input = not self._left and len(found) < max_length
        return found


def _engines(how: str) -> tuple[Callable[[], _Engine], type[Exception]]:
    """Return the factory of engines, one per part of a file, and the exception for damaged input. Raises NotInstalled."""
    if how == "gzip":
        return _Gzip, zlib.error
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise NotInstalled("is compressed with zstd: install ocicat[zstd] with pip, or decompress it") from None
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    return lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError


class Inflating:
    """The bytes that a file inflates to, forwards only. `read_file(size, offset)` reads the file itself.

    Raises NotInstalled. Reading raises Torn, and anything that `read_file` raises.
    """

    def __init__(self, how: str, limits: ListLimits, read_file: Callable[[int, int], bytes]) -> None:
        self._how = how
        self._limits = limits
        self._read_file = read_file
        self._new_engine, self._error = _engines(how)
        self._engine = self._new_engine()
        self._input = b""  # read and not yet given to the engine
        self._consumed = self._made = 0  # bytes of input and output
        self._kept = bytearray()
        self._begin = self._wanted = 0
        self._is_done = False

    def read(self, size: int, offset: int) -> bytes:
        """Return `size` bytes from `offset` on, or fewer at the end. `offset` must not be less than in the call before."""
        while not self.is_at(offset):
            self.step()
        while len(self._kept) < size and self.step():
            pass
        with memoryview(self._kept) as view, view[:size] as part:  # A slice of the array would cost one more copy.
            return bytes(part)

    def is_at(self, offset: int) -> bool:
        """Drop the output before `offset`. Return True if `offset` or the end is reached; otherwise, call `step` and try again."""
        dropped = min(max(offset - self._begin, 0), len(self._kept))
        del self._kept[:dropped]
        self._begin += dropped
        self._wanted = offset
        return self._is_done or self._begin >= offset

    def step(self) -> bool:
        """Inflate at most PIECE more bytes. Return False at the end."""
        if self._is_done:
            return False
        if self._engine.eof and not self._next_part():
            self._is_done = True
            return False
        data, self._input = self._input, b""
        if not data and self._engine.needs_input:
            data = self._more_input()
            if not data:
                raise Torn(f"is cut off: its {self._consumed} bytes end in the middle of the {self._how} data")
        try:
            piece = self._engine.decompress(data, PIECE)
        except self._error as error:
            raise Torn(self._why(error)) from None
        self._made += len(piece)
        self._check()
        if self._kept or self._begin + len(piece) > self._wanted:
            self._kept += piece
        else:
            self._begin += len(piece)
        return True

    def _why(self, error: Exception) -> str:
        if "memory" in str(error):
            return f"needs a zstd window of more than {1 << _WINDOW_LOG} bytes: compress it without --long and --ultra"
        return f"is damaged before byte {self._consumed}, according to {self._how}"

    def _check(self) -> None:
        if self._made > self._limits.archive_bytes:
            raise Torn(
                f"inflates to more than {self._limits.archive_bytes} bytes: decompress it, or raise limits.archive_bytes {AGAIN}"
            )
        if self._made > FREE_BYTES and self._made > self._limits.archive_ratio * self._consumed:
            raise Torn(
                f"inflates to more than {self._limits.archive_ratio} times its bytes:"
                f" decompress it, or raise limits.archive_ratio {AGAIN}"
            )
        if self._consumed > 2 * self._made + _WASTE:
            raise Torn("has far more compressed bytes than it inflates to")

    def _more_input(self) -> bytes:
        found = self._read_file(_INPUT, self._consumed)
        self._consumed += len(found)
        return found

    def _next_part(self) -> bool:
        """Begin the next part of a file like that of `cat a.gz b.gz`. Return False at the end, which may be padded with zeros.

        Raises Torn.
        """
        rest = self._engine.unused_data.lstrip(b"\0")
        while len(rest) < MAGIC_BYTES and (more := self._more_input()):
            rest = (rest + more).lstrip(b"\0")
            self._check()
        if not rest:
            return False
        if compression(rest) != self._how:
            raise Torn(f"has other data after the end of the {self._how} data, before byte {self._consumed}")
        self._engine, self._input = self._new_engine(), rest
        return True
