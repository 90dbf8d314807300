"""Find the store that a text means: a registered name, the path of a layout, or `STORE/IMAGE` (docs/resolution.md)."""

from __future__ import annotations

from itertools import islice

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


_MOST_NAMES = 10_000
"""How many names of stores are compared to find a suggestion."""
STATES = ("ok", "empty", "invalid", "unreadable", "missing")
"""The states of a store (docs/resolution.md)."""


class NamedStore:
    """A registered store in a reference. `image` is the canonical repository that follows it, or None.

    `elements` is the number of descriptors in `manifests`, and `entries` the number of usable ones. `since` is when the store
    entered its state, in milliseconds since 1970, UTC.
    """

    __slots__ = ("elements", "entries", "image", "name", "path", "since", "state", "store_id")

    def __init__(self, row: Row, image: str | None = None) -> None:
        self.store_id, self.name, self.path, self.state, self.since, self.elements, self.entries = row
        self.image = image


def place_of(reader: Reader, query: Query) -> NamedStore:
    """Return the store that a query with a scheme names.

    Raises UnknownStore, and InvalidReference if the text after the store is not an image name.
    """
    text = query.place or ""
    if query.kind != "oci-layout":
        return _at_path(reader, text)
    if text[0] in "/.":
        return _by_path(reader, query, text)
    found = named_place(reader, query, text)
    if found is None:
        raise _unknown(reader, text, query)
    return found


def ids_of_host(reader: Reader, name: str) -> frozenset[int]:
    """Return the ids of the stores of the host `name`. Raises UnknownStore if there is no such host."""
    host = reader.row("HOST_BY_NAME", {"host_name": name})
    if host is None:
        raise UnknownStore(
            f"no host is named {shown(name)}: 'ocicat stores --format json' shows the host of each store"
        )
    return frozenset(row[0] for row in reader.rows("STORES_OF_HOST", {"host_id": host[0]}))


def store_ids(reader: Reader, texts: tuple[str, ...]) -> frozenset[int]:
    """Return the ids of the stores given by `--store`: names, paths, or globs over names. Raises UnknownStore."""
    ids: set[int] = set()
    for text in texts:
        found = store_id(reader, text)
        if found is not None:
            ids.add(found)
            continue
        from catalog.names.pattern import Glob, has_wildcard

        matching = ids_by_glob(reader, Glob(text)) if has_wildcard(text) else set()
        if not matching:
            raise _unknown(reader, text)
        ids |= matching
    return frozenset(ids)


def store_id(reader: Reader, text: str) -> int | None:
    """Return the id of the store with the name or path `text`, or None. Raises InvalidReference for a path with a NUL."""
    found = reader.row("STORE_BY_NAME_OR_PATH", {"store_name": text, "path": None}) if _is_utf8(text) else None
    if found is None and text[:1] in ("/", "."):
        found = _registered(reader, text)
    return None if found is None else int(found[0])


def ids_by_glob(reader: Reader, glob: Glob) -> set[int]:
    """Return the ids of the stores whose names match `glob`."""
    return {row[0] for row in reader.rows("STORE_NAMES", {}) if glob.matches(row[1])}


def named_place(reader: Reader, query: Query, text: str) -> NamedStore | None:
    """Return the store with the longest name that consists of the first components of `text`, or None.

    Raises InvalidReference if the text after it is not an image name.
    """
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
        # If no name begins with these components, none begins with more of them, so a long text costs no more.
        elif reader.row("NEXT_STORE", {"low": f"{name}/", "high": upper_bound(f"{name}/")}) is None:
            break
    if longest is None:
        return None
    return NamedStore(longest[0], image_behind(query, longest[1]))


def _by_path(reader: Reader, query: Query, text: str) -> NamedStore:
    """Return the store with the longest path that consists of the first components of `text`."""
    _refuse_nul(text)
    before: list[str] | None = None
    for length, paths in reversed(prefixes_registered_as(text)):
        if paths == before:
            continue  # the same directory, after one more slash or a '.'
        before = paths
        path = text[:length] or "/"
        found = _registered_in(reader, paths)
        if found is not None:
            return NamedStore(found, image_behind(query, text[length + 1 :]))
        later = reader.past is not None and reader.past.came_later(encode_path(path)[0])
        if not later and _is_layout(path):
            raise _unregistered(path)
    raise _unknown(reader, text, query)


def _is_utf8(text: str) -> bool:
    """Return whether `text` was UTF-8. Other bytes of an argument become lone surrogates, which no name contains."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _at_path(reader: Reader, path: str) -> NamedStore:
    found = _registered(reader, path)
    if found is not None:
        return NamedStore(found)
    raise _unregistered(path) if _is_layout(path) else _unknown(reader, path)


def _registered(reader: Reader, path: str) -> Row | None:
    """Return the store at a path: the store registered under the path itself, else the one at the target of a link in it."""
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
        raise InvalidReference(f"{shown(path)} is not a path: it contains a NUL")


def _is_layout(path: str) -> bool:
    from catalog.layout.discover import is_layout

    return is_layout(path, archives=True)


def image_behind(query: Query, behind: str) -> str | None:
    """Return the repository that follows a store in a query, or None.

    The repository is parsed together with the tag, as in Docker, because 64 hex digits without a tag are not a name. Raises
    InvalidReference if it is not an image name.
    """
    if not behind:
        return None
    parts = split_reference(f"{behind}:{query.tag}" if query.tag else behind)
    if parts is None or parts[2] != query.tag or parts[3] is not None:
        raise InvalidReference(f"{shown(query.text)} has an invalid image name after its store: {shown(behind)}")
    return repository_name(parts[0], parts[1])


def _unregistered(path: str) -> UnknownStore:
    return UnknownStore(
        f"{shown(path)} is a layout that is not registered: run 'ocicat add {shown(path)}' first", is_layout=True
    )


def _unknown(reader: Reader, text: str, query: Query | None = None) -> UnknownStore:
    from catalog.names.nearest import did_you_mean

    where = f" ({shown(query.text)})" if query is not None else ""
    if _is_utf8(text) and reader.row("NEXT_STORE", {"low": f"{text}/", "high": upper_bound(f"{text}/")}) is not None:
        return UnknownStore(
            f"no store is named {shown(text)}{where}, but there are stores below it: write '{shown(text)}/*' for all of"
            f" them, or see 'ocicat stores'"
        )
    hint = did_you_mean(text, [row[1] for row in islice(reader.rows("STORE_NAMES", {}), _MOST_NAMES)])
    return UnknownStore(
        f"no store is named {shown(text)}{where}: {hint}'ocicat stores' lists the stores, 'ocicat add PATH' adds one"
    )
