"""Find the stores that a query is about, for `--fresh`: registered stores, and layouts below roots that are not registered yet."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from catalog.engine.interface import Reader
from catalog.errors import InvalidReference, UnknownStore
from catalog.ingest.store_state import ROOT_ARCHIVES
from catalog.layout.beneath import opened_below
from catalog.layout.discover import discover
from catalog.lookup.stores import ids_by_glob, place_of, store_id
from catalog.names.paths import decode_path, derived_name, encode_path, is_too_long, registered_as
from catalog.names.pattern import Glob, has_wildcard
from catalog.names.query import OCI_LAYOUT, Query

_NUMBER = re.compile(r"~[0-9]+$")  # added to the name of a store if the name was taken


def _anything(_path: str, _name: str) -> bool:
    return True


def _any_root(_name: str) -> bool:
    return True


class Search(NamedTuple):
    """A search for unregistered layouts, below each root whose name `is_searched` accepts, or only below `directory`.

    `accepts` returns whether a layout is meant, given its path and the name that it would get.
    """

    directory: str | None = None
    is_searched: Callable[[str], bool] = _any_root
    accepts: Callable[[str, str], bool] = _anything


class Concerned(NamedTuple):
    """The ids of the registered stores, or None for all, and the searches for unregistered ones."""

    ids: frozenset[int] | None
    searches: tuple[Search, ...]


def _ignore(_path: str, _error: OSError) -> None:
    pass


EVERYTHING = Concerned(None, (Search(),))


def concerned(reader: Reader, queries: Sequence[Query], scope: Sequence[str]) -> Concerned:
    """Return the stores that `queries` are about, or the stores that `scope` selects: names, paths and globs, as for `--store`."""
    if scope:
        return _in_scope(reader, scope)
    ids: set[int] = set()
    searches: list[Search] = []
    for query in queries:
        if query.place is None:
            return EVERYTHING
        try:
            place = place_of(reader, query)
        except UnknownStore:
            # The store may have just been created below a root.
            is_name = query.kind == OCI_LAYOUT and query.place[0] not in "/."
            searches.append(_named(query.place) if is_name else _at(query.place))
        except InvalidReference:
            continue  # The error is reported when the query is answered.
        else:
            ids.add(place.store_id)
            if place.image is not None:
                # The image may in fact be a new store inside the store.
                searches.append(Search(directory=place.path))
    return Concerned(frozenset(ids), tuple(searches)) if queries else EVERYTHING


def _in_scope(reader: Reader, scope: Sequence[str]) -> Concerned:
    ids: set[int] = set()
    searches: list[Search] = []
    for text in scope:
        found = store_id(reader, text)
        if found is not None:
            ids.add(found)
        elif has_wildcard(text):
            glob = Glob(text)
            ids |= ids_by_glob(reader, glob)
            searches.append(_matching(glob))
        else:
            searches += [_at(text)] if text[:1] in ("/", ".") else [_named(text)]
    return Concerned(frozenset(ids), tuple(searches))


def _matching(glob: Glob) -> Search:
    def is_searched(root: str) -> bool:
        return root.startswith(glob.prefix) or glob.prefix.startswith(root)

    def accepts(_path: str, name: str) -> bool:
        return glob.matches(name) or glob.matches(f"{name}~2")

    return Search(is_searched=is_searched, accepts=accepts)


def _named(text: str) -> Search:
    """Return the search for a store named `text`, or named by a prefix of it if an image follows."""
    texts = {text, _NUMBER.sub("", text)}

    def is_above(name: str) -> bool:
        return name in texts or text.startswith(f"{name}/")

    return Search(is_searched=is_above, accepts=lambda _path, name: is_above(name))


def _at(text: str) -> Search:
    """Return the search for a store at the path `text`, or at a prefix of it if an image follows."""
    paths = registered_as(text)

    def accepts(path: str, _name: str) -> bool:
        return any(each == path or each.startswith(f"{path.rstrip('/')}/") for each in paths)

    return Search(accepts=accepts)


def known_paths(reader: Reader) -> frozenset[str]:
    """Return the paths, as stored in the catalog, of its stores and of the layouts that were removed from it."""
    return frozenset(
        [row[2] for row in reader.rows("STORE_FILES", {})] + [row[0] for row in reader.rows("LEFT_OUT", {})]
    )


def new_layouts(reader: Reader, searches: Iterable[Search], known: frozenset[str]) -> list[str]:
    """Return the paths of the layouts below roots that one of `searches` accepts and that are not `known`."""
    rows = list(reader.rows("ROOTS", {}))
    archives = {decode_path(row[0], row[1]): bool(row[ROOT_ARCHIVES]) for row in rows}
    roots = [(decode_path(path, path_bytes), name) for path, path_bytes, name, *_ in rows]
    roots.sort(key=lambda root: -len(root[0]))
    has_any = any(archives.values())
    by_directory: dict[str, list[Search]] = {}
    for search in searches:
        directories = [search.directory] if search.directory is not None else _searched(roots, search)
        for directory in directories:
            by_directory.setdefault(directory, []).append(search)
    found: set[str] = set()
    paths = {path for path, _ in roots}
    for directory, its_searches in by_directory.items():
        opened = opened_below(directory, paths)
        if opened is None:
            continue
        # With archives, every directory is listed, so `known` only saves reading archives.
        for path in discover(opened, _ignore, known=known if has_any else (), archives=has_any):
            root = _root_above(path, roots)
            if (
                root is None
                or (has_any and not archives[root[0]] and os.path.isfile(path))
                or path in found
                or is_too_long(path)
                or encode_path(path)[0] in known
            ):
                continue
            name = derived_name(path, *root)
            if any(search.accepts(path, name) for search in its_searches):
                found.add(path)
    return sorted(found)


def _searched(roots: Iterable[tuple[str, str]], search: Search) -> list[str]:
    return [path for path, name in roots if search.is_searched(name)]


def _root_above(path: str, roots: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Return path and name of the deepest root at or above `path`, or None. `roots` must be sorted by length, the longest first."""
    return next((root for root in roots if path == root[0] or path.startswith(root[0].rstrip("/") + "/")), None)
