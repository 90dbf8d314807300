"""Bring `store_blob`, the blobs that are in each store, up to date with the store's directories.

The layout's own directory is listed, and everything in it belongs to the store. A shared directory (skopeo's
`--shared-blob-dir`) is used by many stores, and a store has only the blobs there that its entries reach. So it is not listed.
Instead each of those blobs is looked up. The cost depends on the number of blobs that the store reaches, not on the number of stores
that share the directory. Blobs there that no store reaches belong to no store.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from catalog.db.schema import SUBJECT
from catalog.engine.driver import Cursor
from catalog.engine.interface import Writer
from catalog.ingest.parameters import chunks, marks
from catalog.ingest.rows import Rows
from catalog.ingest.sharing import FoundBlobs, Places, hashed, write_places
from catalog.ingest.store_state import Store
from catalog.ingest.turns import SLICE_SECONDS
from catalog.layout.blobs import BlobDirectories

LISTED = 10_000
"""The most blobs of small stores that are written in one transaction."""
_AT_ONCE = 2_000
"""The most blobs of a larger store that are written in one transaction, so that other stores do not wait long."""

_REACHED = (
    "WITH RECURSIVE reached (id) AS ("
    " SELECT content_id FROM entry WHERE store_id = ?"
    " UNION SELECT edge.child_id FROM reached JOIN edge ON edge.parent_id = reached.id"
    f" WHERE edge.role <> {SUBJECT})"
    " SELECT content.digest FROM reached JOIN content ON content.id = reached.id"
)
_POINTED_TO = (
    "SELECT DISTINCT content.digest FROM edge JOIN content ON content.id = edge.child_id"
    f" WHERE edge.parent_id IN (%s) AND edge.role <> {SUBJECT}"
    " AND EXISTS (SELECT 1 FROM store_blob WHERE store_blob.store_id = ? AND store_blob.content_id = edge.parent_id)"
    " AND NOT EXISTS (SELECT 1 FROM store_blob WHERE store_blob.store_id = ? AND store_blob.content_id = edge.child_id)"
)
_HELD = (
    "SELECT content.id, content.digest, store_blob.size, store_blob.mtime, store_blob.embedded FROM store_blob"
    " JOIN content ON content.id = store_blob.content_id WHERE store_blob.store_id = ?"
)
HELD_AND_VERIFIED = _HELD.replace(
    " FROM", ", store_blob.is_good, store_blob.verified_as, store_blob.verified_at FROM", 1
)
"""Selects the rows of a store's blobs, each with the last result of `verify`."""
_HELD_OF = (
    "SELECT content.digest FROM content WHERE content.digest IN (%s)"
    " AND EXISTS (SELECT 1 FROM store_blob WHERE store_blob.store_id = ? AND store_blob.content_id = content.id)"
)


File = tuple[int, int]
"""Size in bytes and modification time in milliseconds of a blob's file."""
Keep = Callable[[Sequence[tuple[Any, ...]]], None]


class _Difference(NamedTuple):
    """The differences between the directories and the rows of a store.

    They are blobs without a row, by digest; obsolete rows (store id, content id); and rows whose time differs (time, store id, content id).
    """

    new: dict[str, File]
    gone: list[tuple[int, int]]
    touched: list[tuple[int, int, int]]


class _Listed(NamedTuple):
    """A store, and the blobs that were found in its directories."""

    store: Store
    blobs: BlobDirectories
    files: dict[str, File]
    places: Places


def list_blobs(
    writer: Writer, stores: Iterable[tuple[Store, BlobDirectories]], keep: Keep | None = None
) -> Iterator[None]:
    """Update `store_blob` to the contents of the directories of these stores. About LISTED blobs are written in one transaction.

    If a directory could not be listed, no row is removed. Yields between two pieces of work, so that the caller can do
    something else. A store with more than LISTED blobs is written in several transactions. If the rows of a store already match its
    directories, `keep` is called with the rows from HELD_AND_VERIFIED, so that the caller need not query them again.
    """
    listed: list[_Listed] = []
    count = 0
    for found, blobs in stores:
        there: dict[str, File] = {}
        until = time.monotonic() + SLICE_SECONDS
        for digest, size, mtime in blobs.list():
            there[digest] = size, mtime
            if time.monotonic() >= until:
                yield
                until = time.monotonic() + SLICE_SECONDS
        there |= _shared(writer, found, blobs, there)
        each = _Listed(found, blobs, there, hashed(blobs.places()))
        if len(there) > LISTED:
            yield from _follow_large(writer, each, keep)
            continue
        listed.append(each)
        count += len(there)
        if count >= LISTED:
            yield from _follow(writer, listed, keep)
            yield
            listed, count = [], 0
    if listed:
        yield from _follow(writer, listed, keep)


def _follow(writer: Writer, listed: Sequence[_Listed], keep: Keep | None) -> Iterator[None]:
    def follow(connection: Connection) -> list[_Listed]:
        rows = Rows(connection)
        large = []
        for each in listed:
            difference = _difference(rows, each, keep)
            if sum(map(len, difference)) > LISTED:  # Many rows are obsolete.
                large.append(each)
                continue
            _write_difference(rows, each.store, difference)
        _write_places(rows, listed)
        rows.flush()
        return large

    for each in writer.write(follow):
        yield from _follow_large(writer, each, keep)


def _write_places(rows: Rows, listed: Sequence[_Listed]) -> None:
    there = [each for each in listed if _is_registered(rows, each.store)]
    write_places(rows, [FoundBlobs(each.store, each.places, not each.blobs.unlisted) for each in there])


