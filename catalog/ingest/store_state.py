"""The state of each store in the catalog, and checks, mostly by stats alone, whether that state is up to date.

Passes use this module (intake.py, sweep.py), and so does the first check of `ocicat index` (unchanged.py), which has to be over before
SQLAlchemy would be loaded. So nothing heavy is imported here.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from catalog.layout.beneath import Found, opened_path
from catalog.layout.blobs_identity import blobs_identity
from catalog.layout.discover import Listings, discover
from catalog.layout.files import ArchiveState, FileState, IndexProblem
from catalog.names.keys import RULES_VERSION, NameProblem, Naming, Unnamed
from catalog.names.limits import LAYOUT_VERSION, PATH_BYTES
from catalog.names.paths import decode_path, is_too_long
from catalog.names.sizes import counted

ROOT_ARCHIVES = 8
"""The position of `archives` in a row of ROOTS (catalog.db.registered)."""
RETENTION_MS = 86_400_000
"""Retention scans whole tables, so it runs once a day."""

_USUAL = (None, None, None)
"""The bytes of the three paths in a usual row. Only a path that is not UTF-8 has bytes."""

_S = TypeVar("_S", "Store", "Standing")


class Summary(NamedTuple):
    """The number of stores that a pass checked, and how many of them were new, changed, or never settled."""

    stores: int
    found: int
    changed: int
    unsettled: int

    def __str__(self) -> str:
        return f"{counted(self.stores, 'store')}, {self.found} of them new, {self.changed} changed, {self.unsettled} being written"


class Store(NamedTuple):
    """A registered store, with the columns that a pass needs. `path` is the path to open. Times are in milliseconds since 1970."""

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
    archive: bool

    @property
    def opened(self) -> str:
        """The path by which its directory is opened (catalog.layout.beneath)."""
        return opened_path(self.path, self.root_path, follow=self.by_name)

    @property
    def indexed_before(self) -> bool:
        """Whether its index.json was ever read successfully."""
        return self.keyed_by is not None

    def repository(self) -> tuple[str | None, NameProblem | None]:
        """Return the repository that its naming policy gives to a bare tag, and a problem; either may be None."""
        return _repository_of(self)

    def unnamed(self) -> Unnamed:
        """Return the source of a name that its naming policy gives to an entry without one."""
        return _unnamed(self.naming, _relative(self), self.prefix)

    def keys_should_be(self) -> str:
        """Return the value of `keyed_by` for the current rules and settings."""
        return keyed_by(self.naming, _relative(self), self.prefix)

    @property
    def keys_are_old(self) -> bool:
        """Whether the store has keys that were derived with rules or settings other than the current ones."""
        return keys_are_old(self)


class Standing(NamedTuple):
    """The part of a Store that is compared with the disk."""

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
        """The path by which its directory is opened (catalog.layout.beneath)."""
        return opened_path(self.path, self.root_path, follow=self.by_name)


def _repository_of(store: Store | Standing) -> tuple[str | None, NameProblem | None]:
    return _repository(store.naming, _relative(store), store.prefix)


def _relative(store: Store | Standing) -> str | None:
    if store.naming in ("path", "path:tag") and store.root_path is not None:  # Other policies do not need it.
        return os.path.relpath(store.path, store.root_path)
    return None


def keys_are_old(store: Store | Standing) -> bool:
    """Return whether the store has keys that were derived with rules or settings other than the current ones."""
    return store.keyed_by is not None and store.keyed_by != keyed_by(store.naming, _relative(store), store.prefix)


@functools.lru_cache(maxsize=256)
def keyed_by(naming: str, relative: str | None, prefix: str | None) -> str:
    """Return a text that changes if the keys of a store with this naming policy have to be derived again.

    `relative` is the path of the store below its root, if the policy uses it.
    """
    repository, problem = _repository(naming, relative, prefix)
    text = f"{RULES_VERSION} {repository or (problem.detail if problem is not None else '')}"
    if naming in ("annotations", "path") or naming.startswith("fixed="):
        return text
    return f"{text} {naming} {_unnamed(naming, relative, prefix).tag or ''}"


@functools.lru_cache(maxsize=256)
def _repository(naming: str, relative: str | None, prefix: str | None) -> tuple[str | None, NameProblem | None]:
    # Most stores of a catalog have the same policy, and each sweep needs it for every store.
    return Naming.parse(naming).repository(relative, prefix)


@functools.lru_cache(maxsize=256)
def _unnamed(naming: str, relative: str | None, prefix: str | None) -> Unnamed:
    return Naming.parse(naming).unnamed(relative, prefix)


def stored(*row: Any) -> Store:
    """Return the Store of a row of STORES (catalog.db.registered)."""
    # Positional, because each sweep reads all stores, and keywords would cost more than the database.
    found = Store(*row[:-3])
    return found if row[-3:] == _USUAL else _decoded(found, row)


def standing(*row: Any) -> Standing:
    """Return the Standing of a row of STANDINGS."""
    found = Standing(*row[:-3])
    return found if row[-3:] == _USUAL else _decoded(found, row)


def _decoded(found: _S, row: tuple[Any, ...]) -> _S:
    path_bytes, root_path_bytes, shared_bytes = row[-3:]
    return found._replace(
        path=decode_path(found.path, path_bytes),
        root_path=decoded(found.root_path, root_path_bytes),
        shared_blobs=decoded(found.shared_blobs, shared_bytes),
    )


def decoded(path: str | None, path_bytes: bytes | None) -> str | None:
    """Return the path to open, or None if `path` is None."""
    return None if path is None else decode_path(path, path_bytes)


def differs(store: Store | Standing, file: FileState) -> bool:
    """Return whether the store has to be read, given the stat of its file, because the file or the rules for its keys have changed.

    A store that was unreadable or missing is read even if its file is the same as before.
    """
    return (
        store.file_identity != file.identity
        or store.state in ("unreadable", "missing")
        or keys_are_old(store)
        or (not isinstance(file, ArchiveState) and _marker_changed(store))  # an archive's marker cannot change alone
    )


def _marker_changed(store: Store | Standing) -> bool:
    """Return whether a missing or unusual `oci-layout` has changed. No file is opened for a usual store."""
    if store.layout_version == LAYOUT_VERSION or store.state not in ("ok", "empty"):
        return False
    from catalog.layout.index import read_marker  # This loads msgspec, which takes longer than checking 300 stores.

    return read_marker(store.opened).version != store.layout_version


def has_problem(store: Store | Standing, problem: IndexProblem) -> bool:
    """Return whether the catalog already records `problem`, and the store's keys come from the current rules."""
    return (store.state, store.error) == (problem.state, problem.reason) and not keys_are_old(store)


