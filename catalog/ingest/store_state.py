"""What the catalog knows of each store, and by which a look at the disk that reads nothing tells that it is still so.

A pass goes by these (catalog.ingest.intake, catalog.ingest.sweep), and so does the first look of `ocicat index`
(catalog.ingest.unchanged), which is to be over before SQLAlchemy would be loaded: nothing of that is imported here.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from catalog.layout.beneath import Found, opened_path
from catalog.layout.blobs_identity import blobs_identity
from catalog.layout.discover import Listings, discover
from catalog.layout.files import FileState, IndexProblem
from catalog.names.keys import RULES_VERSION, NameProblem, Naming, Unnamed
from catalog.names.limits import LAYOUT_VERSION, PATH_BYTES
from catalog.names.paths import decode_path, is_too_long

RETENTION_MS = 86_400_000
"""Retention looks at whole tables, so it runs once a day."""

_S = TypeVar("_S", "Store", "Standing")


class Summary(NamedTuple):
    """How many stores a pass looked at, found new, changed, and could not settle."""

    stores: int
    found: int
    changed: int
    unsettled: int

    def __str__(self) -> str:
        return f"{self.stores} stores, {self.found} of them new, {self.changed} changed, {self.unsettled} being written"


class Store(NamedTuple):
    """A registered store, as a pass needs it; `path` is the path to open, times are milliseconds."""

    id: int
    root_id: int | None
    name: str
    path: str
    naming: str
    prefix: str | None
    state: str
    error: str | None
    state_since: int
    file_identity: str | None
    sha256: str | None
    keyed_by: str | None
    elements: int
    entries: int
    generation: int
    changed_at: int | None
    first_at: int | None
    layout_version: str | None
    root_path: str | None
    by_name: bool
    shared_blobs: str | None
    blobs_identity: str | None
    content_pending: bool
    sparse: bool

    @property
    def opened(self) -> str:
        """The path by which its directory is opened: see catalog.layout.beneath."""
        return opened_path(self.path, self.root_path, follow=self.by_name)

    @property
    def indexed_before(self) -> bool:
        """Whether its index.json was ever read."""
        return self.keyed_by is not None

    def repository(self) -> tuple[str | None, NameProblem | None]:
        """The repository that its naming policy gives a bare tag, and the problem where it gives none."""
        return _repository_of(self)

    def unnamed(self) -> Unnamed:
        """What its naming policy gives an entry without a name."""
        return _unnamed(self.naming, _relative(self), self.prefix)

    def keys_should_be(self) -> str:
        """What `keyed_by` says when the keys, and the problem of their policy, are those of today's rules and settings."""
        return _keys_should_be(self)

    @property
    def keys_are_old(self) -> bool:
        """Whether there are keys, and they are those of other rules or settings than today's."""
        return keys_are_old(self)


class Standing(NamedTuple):
    """What of a Store the disk is compared with, and no more: of 10,000 it is read in 20 ms, a Store in 35."""

    path: str
    naming: str
    prefix: str | None
    state: str
    error: str | None
    file_identity: str | None
    keyed_by: str | None
    layout_version: str | None
    root_path: str | None
    by_name: bool
    shared_blobs: str | None
    blobs_identity: str | None
    content_pending: bool

    @property
    def opened(self) -> str:
        """The path by which its directory is opened: see catalog.layout.beneath."""
        return opened_path(self.path, self.root_path, follow=self.by_name)


def _repository_of(store: Store | Standing) -> tuple[str | None, NameProblem | None]:
    return _repository(store.naming, _relative(store), store.prefix)


def _relative(store: Store | Standing) -> str | None:
    if store.root_path is not None and store.naming in ("path", "path:tag"):  # no other policy asks for it
        return os.path.relpath(store.path, store.root_path)
    return None


def _keys_should_be(store: Store | Standing) -> str:
    repository, problem = _repository_of(store)
    said = f"{RULES_VERSION} {repository or (problem.detail if problem is not None else '')}"
    if store.naming in ("annotations", "path") or store.naming.startswith("fixed="):
        return said
    return f"{said} {store.naming} {_unnamed(store.naming, _relative(store), store.prefix).tag or ''}"


def keys_are_old(store: Store | Standing) -> bool:
    """Whether there are keys, and they are those of other rules or settings than today's."""
    return store.keyed_by is not None and store.keyed_by != _keys_should_be(store)


