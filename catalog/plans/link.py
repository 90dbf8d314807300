"""Which identical blobs on one file system could share their bytes.

Two files are proposed only if `ocicat verify` found both good and neither has changed since: their size, times and inode are
still those of the files that were hashed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, Self

from catalog.engine.interface import Reader
from catalog.layout.hashing import file_identity
from catalog.plans.files import BlobFiles, File, Inode
from catalog.plans.stores import PlanStore

_SHARED = (
    "SELECT content.digest, store_blob.store_id, store_blob.verified_as FROM store_blob"
    " JOIN content ON content.id = store_blob.content_id WHERE store_blob.is_good AND NOT store_blob.embedded"
    " AND store_blob.size > 0 AND EXISTS (SELECT 1 FROM store_blob AS other WHERE other.content_id = store_blob.content_id"
    " AND other.store_id <> store_blob.store_id AND other.is_good) ORDER BY content.digest, store_blob.store_id"
)


_MOST_OPEN = 30
"""The maximum number of stores that are kept open, with at most eight directories each."""


class Link(NamedTuple):
    """Two paths with the same bytes: `path` could share the bytes of `source`. `size` is in bytes.

    `inode` identifies the file, and `links` is the number of its hard links.
    """

    store: str
    path: str
    source_store: str
    source: str
    digest: str
    size: int
    inode: Inode
    links: int


class _Copy(NamedTuple):
    store: PlanStore
    file: File


class _Opened:
    """Keeps the directories of the last _MOST_OPEN stores open. A context manager."""

    def __init__(self) -> None:
        self._files: dict[int, BlobFiles] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._files:
            self._files.popitem()[1].__exit__()

    def files_of(self, store: PlanStore) -> BlobFiles:
        """Return the files of a store."""
        if store.id not in self._files:
            if len(self._files) == _MOST_OPEN:
                self._files.pop(next(iter(self._files))).__exit__()
            self._files[store.id] = BlobFiles(store.opened, store.standing.shared_blobs)
        return self._files[store.id]


def links(reader: Reader, stores: Mapping[int, PlanStore], selected: Collection[int], *, hard: bool) -> Iterator[Link]:
    """Yield pairs of files of the `selected` stores that could share their bytes, in the order of their digests.

    With `hard`, both files have the same owner, group and mode, because hard links share these too.
    """
    with _Opened() as opened:
        yield from _links(reader, stores, selected, opened, hard=hard)


def _links(
    reader: Reader, stores: Mapping[int, PlanStore], selected: Collection[int], opened: _Opened, *, hard: bool
) -> Iterator[Link]:
    for digest, rows in groupby(reader.select(_SHARED, {}), itemgetter(0)):
        copies = [
            _Copy(stores[store_id], file)
            for _, store_id, verified_as in rows
            if store_id in selected and store_id in stores
            for file in opened.files_of(stores[store_id]).find(digest)
            if file_identity(file.found) == verified_as  # still the file that was hashed
        ]
        copies.sort(key=lambda copy: (copy.store.name, copy.file.path))
        groups: dict[tuple[int, ...], list[_Copy]] = {}
        for copy in copies:
            found = copy.file.found
            owner = (found.st_uid, found.st_gid, found.st_mode) if hard else ()
            groups.setdefault((found.st_dev, *owner), []).append(copy)
        for group in groups.values():
            yield from _pairs(digest, group)


def _pairs(digest: str, copies: Sequence[_Copy]) -> Iterator[Link]:
    """Yield a pair for each path that does not lead to the source, which is the file to which most of the paths lead."""
    inodes = Counter(copy.file.found.st_ino for copy in copies)
    source = max(copies, key=lambda copy: inodes[copy.file.found.st_ino])
    seen: set[str] = set()
    for store, file in copies:
        found = file.found
        if found.st_ino == source.file.found.st_ino or file.path in seen:
            continue
        seen.add(file.path)
        yield Link(
            store.name,
            file.path,
            source.store.name,
            source.file.path,
            digest,
            found.st_size,
            (found.st_dev, found.st_ino),
            found.st_nlink,
        )
