"""Find layouts that use blobs in directories of other layouts: the tables blob_place and removed_place, and the flag `store.shares`.

A blob that nothing in its own store needs may be needed by another layout that finds it there: through `--shared-blob-dir`, a
`blobs` directory or a blob that is a link, or a bind mount. The view `unjudged` lists such stores. It only checks stores with the
flag, so other stores cost nothing. The flag is set before it is needed, and may stay set when it is no longer needed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from catalog.engine.driver import cursor_of, own_host_id
from catalog.engine.interface import Writer
from catalog.ingest.parameters import chunks, marks
from catalog.ingest.rows import Rows
from catalog.ingest.store_state import Store
from catalog.names.paths import decode_path, encode_path

_KNOWN = "SELECT place, is_own FROM blob_place WHERE store_id = ?"
_USERS = "SELECT place, store_id FROM blob_place WHERE place IN (%s)"
_REMOVED_USERS = "SELECT DISTINCT place FROM removed_place WHERE place IN (%s)"
_ANY_REMOVED = "SELECT 1 FROM removed_place LIMIT 1"
_SHARES = "UPDATE store SET shares = TRUE WHERE id = ? AND NOT shares"
_REMOVED = "SELECT DISTINCT path, path_bytes FROM removed_place WHERE host_id = ?"
_REGISTERED = "DELETE FROM removed_place WHERE path = ? AND host_id = (SELECT host_id FROM store WHERE id = ?)"
_FORGET = "DELETE FROM removed_place WHERE host_id = ? AND path = ?"
_REMEMBER = "INSERT INTO removed_place (host_id, path, place, path_bytes) VALUES (?, ?, ?, ?)"
_OWNERS = "SELECT store_id FROM blob_place WHERE place = ? AND is_own"
_SAME_LAYOUT = (
    "SELECT 1 FROM store JOIN store AS twin ON twin.file_identity = store.file_identity AND twin.host_id = store.host_id"
    " WHERE store.id = ? AND twin.id = ?"
)

Places = Mapping[bytes, bool]
"""Hashes of identifiers of directories (catalog.layout.blob_places); the value is True for the layout's own directories."""


def hashed(places: Mapping[str, bool]) -> Places:
    """Return the places with hashes of the identifiers as keys, because a path may be too long for an index of PostgreSQL."""
    return {hashlib.blake2b(os.fsencode(place), digest_size=16).digest(): own for place, own in places.items()}


class FoundBlobs(NamedTuple):
    """The places in which a store finds its blobs. If not `is_complete`, some directories could not be read."""

    store: Store
    places: Places
    is_complete: bool


def write_places(rows: Rows, found: Sequence[FoundBlobs]) -> None:
    """Record the places of stores' blobs, and the stores that share a directory. Old places stay if not all directories were read."""
    by_place: dict[bytes, set[int]] = {}
    for store, places, is_complete in found:
        before = {bytes(place): bool(own) for place, own in rows.cursor.execute(_KNOWN, (store.id,)).fetchall()}
        now = places if is_complete else {**before, **places}
        if before != now:
            gone = [(store.id, place) for place in sorted(before) if before[place] != now.get(place)]
            new = [(store.id, place, rows.flags[own]) for place, own in sorted(now.items()) if before.get(place) != own]
            rows.cursor.executemany("DELETE FROM blob_place WHERE store_id = ? AND place = ?", gone)
            rows.cursor.executemany("INSERT INTO blob_place (store_id, place, is_own) VALUES (?, ?, ?)", new)
        for place in now:
            by_place.setdefault(place, set()).add(store.id)
    for some in chunks(sorted(by_place)):
        for place, store_id in rows.cursor.execute(_USERS % marks(some), tuple(some)).fetchall():
            by_place[bytes(place)].add(store_id)
    sharing = set[int]().union(*(users for users in by_place.values() if len(users) > 1))
    if rows.cursor.execute(_ANY_REMOVED).fetchone() is not None:
        rows.cursor.executemany(_REGISTERED, [(encode_path(each.store.path)[0], each.store.id) for each in found])
        for some in chunks(sorted(by_place)):
            for (place,) in rows.cursor.execute(_REMOVED_USERS % marks(some), tuple(some)).fetchall():
                sharing |= by_place[bytes(place)]
    # In the order of their ids, because other hosts write them too.
    rows.cursor.executemany(_SHARES, [(one,) for one in sorted(sharing)])


def keep_removed(connection: Connection, removed: Sequence[Store]) -> None:
    """Remember the blob places of these stores, which are about to be removed, that are not their own or that other stores use.

    Their layouts may stay on the disk, and other programs may still use them.
    """
    cursor = cursor_of(connection)
    host_id = own_host_id(connection)
    ids = {store.id for store in removed}
    for store in removed:
        if not is_there(store.path):
            continue
        places = {bytes(place): bool(own) for place, own in cursor.execute(_KNOWN, (store.id,)).fetchall()}
        text, raw = encode_path(store.path)
        for place, own in sorted(places.items()):
            others = {row[0] for row in cursor.execute(_OWNERS, (place,)).fetchall()} - ids
            if own:  # Only a store with another index.json needs other blobs there, such as one behind a bind mount.
                others = {one for one in others if not cursor.execute(_SAME_LAYOUT, (store.id, one)).fetchall()}
            if others or not own:
                cursor.execute(_REMEMBER, (host_id, text, place, raw))
            cursor.executemany(_SHARES, [(one,) for one in sorted(others)])


def is_there(path: str) -> bool:
    """Return whether there is still a layout at a path that was once registered."""
    return os.path.lexists(f"{path}/index.json")


def removed_layouts(connection: Connection) -> dict[str, str]:
    """Return the layouts of this host that were removed and are remembered: the path to open, by the path as stored."""
    found = cursor_of(connection).execute(_REMOVED, (own_host_id(connection),)).fetchall()
    return {path: decode_path(path, raw) for path, raw in found}


def forget_gone(writer: Writer, removed: Mapping[str, str]) -> None:
    """Forget removed layouts that do not exist any more."""
    gone = [path for path, opened in removed.items() if not is_there(opened)]
    if gone:
        writer.write(lambda connection: _forget(connection, gone))


def _forget(connection: Connection, paths: Iterable[str]) -> None:
    host_id = own_host_id(connection)
    cursor_of(connection).executemany(_FORGET, [(host_id, path) for path in sorted(paths)])
