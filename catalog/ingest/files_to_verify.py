"""The files that `verify` checks, as the directories of their stores showed them."""

from __future__ import annotations

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

    def __init__(self, content_id: int, digest: str, dev: int, ino: int, size: int) -> None:
        self.content_id = content_id
        self.digest = digest
        self.dev = dev
        self.ino = ino
        self.size = size
        self.most = CLAIMED_BYTES
        self.stores: list[Store] = []
        self.verified_as = ""
        self.verified_at: int | None = None


class Directories(BlobDirectories):
    """The directories of a store, which remember what they saw when they were listed, so that no file is looked at twice."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.opened, store.shared_blobs)
        self.listed: dict[str, Seen] = {}
        """What each blob of the layout's own directory was when that was listed, by digest."""

    def list(self) -> Iterator[tuple[str, int, int]]:
        listed = self.listed
        for digest, found in self.stats():
            size, mtime_ns = found.st_size, found.st_mtime_ns
            listed[digest] = found.st_dev, found.st_ino, size, mtime_ns, found.st_ctime_ns
            yield digest, size, mtime_ns // 1_000_000

    def look(self, digest: str) -> Seen | None:
        """Return what a blob that was not listed is now, if it is in a shared directory; None if it is gone."""
        found = self.stat(digest)
        if found is None:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
