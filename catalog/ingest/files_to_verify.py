"""The files that `verify` checks, as the directories of their stores showed them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from catalog.ingest.store_state import Store
from catalog.layout.blobs import BlobDirectories

Seen = tuple[int, int, int, int, int]
"""What a blob was when its directory was listed: its device, inode, size in bytes, and times of modification and change in nanoseconds."""

CLAIMED_BYTES = 1 << 30
"""A larger file is not read if it is also larger than every descriptor in the store claims."""


class BlobFile:
    """A file to check against one digest: the stores that have it, and when one of them has already verified it."""

    __slots__ = ("content_id", "dev", "digest", "ino", "most", "size", "stores", "verified_as", "verified_at")

    def __init__(self, content_id: int, digest: str, seen: Seen) -> None:
        self.content_id = content_id
        self.digest = digest
        self.dev, self.ino, self.size, *_ = seen
        self.most = CLAIMED_BYTES
        self.stores: list[Store] = []
        self.verified_as = ""
        self.verified_at: int | None = None


class Directories(BlobDirectories):
    """The directories of a store, which remember what they saw when they were listed, so that no file is looked at twice."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.opened, store.shared_blobs)
        self._seen: dict[str, Seen] = {}

    def stats(self) -> Iterator[tuple[str, os.stat_result]]:
        for digest, found in super().stats():
            self._seen[digest] = _seen(found)
            yield digest, found

    def seen(self, digest: str) -> Seen | None:
        """Return what a blob was when it was listed, or is now, if it is in a shared directory; None if it is gone."""
        seen = self._seen.get(digest)
        if seen is None:
            found = self.stat(digest)
            seen = None if found is None else _seen(found)
        return seen


def _seen(found: os.stat_result) -> Seen:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
