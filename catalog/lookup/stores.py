"""Which store a text means: a registered name, a path of a layout, or `STORE/IMAGE` (docs/resolution.md)."""

from __future__ import annotations

from catalog.errors import InvalidReference, UnknownStore
from catalog.names.escape import shown
from catalog.names.paths import encode_path, prefixes_registered_as, registered_as
from catalog.names.pattern import upper_bound
from catalog.names.reference import repository_name, split_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Reader
    from catalog.names.pattern import Glob
    from catalog.names.query import Query

    Row = tuple[int, str, str, str, int, int, int]


STATES = ("ok", "empty", "invalid", "unreadable", "missing")
"""The states of a store (docs/resolution.md)."""


class NamedStore:
    """A registered store as a reference names it: `image` is the canonical repository behind it, or None.

    `elements` counts what `manifests` holds, unusable descriptors too, `entries` those that can be used; `since` is
    milliseconds.
    """

    __slots__ = ("elements", "entries", "image", "name", "path", "since", "state", "store_id")

    def __init__(self, row: Row, image: str | None = None) -> None:
        self.store_id, self.name, self.path, self.state, self.since, self.elements, self.entries = row
        self.image = image


def place_of(reader: Reader, query: Query) -> NamedStore:
    """The store that a query of a scheme names; raises UnknownStore, or InvalidReference for what stands behind it."""
    text = query.place or ""
    if query.kind != "oci-layout":
        return _at_path(reader, text)
    if text[0] in "/.":
        return _by_path(reader, query, text)
    return _by_name(reader, query, text)


def ids_of_host(reader: Reader, name: str) -> frozenset[int]:
    """The ids of the stores of the host `name`; raises UnknownStore if there is no such host."""
    host = reader.row("HOST_BY_NAME", {"host_name": name})
    if host is None:
        raise UnknownStore(f"no host is called {shown(name)}: 'ocicat stores --format json' says whose each store is")
    return frozenset(row[0] for row in reader.rows("STORES_OF_HOST", {"host_id": host[0]}))


def store_ids(reader: Reader, texts: tuple[str, ...]) -> frozenset[int]:
    """The ids of the stores that `--store` names: each a name, a path, or a glob over names; raises UnknownStore."""
    ids: set[int] = set()
    for text in texts:
        found = store_id(reader, text)
        if found is not None:
            ids.add(found)
            continue
        from catalog.names.pattern import Glob, has_wildcard

        matching = ids_by_glob(reader, Glob(text)) if has_wildcard(text) else set()
        if not matching:
            raise _unknown(text)
        ids |= matching
    return frozenset(ids)


def store_id(reader: Reader, text: str) -> int | None:
    """The id of the store with the name or path `text`, None where there is none."""
    found = reader.row("STORE_BY_NAME_OR_PATH", {"store_name": text, "path": None}) if _is_utf8(text) else None
    if found is None and text[:1] in ("/", "."):
        found = _registered(reader, text)
    return None if found is None else int(found[0])


def ids_by_glob(reader: Reader, glob: Glob) -> set[int]:
    """The ids of the stores whose names match `glob`."""
    return {row[0] for row in reader.rows("STORE_NAMES", {}) if glob.matches(row[1])}


def _by_name(reader: Reader, query: Query, text: str) -> NamedStore:
    """The longest registered name that is a prefix of `text` by whole components."""
    longest: tuple[Row, str] | None = None
    cut = 0
    while cut >= 0:
        cut = text.find("/", cut)
        name, behind = (text, "") if cut < 0 else (text[:cut], text[cut + 1 :])
        cut = cut + 1 or -1
        if not _is_utf8(name):
            break
        found = reader.row("STORE_BY_NAME_OR_PATH", {"store_name": name, "path": None})
        if found is not None:
            longest = found, behind
        # Where no name begins like that, none does for a longer part of the text: so it does not matter how long that is.
        elif reader.row("NEXT_STORE", {"low": f"{name}/", "high": upper_bound(f"{name}/")}) is None:
            break
    if longest is None:
        raise _unknown(text, query)
    return NamedStore(longest[0], image_behind(query, longest[1]))


def _by_path(reader: Reader, query: Query, text: str) -> NamedStore:
    """The longest path of a registered layout that is a prefix of `text` by whole components."""
    _refuse_nul(text)
    before: list[str] | None = None
    for length, paths in reversed(prefixes_registered_as(text)):
        if paths == before:
            continue  # a slash more, or a '.': the same directory
        before = paths
        path = text[:length] or "/"
        found = _registered_in(reader, paths)
        if found is not None:
            return NamedStore(found, image_behind(query, text[length + 1 :]))
        later = reader.past is not None and reader.past.came_later(encode_path(path)[0])
        if not later and _is_layout(path):
            raise _unregistered(path)
    raise _unknown(text, query)


def _is_utf8(text: str) -> bool:
    """Whether `text` can be asked for: stray bytes of an argument are lone surrogates, and no name has one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _at_path(reader: Reader, path: str) -> NamedStore:
    found = _registered(reader, path)
    if found is not None:
        return NamedStore(found)
    raise _unregistered(path) if _is_layout(path) else _unknown(path)


def _registered(reader: Reader, path: str) -> Row | None:
    """The store at a path: one that was registered by a link in it, else the one that the link leads to."""
    _refuse_nul(path)
    return _registered_in(reader, registered_as(path))


def _registered_in(reader: Reader, paths: list[str]) -> Row | None:
    for each in paths:
        found = reader.row("STORE_BY_NAME_OR_PATH", {"store_name": None, "path": encode_path(each)[0]})
        if found is not None:
            return found
    return None


def _refuse_nul(path: str) -> None:
    if "\0" in path:
        raise InvalidReference(f"{shown(path)} is no path: it holds a NUL")


def _is_layout(path: str) -> bool:
    from catalog.layout.discover import is_layout

    return is_layout(path)


def image_behind(query: Query, behind: str) -> str | None:
    """The repository that stands behind a store, as Docker reads it together with the tag (64 digits alone are no name)."""
    if not behind:
        return None
    parts = split_reference(f"{behind}:{query.tag}" if query.tag else behind)
    if parts is None or parts[2] != query.tag or parts[3] is not None:
        raise InvalidReference(f"{shown(query.text)} has no image name behind its store: {shown(behind)}")
    return repository_name(parts[0], parts[1])


def _unregistered(path: str) -> UnknownStore:
    return UnknownStore(f"{shown(path)} is a layout that is not registered: run 'ocicat add {shown(path)}' first")


def _unknown(text: str, query: Query | None = None) -> UnknownStore:
    where = f" ({shown(query.text)})" if query is not None else ""
    return UnknownStore(
        f"no store is called {shown(text)}{where}: 'ocicat stores' lists them, 'ocicat add PATH' adds one"
    )