def has_unread_content(
    store: Store | Standing, *, look: bool, even_read: bool = False, at: Found | None = None
) -> bool:
    """Return whether content of the store has to be read.

    With `look`, return True also if its directories changed since it was read; with `even_read`, also if it was ever indexed. `at` is
    its directory if it was just found.
    """
    return store.state != "missing" and (
        store.content_pending or (store.keyed_by is not None and (even_read or (look and _blobs_changed(store, at))))
    )


def _blobs_changed(store: Store | Standing, at: Found | None) -> bool:
    """Return whether blobs were added or removed since they were listed, even if index.json did not change."""
    return blobs_identity(store.opened, store.shared_blobs, at) != (store.blobs_identity or "")


def unknown_layouts(
    roots: Mapping[str, bool],
    known: Container[str],
    on_error: Callable[[str, OSError], None],
    on_directory: Callable[[], None] = lambda: None,
    listings: Listings | None = None,
    leaves: Container[str] = (),
) -> Iterator[str]:
    """Yield the paths of layouts below `roots` that are not `known`. For the other parameters see `discover`.

    `leaves` are known layouts without directories other than `blobs`, if the caller has just checked that. The value of a root is True
    if archives below it count. A layout whose path is too long for the catalog is passed to `on_error`.
    """
    for root, archives in roots.items():
        passed_over = () if archives else leaves  # An archive may lie in them.
        for path in discover(root, on_error, on_directory, listings, known, passed_over=passed_over, archives=archives):
            if path in known or (archives and not has_archives(path, roots) and os.path.isfile(path)):
                continue
            if is_too_long(path):
                on_error(path, OSError(errno.ENAMETOOLONG, f"the path takes more than {PATH_BYTES} bytes"))
            else:
                yield path


def has_archives(path: str, roots: Mapping[str, bool]) -> bool:
    """Return whether archives count below the deepest root above `path`; False if there is none."""
    above = path
    while (parent := os.path.dirname(above)) != above:
        above = parent
        if above in roots:
            return roots[above]
    return False


def is_retention_due(last: str | None, now: int) -> bool:
    """Return whether a day has passed since retention last ran. `last` is as stored in the catalog, `now` in milliseconds."""
    return last is None or not 0 <= now - int(last) < RETENTION_MS
