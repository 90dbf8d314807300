"""Which stores share a directory of blobs, and which layouts outside the catalog may share it too.

A blob may be removed only if no store that can find it needs it. So the directories of all stores are compared by device and
inode, with links followed. That covers `--shared-blob-dir`, a `blobs` that is a link or a bind mount, and one layout at two paths.
Stores that share a directory form a pool, which is judged as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from catalog.db.recursive import users_of
from catalog.engine.interface import Reader
from catalog.ingest.concerned import Search, known_paths, new_layouts
from catalog.layout.beneath import plain
from catalog.layout.discover import is_layout
from catalog.layout.index import IndexChanged, IndexProblem, read_index
from catalog.names.escape import shown
from catalog.names.paths import encode_path, real_path
from catalog.plans.files import ALGORITHMS, BlobFiles, Inode
from catalog.plans.stores import PlanStore

MOST_MISSING = 500
"""The maximum number of entries of a layout outside the catalog that are searched for in stores."""
_KNOWN_USERS = users_of(":store_id")
_HOLDERS = (
    "SELECT DISTINCT store_blob.store_id FROM content JOIN store_blob ON store_blob.content_id = content.id"
    " WHERE content.digest IN ({0})"
)


class Pools:
    """The pools of all stores. `of` returns the ids of a store and of all that share a directory with it, even through others."""

    def __init__(self, stores: Mapping[int, PlanStore]) -> None:
        self._pools: dict[int, set[int]] = {}
        self._directories: dict[int, set[Inode]] = {}
        users: dict[Inode, int] = {}
        for store in stores.values():
            pool = {store.id}
            self._pools[store.id] = pool
            found = set(_directories(plain(store.opened), store.standing.shared_blobs))
            self._directories[store.id] = found
            for directory in found:
                other = users.setdefault(directory, store.id)
                if (theirs := self._pools[other]) is not pool:
                    pool, smaller = (theirs, pool) if len(theirs) >= len(pool) else (pool, theirs)
                    pool |= smaller
                    self._pools.update(dict.fromkeys(smaller, pool))

    def of(self, store_id: int) -> frozenset[int]:
        """Return the ids of the stores in the pool of a store."""
        return frozenset(self._pools[store_id])

    def directories(self, pool: Iterable[int]) -> set[Inode]:
        """Return the directories of blobs of these stores."""
        return set().union(*(self._directories[each] for each in pool))


def _directories(path: str, shared: str | None) -> Iterator[Inode]:
    """Yield the existing blob directories of a layout. Links are followed, because most other programs follow them."""
    for top in (f"{path.rstrip('/')}/blobs", *([shared] if shared else [])):
        try:
            found = os.stat(top)
        except OSError:
            continue
        yield found.st_dev, found.st_ino
        left = found.st_nlink - 2  # On many file systems, st_nlink is 2 plus the number of subdirectories.
        for algorithm in ALGORITHMS:
            with contextlib.suppress(OSError):
                found = os.stat(f"{top}/{algorithm}")
                yield found.st_dev, found.st_ino
                left -= 1
                if left == 0:
                    break


class _Outsider(NamedTuple):
    """A layout outside the catalog: its own blob directories, and entries that it lists without having their manifests."""

    path: str
    inode: Inode | None
    directories: frozenset[Inode]
    missing: tuple[str, ...]
    holders: frozenset[int]
    """The stores that have one of the missing manifests, according to the catalog."""


class Outsiders:
    """Layouts that are not in the catalog: beside stores, beside shared directories, below roots, and those left out."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known = frozenset(row[2] for row in reader.rows("STORE_FILES", {}))
        self._left_out = [row[0] for row in reader.rows("LEFT_OUT", {})]
        self._beside: dict[str, list[str]] = {}
        self._below_roots: list[str] | None = None
        self._looked: dict[str, _Outsider] = {}

    def user_of(self, stores: Sequence[PlanStore], directories: set[Inode]) -> str | None:
        """Return why a layout that is not one of these stores may need their blobs, or None if no such layout is known."""
        pool = {store.id for store in stores}
        for store in stores:
            for store_id, path in self._reader.select(_KNOWN_USERS, {"store_id": store.id}):
                if store_id not in pool:
                    what = "was removed from the catalog" if store_id is None else "is not judged with this store"
                    return f"{shown(path)}, which {what}, finds blobs in the same directory"
        own: set[Inode | None] | None = None
        for path in self._near(stores):
            found = self._look(path)
            if own is None:
                own = {_inode(plain(store.opened)) for store in stores}
            if found.inode is None or found.inode in own:
                continue  # It is gone, or it is one of these stores at another path.
            if not directories.isdisjoint(found.directories):
                return f"{shown(path)}, which is not in the catalog, has the same directory of blobs: run 'ocicat add'"
            if found.missing and any(store.id in found.holders or _has(store, found.missing) for store in stores):
                return (
                    f"{shown(path)}, which is not in the catalog, lists images that it does not have and may find here:"
                    " run 'ocicat add', with --shared-blob-dir if that is how it finds them"
                )
        return None

    def _look(self, path: str) -> _Outsider:
        found = self._looked.get(path)
        if found is None:
            missing = _missing(path)
            holders: set[int] = set()
            if missing:
                marks = {f"d{number}": digest for number, digest in enumerate(missing)}
                question = _HOLDERS.format(", ".join(f":{mark}" for mark in marks))
                holders.update(row[0] for row in self._reader.select(question, marks))
            found = _Outsider(path, _inode(path), frozenset(_directories(path, None)), missing, frozenset(holders))
            self._looked[path] = found
        return found

    def _near(self, stores: Sequence[PlanStore]) -> Iterator[str]:
        places: dict[str, None] = {}
        for store in stores:
            places[os.path.dirname(plain(store.opened))] = None
            shared = store.standing.shared_blobs
            if shared is not None:
                places |= dict.fromkeys((shared, os.path.dirname(shared), os.path.dirname(real_path(shared))))
        yield from self._left_out
        for place in places:
            if place not in self._beside:
                self._beside[place] = list(self._layouts_in(place))
            yield from self._beside[place]
        if any(store.standing.shared_blobs is not None for store in stores):
            if self._below_roots is None:
                self._below_roots = new_layouts(self._reader, [Search()], known_paths(self._reader))
            yield from self._below_roots

    def _layouts_in(self, place: str) -> Iterator[str]:
        """Yield the layouts directly in a directory that are not stores, as far as they can be read."""
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                path = os.path.join(place, entry.name)
                if encode_path(path)[0] not in self._known and _is_directory(entry) and is_layout(f"{path}/."):
                    yield path


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _inode(path: str) -> Inode | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _missing(path: str) -> tuple[str, ...]:
    """Return the entries of a layout whose manifests are not in its own blob directory, at most MOST_MISSING of them."""
    found: list[str] = []
    try:
        with read_index(f"{path}/.") as content, BlobFiles(f"{path}/.", None) as files:
            for descriptor in content:
                if not files.find(descriptor.digest):
                    found.append(descriptor.digest)
                    if len(found) == MOST_MISSING:
                        break
    except (IndexProblem, IndexChanged):
        return tuple(found)
    return tuple(found)


def _has(store: PlanStore, digests: Iterable[str]) -> bool:
    """Return whether a store with a shared directory has a file for one of these digests. The catalog may not know all files there."""
    if store.standing.shared_blobs is None:
        return False
    with BlobFiles(store.opened, store.standing.shared_blobs) as files:
        return any(files.find(digest) for digest in digests)