@functools.lru_cache(maxsize=256)
def _repository(naming: str, relative: str | None, prefix: str | None) -> tuple[str | None, NameProblem | None]:
    # Most stores of a catalog share one policy, and each sweep asks for that of every store.
    return Naming.parse(naming).repository(relative, prefix)


@functools.lru_cache(maxsize=256)
def _unnamed(naming: str, relative: str | None, prefix: str | None) -> Unnamed:
    return Naming.parse(naming).unnamed(relative, prefix)


def stored(*row: Any) -> Store:
    """The store of a row of STORES (catalog.db.registered)."""
    # By place: each sweep reads all stores, and names would cost more than the database does.
    return _decoded(Store(*row[:-3]), row)


def standing(*row: Any) -> Standing:
    """The same of a row of STANDINGS."""
    return _decoded(Standing(*row[:-3]), row)


def _decoded(found: _S, row: tuple[Any, ...]) -> _S:
    path_bytes, root_path_bytes, shared_bytes = row[-3:]
    if path_bytes is None and root_path_bytes is None and shared_bytes is None:
        return found
    return found._replace(
        path=decode_path(found.path, path_bytes),
        root_path=decoded(found.root_path, root_path_bytes),
        shared_blobs=decoded(found.shared_blobs, shared_bytes),
    )


def decoded(path: str | None, path_bytes: bytes | None) -> str | None:
    """The path to open, where there is one."""
    return None if path is None else decode_path(path, path_bytes)


def differs(store: Store | Standing, file: FileState) -> bool:
    """Whether a stat says that there is something of `store` to read: another file, or other rules for its keys.

    A store that could not be read, or was gone, is looked at although its file is the same as before.
    """
    return (
        store.file_identity != file.identity
        or store.state in ("unreadable", "missing")
        or keys_are_old(store)
        or _marker_changed(store)
    )


def _marker_changed(store: Store | Standing) -> bool:
    """Whether an `oci-layout` that was odd, or not there, is another one by now. No file is opened for a usual store."""
    if store.layout_version == LAYOUT_VERSION or store.state not in ("ok", "empty"):
        return False
    from catalog.layout.index import read_marker  # loads msgspec, which takes longer than looking at 300 stores

    return read_marker(store.opened).version != store.layout_version


def has_problem(store: Store | Standing, problem: IndexProblem) -> bool:
    """Whether the catalog says already that the store has that problem, and names what it last said by today's rules."""
    return (store.state, store.error) == (problem.state, problem.reason) and not keys_are_old(store)


def has_unread_content(
    store: Store | Standing, *, look: bool, even_read: bool = False, at: Found | None = None
) -> bool:
    """Whether content of the store is to be read.

    With `look`, where its directories changed since it was; with `even_read`, where it was ever indexed. `at`
    is its directory if it was just found.
    """
    return store.state != "missing" and (
        store.content_pending or (store.keyed_by is not None and (even_read or (look and _blobs_changed(store, at))))
    )


def _blobs_changed(store: Store | Standing, at: Found | None) -> bool:
    """Whether blobs came or went since they were listed, though perhaps the index.json did not change."""
    return blobs_identity(store.opened, store.shared_blobs, at) != (store.blobs_identity or "")


def unknown_layouts(
    roots: Iterable[str],
    known: Container[str],
    on_error: Callable[[str, OSError], None],
    on_directory: Callable[[], None] = lambda: None,
    listings: Listings | None = None,
    is_leaf: Callable[[str], bool] | None = None,
) -> Iterator[str]:
    """The paths of the layouts below `roots` that are not `known`; the rest is as in `discover`.

    One whose path is too long to be a key goes to `on_error`.
    """
    for root in roots:
        for path in discover(root, on_error, on_directory, listings, known, is_leaf):
            if path in known:
                continue
            if is_too_long(path):
                on_error(path, OSError(errno.ENAMETOOLONG, f"the path takes more than {PATH_BYTES} bytes"))
            else:
                yield path


def is_retention_due(last: str | None, now: int) -> bool:
    """Whether a day has gone since retention ran, by what the catalog says of that; `now` is in milliseconds."""
    return last is None or not 0 <= now - int(last) < RETENTION_MS
