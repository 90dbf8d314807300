"""Whether there is memory for what is about to be decoded."""

from __future__ import annotations

import mmap

from catalog.exhausted import give_back


def ensure_room(size: int) -> None:
    """Raise MemoryError, and give back what is kept, unless this process can have `size` more bytes at this moment.

    To be called before a library is given much to do that crashes when it cannot allocate: msgspec's encoder (0.22) does. The bytes
    are mapped and released without being used, which takes some microseconds.
    """
    try:
        mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        give_back()
        raise MemoryError from error