def _follow_large(writer: Writer, listed: _Listed, keep: Keep | None) -> Iterator[None]:
    """Update one store with many blobs, in pieces. Nothing relies on the rows until the store's content is completely read."""
    found = listed.store
    writer.write(lambda connection: _write_places(Rows(connection), [listed]))
    with writer.snapshot() as connection:
        whole = _difference(Rows(connection), listed, keep)

    def write(connection: Connection, part: _Difference) -> None:
        rows = Rows(connection)
        held = held_of(rows.cursor, found.id, part.new)  # Another process may have written some rows meanwhile.
        new = {digest: file for digest, file in part.new.items() if digest not in held}
        _write_difference(rows, found, part._replace(new=new))
        rows.flush()

    for gone in chunks(whole.gone, _AT_ONCE):
        writer.write(functools.partial(write, part=_Difference({}, list(gone), [])))
        yield
    for touched in chunks(whole.touched, _AT_ONCE):
        writer.write(functools.partial(write, part=_Difference({}, [], list(touched))))
        yield
    for some in chunks(sorted(whole.new), _AT_ONCE):
        new = {digest: whole.new[digest] for digest in some}
        writer.write(functools.partial(write, part=_Difference(new, [], [])))
        yield


def _difference(rows: Rows, listed: _Listed, keep: Keep | None) -> _Difference:
    store_id = listed.store.id
    new = dict(listed.files)
    gone: list[tuple[int, int]] = []
    touched: list[tuple[int, int, int]] = []
    found = rows.cursor.execute(_HELD if keep is None else HELD_AND_VERIFIED, (store_id,))
    held = () if keep is None else found.fetchall()
    for content_id, digest, size, mtime, embedded, *_ in found if keep is None else held:
        known = new.pop(digest, None)
        if known is not None and known[0] == size and not embedded:
            if known[1] != mtime:
                touched.append((known[1], store_id, content_id))
        elif known is not None:
            new[digest] = known
            gone.append((store_id, content_id))
        elif not (embedded or listed.blobs.unlisted):
            gone.append((store_id, content_id))
    if keep is not None and not (new or gone or touched):
        keep(held)
    return _Difference(new, gone, touched)


def _write_difference(rows: Rows, found: Store, difference: _Difference) -> None:
    rows.moment.keep_blobs(difference.gone)
    rows.cursor.executemany("DELETE FROM store_blob WHERE store_id = ? AND content_id = ?", difference.gone)
    # A touched blob may have other bytes, so it has to be checked again.
    rows.cursor.executemany(
        "UPDATE store_blob SET mtime = ?, looked = FALSE WHERE store_id = ? AND content_id = ?", difference.touched
    )
    _write(rows, found, difference.new)


def held_of(cursor: Cursor, store_id: int, digests: Iterable[str]) -> set[str]:
    """Return the digests for which the store has a row."""
    return {
        row[0]
        for some in chunks(sorted(digests))
        for row in cursor.execute(_HELD_OF % marks(some), (*some, store_id)).fetchall()
    }


def list_shared(writer: Writer, found: Store, blobs: BlobDirectories, parents: Sequence[int] | None = None) -> None:
    """Add blobs in the shared directory to `store_blob` that the store reaches now that more manifests have been read.

    With `parents`, only add blobs that these manifests point to, if the manifests are in the store.
    """
    if found.shared_blobs is None:
        return
    if parents is not None:
        _list_below(writer, found, blobs, parents)
        return
    with writer.snapshot() as connection:
        held = {row[1] for row in Rows(connection).cursor.execute(_HELD, (found.id,))}
    there = _shared(writer, found, blobs, held)

    def add(connection: Connection) -> None:
        rows = Rows(connection)
        # Another process may have written some rows meanwhile.
        held = {row[1] for row in rows.cursor.execute(_HELD, (found.id,))}
        _write(rows, found, {digest: file for digest, file in there.items() if digest not in held})
        rows.flush()

    writer.write(add)


def _list_below(writer: Writer, found: Store, blobs: BlobDirectories, parents: Sequence[int]) -> None:
    def wanted(connection: Connection) -> list[str]:
        cursor = Rows(connection).cursor
        return [
            row[0]
            for some in chunks(parents)
            for row in cursor.execute(_POINTED_TO % marks(some), (*some, found.id, found.id)).fetchall()
        ]

    with writer.snapshot() as connection:
        there = _stats(blobs, wanted(connection))
    if not there:
        return

    def add(connection: Connection) -> None:
        rows = Rows(connection)
        _write(rows, found, {digest: there[digest] for digest in wanted(connection) if digest in there})
        rows.flush()

    writer.write(add)


def _stats(blobs: BlobDirectories, digests: Iterable[str]) -> dict[str, File]:
    """Return the size and time of each blob in `digests` that is a file, by digest."""
    stats = ((digest, blobs.stat(digest)) for digest in digests)
    return {digest: (stat.st_size, stat.st_mtime_ns // 1_000_000) for digest, stat in stats if stat is not None}


def _shared(writer: Writer, found: Store, blobs: BlobDirectories, known: Container[str]) -> dict[str, File]:
    """Return the blobs in the shared directory that a store reaches and that are not `known`, with size and time."""
    if found.shared_blobs is None:
        return {}
    with writer.snapshot() as connection:
        reached = [row[0] for row in Rows(connection).cursor.execute(_REACHED, (found.id,))]
    return _stats(blobs, (digest for digest in reached if digest not in known))


def _write(rows: Rows, found: Store, there: dict[str, File]) -> None:
    if not _is_registered(rows, found):
        return
    for digest, (size, mtime) in sorted(there.items()):
        rows.blob(found.id, digest, size, mtime)


def _is_registered(rows: Rows, found: Store) -> bool:
    """Return whether the store is still registered. Another process may have removed it meanwhile."""
    return rows.cursor.execute("SELECT 1 FROM store WHERE id = ?", (found.id,)).fetchone() is not None
