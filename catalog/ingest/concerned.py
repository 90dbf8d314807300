"""What a question concerns, for `--fresh`: stores that are known, and layouts below the roots that are not known yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from catalog.engine.interface import Reader
from catalog.errors import InvalidReference, UnknownStore
from catalog.layout.beneath import opened_below
from catalog.layout.discover import discover
from catalog.lookup.stores import ids_by_glob, place_of, store_id
from catalog.names.paths import decode_path, derived_name, encode_path, is_too_long, registered_as
from catalog.names.pattern import Glob, has_wildcard
from catalog.names.query import OCI_LAYOUT, Query

_NUMBER = re.compile(r"~[0-9]+$")  # of a store whose name was taken


def _anything(_path: str, _name: str) -> bool:
    return True


def _any_root(_name: str) -> bool:
    return True


class Search(NamedTuple):
    """Where to look for layouts that are not known: below each root whose name `is_searched` accepts, or below `top` alone.

    Of those found `accepts` says, by path and the name that it would have, which are meant.
    """

    top: str | None = None
    is_searched: Callable[[str], bool] = _any_root
    accepts: Callable[[str, str], bool] = _anything


class Concerned(NamedTuple):
    """The stores by their ids, None for all of them, and where to look for others."""

    ids: frozenset[int] | None
    searches: tuple[Search, ...]


EVERYTHING = Concerned(None, (Search(),))


def concerned(reader: Reader, queries: Sequence[Query], scope: Sequence[str]) -> Concerned:
    """What `queries` concern, or the stores that `scope` names (names, paths and globs, as `--store` takes them)."""
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
            # Perhaps it has only just come to be below a root.
            is_name = query.kind == OCI_LAYOUT and query.place[0] not in "/."
            searches.append(_named(query.place) if is_name else _at(query.place))
        except InvalidReference:
            continue  # said when its turn comes
        else:
            ids.add(place.store_id)
            if place.image is not None:
                # Perhaps that is no image but a store inside the store, which has only just come.
                searches.append(Search(top=place.path))
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
    """A store called `text`, or, where an image stands behind it, a beginning of that."""
    texts = {text, _NUMBER.sub("", text)}

    def is_above(name: str) -> bool:
        return name in texts or text.startswith(f"{name}/")

    return Search(is_searched=is_above, accepts=lambda _path, name: is_above(name))


def _at(text: str) -> Search:
    """The store at the path `text`, or, where an image stands behind it, at a beginning of that."""
    paths = registered_as(text)

    def accepts(path: str, _name: str) -> bool:
        return any(each == path or each.startswith(f"{path.rstrip('/')}/") for each in paths)

    return Search(accepts=accepts)


def known_paths(reader: Reader) -> frozenset[str]:
    """Return the paths, as the catalog keeps them, of its stores and of the layouts that it leaves out."""
    return frozenset(
        [row[2] for row in reader.rows("STORE_FILES", {})] + [row[0] for row in reader.rows("LEFT_OUT", {})]
    )


def new_layouts(reader: Reader, searches: Iterable[Search], known: frozenset[str]) -> list[str]:
    """The paths of the layouts below roots that are meant by one of `searches` and whose paths are not among `known`."""
    roots = [(decode_path(path, path_bytes), name) for path, path_bytes, name, *_ in reader.rows("ROOTS", {})]
    roots.sort(key=lambda root: -len(root[0]))
    by_top: dict[str, list[Search]] = {}
    for search in searches:
        tops = [path for path, name in roots if search.is_searched(name)] if search.top is None else [search.top]
        for top in tops:
            by_top.setdefault(top, []).append(search)
    found: set[str] = set()
    paths = {path for path, _ in roots}
    for top, meant in by_top.items():
        opened = opened_below(top, paths)
        for path in () if opened is None else discover(opened, lambda _path, _error: None):
            root = _root_above(path, roots)
            if root is None or path in found or is_too_long(path) or encode_path(path)[0] in known:
                continue
            name = derived_name(path, *root)
            if any(search.accepts(path, name) for search in meant):
                found.add(path)
    return sorted(found)


def _root_above(path: str, roots: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """The path and name of the deepest root at or above `path`; `roots` come with the deepest first."""
    return next((root for root in roots if path == root[0] or path.startswith(root[0].rstrip("/") + "/")), None)
