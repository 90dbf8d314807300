"""The files that `verify` checks, as they were when the directories of their stores were listed."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.ingest.store_state import Store
from catalog.layout.blobs import BlobDirectories

Seen = tuple[int, int, int, int, int]
"""The stat of a blob: device, inode, size in bytes, and times of modification and change in nanoseconds."""

CLAIMED_BYTES = 1 << 30
"""A file larger than this is not read if it is also larger than the size in every descriptor in the store."""


class BlobFile:
    """A file to check against one digest, for each of `stores`. It is not read if it has more than `most` bytes.

    `verified_at` is the time at which the same file was verified for another store, or None; `verified_as` is its identity then.
    """

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
    """The directories of a store. They remember the stats from the listing, so that no file needs another stat."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.opened, store.shared_blobs)
        self.listed: dict[str, Seen] = {}
        """The stat of each blob in the layout's own directory when that was listed, by digest."""

    def list(self) -> Iterator[tuple[str, int, int]]:
        listed = self.listed
        for digest, found in self.stats():
            size, mtime_ns = found.st_size, found.st_mtime_ns
            listed[digest] = found.st_dev, found.st_ino, size, mtime_ns, found.st_ctime_ns
            yield digest, size, mtime_ns // 1_000_000

    def look(self, digest: str) -> Seen | None:
        """Return the current stat of a blob that was not listed, such as one in a shared directory, or None if it is gone."""
        found = self.stat(digest)
        if found is None:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
