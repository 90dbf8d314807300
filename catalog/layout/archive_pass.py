"""Read an archive once: its headers and, if it is compressed, its small members. The pass can be interrupted and continued.

Inflating 2 GB takes twenty seconds, and reading 100,000 headers takes one. So `pause` is called now and then, and may raise. Then the
pass is kept, and the next one for the same file continues it. The result is kept for some seconds, too, because several parts of the
program read an archive one after the other.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from catalog.layout.archive_contents import ArchiveContents
from catalog.layout.inflating import INFLATED, MAGIC_BYTES, Inflating, compression
from catalog.layout.list_limits import ListLimits
from catalog.layout.open_blob import read_at
from catalog.layout.small_members import SmallMembers
from catalog.layout.tar_headers import BLOCK, Torn, steps

_KEPT_SECONDS = 10.0
_KEPT_TIMES = 10  # or this many times the duration of the pass, if that is longer
_KEPT_BYTES = 32 << 20  # limit for all that is kept; the last archive is kept in any case
_MEMBER_BYTES = 350  # approximate memory for one member
_PASS_BYTES = 16 << 20  # memory for a decompressor
_TICK_NS = 20_000_000  # The kernel's clock for the times of files ticks every 1 to 10 ms.
_WORK = 128  # steps between two pauses: a millisecond or two
_WORK_OF_PIECE = 16

_Identity = tuple[int, ...]


class Compressed(Exception):
    """The archive is compressed, and the caller gave no limits for inflating it. The message is the name of the compression."""


def contents_of(
    descriptor: int, found: os.stat_result, limits: ListLimits | None, pause: Callable[[], None]
) -> ArchiveContents:
    """Return the contents of an open archive with the stat `found`. A compressed archive is only read with `limits`.

    Raises Torn, OSError, NotInstalled, Compressed, and anything that `pause` raises.
    """
    how = compression(os.pread(descriptor, MAGIC_BYTES, 0))
    if how is not None and limits is None:
        raise Compressed(how)
    contents = _KEPT.get(found)
    if contents is not None:
        return contents
    one = _BEGUN.take(found, limits) or ArchivePass(found, how, limits)
    try:
        contents = one.go_on(descriptor, pause)
    except (Torn, OSError, MemoryError):
        raise
    except BaseException:
        _BEGUN.put(one)
        raise
    _KEPT.put(found, contents, one.seconds)
    return contents


class ArchivePass:
    """A pass over an archive with the stat `found`. `how` is its compression, or None. Raises Torn and NotInstalled."""

    def __init__(self, found: os.stat_result, how: str | None, limits: ListLimits | None) -> None:
        if how is not None and how not in INFLATED:
            raise Torn(f"is compressed with {how}, which is not read: decompress it, or use gzip or zstd")
        self.identity = identity_of(found, limits)
        self.seconds = 0.0
        """The time that the pass has taken so far."""
        self._found = found
        self._descriptor = -1
        self._contents = ArchiveContents()
        self._inflating: Inflating | None = None
        if how is not None:
            self._inflating = Inflating(how, limits or ListLimits(), self._read)
            self._contents.compression, self._contents.small = how, SmallMembers()
        read, size = (self._read, found.st_size) if self._inflating is None else (self._inflating.read, None)
        self._steps = steps(read, size)
        self._next = 0  # the offset of the next header
        self._has_ended = self._is_lost = False
        self._work = 0

    @property
    def memory(self) -> int:
        """The approximate memory that the pass takes, in bytes."""
        return _memory_of(self._contents) + (_PASS_BYTES if self._inflating is not None else 0)

    @property
    def is_lost(self) -> bool:
        """Whether the pass cannot be continued, because something other than `pause` interrupted it."""
        return self._is_lost

    def go_on(self, descriptor: int, pause: Callable[[], None]) -> ArchiveContents:
        """Read on to the end, from an open descriptor of the same file. Raises Torn, OSError, and anything that `pause` raises."""
        self._descriptor = descriptor
        began = time.monotonic()
        try:
            while not self._has_ended:
                self._inflate_to_next(pause)
                self._step()
                self._did(1, pause)
            while self._inflating is not None and self._inflating.step():  # the checksum is at the end
                self._inflating.is_at(1 << 63)
                self._did(_WORK_OF_PIECE, pause)
        finally:
            self.seconds += time.monotonic() - began
            self._descriptor = -1
        if identity_of(os.fstat(descriptor), None) != identity_of(self._found, None):
            raise Torn("changed while it was read")
        return self._contents

    def _step(self) -> None:
        self._is_lost = True
        for member in self._steps:
            if member is not None:
                self._contents.add(member)
                if self._inflating is not None and self._contents.small is not None:
                    self._contents.small.take(member, self._inflating.read)
                self._next = member.offset + -(-member.size // BLOCK) * BLOCK
            break
        else:
            self._has_ended = True
        self._is_lost = False

    def _inflate_to_next(self, pause: Callable[[], None]) -> None:
        while self._inflating is not None and not self._inflating.is_at(self._next):
            self._inflating.step()
            self._did(_WORK_OF_PIECE, pause)

    def _did(self, work: int, pause: Callable[[], None]) -> None:
        self._work += work
        if self._work >= _WORK:
            self._work = 0
            pause()

    def _read(self, size: int, offset: int) -> bytes:
        return read_at(self._descriptor, size, offset)


def identity_of(found: os.stat_result, limits: ListLimits | None) -> _Identity:
    """Return a value that changes if the file changes, or if it is read with other limits."""
    file = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return file if limits is None else (*file, limits.archive_bytes, limits.archive_ratio)


def is_racy(found: os.stat_result) -> bool:
    """Return whether a file may still change without a change of its times (git's racy rule)."""
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    return not time.time_ns() - changed > _TICK_NS


def _memory_of(contents: ArchiveContents) -> int:
    """Return the approximate memory that the contents take, in bytes."""
    return len(contents) * _MEMBER_BYTES + (0 if contents.small is None else contents.small.bytes)


class _Kept:
    """A cache of the members of archives that were read recently. The key is the identity of the file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_file: OrderedDict[_Identity, tuple[float, ArchiveContents]] = OrderedDict()

    def get(self, found: os.stat_result) -> ArchiveContents | None:
        with self._lock:
            kept = self._by_file.get(identity_of(found, None))
        return kept[1] if kept is not None and time.monotonic() < kept[0] else None

    def put(self, found: os.stat_result, contents: ArchiveContents, seconds: float) -> None:
        """Keep the members of an archive, which took `seconds` to read, unless the file is still racy (see `is_racy`)."""
        if is_racy(found):
            return
        until = time.monotonic() + max(_KEPT_SECONDS, _KEPT_TIMES * seconds)
        with self._lock:
            self._by_file[identity_of(found, None)] = until, contents
            self._by_file.move_to_end(identity_of(found, None))
            total = sum(_memory_of(each) for _, each in self._by_file.values())
            while len(self._by_file) > 1 and (total > _KEPT_BYTES or len(self._by_file) > 8):
                total -= _memory_of(self._by_file.popitem(last=False)[1][1])


class _Begun:
    """Passes that were interrupted. Earlier passes are never dropped for later ones, so that they can finish."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passes: dict[_Identity, tuple[float, ArchivePass]] = {}

    def take(self, found: os.stat_result, limits: ListLimits | None) -> ArchivePass | None:
        """Remove and return the pass over an archive, or None if there is none."""
        with self._lock:
            known = self._passes.pop(identity_of(found, limits), None)
        return None if known is None else known[1]

    def put(self, one: ArchivePass) -> None:
        """Keep a pass, if it can be continued and there is room."""
        if one.is_lost:
            return
        now = time.monotonic()
        with self._lock:
            for identity, (until, _) in list(self._passes.items()):
                if now > until:  # The file has changed or is gone.
                    del self._passes[identity]
            if (
                not self._passes
                or one.memory + sum(each.memory for _, each in self._passes.values()) <= 2 * _KEPT_BYTES
            ):
                self._passes[one.identity] = now + _BEGUN_SECONDS, one


_BEGUN_SECONDS = 600.0
_KEPT = _Kept()
_BEGUN = _Begun()
