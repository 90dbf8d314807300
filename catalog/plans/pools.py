"""Which stores have a directory of blobs in common, and which layouts outside the catalog may have it too.

A blob may go only if no store needs it that can find it. So the directories of all stores are compared by device and inode,
links followed: `--shared-blob-dir`, `blobs` that is a link or a bind mount, and one layout at two paths are all seen as what
they are. Stores that have a directory in common form a pool, which is judged as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from catalog.engine.interface import Reader
from catalog.ingest.concerned import Search, known_paths, new_layouts
from catalog.layout.beneath import plain
from catalog.layout.discover import is_layout
from catalog.layout.index import IndexChanged, IndexProblem, read_index
from catalog.names.escape import shown
from catalog.names.paths import encode_path
from catalog.plans.files import ALGORITHMS, BlobFiles, Inode
from catalog.plans.stores import PlanStore

MOST_MISSING = 500
"""So many entries of a layout outside the catalog are looked for in stores."""
_HOLDERS = (
    "SELECT DISTINCT store_blob.store_id FROM content JOIN store_blob ON store_blob.content_id = content.id"
    " WHERE content.digest IN ({0})"
)


class Pools:
    """The pools of all stores: `of` a store are the ids of all stores that share a directory with it, itself included."""

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
    """The directories of blobs of a layout that are there; links are followed, as most other programs follow them."""
    for top in (f"{path.rstrip('/')}/blobs", *([shared] if shared else [])):
        try:
            found = os.stat(top)
        except OSError:
            continue
        yield found.st_dev, found.st_ino
        left = found.st_nlink - 2  # where a file system counts the directories in a directory as links
        for algorithm in ALGORITHMS:
            with contextlib.suppress(OSError):
                found = os.stat(f"{top}/{algorithm}")
                yield found.st_dev, found.st_ino
                left -= 1
                if left == 0:
                    break


class _Outsider(NamedTuple):
    """A layout that is not in the catalog: its own directories of blobs, and entries that it lists and does not have."""

    path: str
    inode: Inode | None
    directories: frozenset[Inode]
    missing: tuple[str, ...]
    holders: frozenset[int]
    """The stores that have one of the missing manifests, as the catalog knows."""


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
        """Return why a layout outside the catalog may need blobs of these stores; None if none is known that does."""
        own: set[Inode | None] | None = None
        for path in self._near(stores):
            found = self._look(path)
            if own is None:
                own = {_inode(plain(store.opened)) for store in stores}
            if found.inode is None or found.inode in own:
                continue  # gone, or a store by another path
            if not directories.isdisjoint(found.directories):
                return f"its blobs are also those of {shown(path)}, which is not in the catalog: 'ocicat add' it"
            if found.missing and any(store.id in found.holders or _has(store, found.missing) for store in stores):
                return (
                    f"{shown(path)}, which is not in the catalog, lists images that it does not have and may find here:"
                    " 'ocicat add' it, with --shared-blob-dir if that is how it finds them"
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
                places |= dict.fromkeys((shared, os.path.dirname(shared), os.path.dirname(os.path.realpath(shared))))
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
        """The layouts directly in a directory that are no stores; nothing is known of what cannot be looked at."""
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
    """The entries of a layout whose manifests do not lie in its own directory of blobs; the first MOST_MISSING of them."""
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
    """Whether one of these lies in the shared directory of a store, where the catalog does not know all that there is."""
    if store.standing.shared_blobs is None:
        return False
    with BlobFiles(store.opened, store.standing.shared_blobs) as files:
        return any(files.find(digest) for digest in digests)
