"""Check whether there is enough memory before decoding something large."""

from __future__ import annotations

import mmap

from catalog.exhausted import give_back


def ensure_room(size: int) -> None:
    """Raise MemoryError unless this process can allocate `size` more bytes at this moment.

    Before it raises, it releases the reserve of catalog.exhausted. Call this before large work for a library that crashes
    if it cannot allocate, as msgspec's encoder (0.22) does. The bytes are mapped and released without being touched,
    which takes a few microseconds.
    """
    try:
        mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        give_back()
        raise MemoryError from error
