"""Read element N of a layout's `manifests` from its index.json (docs/resolution.md, "What you may ask")."""

from __future__ import annotations

from collections import deque

from catalog.errors import CatalogUnavailable, InvalidReference, NotInTime
from catalog.layout.files import IndexChanged, IndexProblem
from catalog.layout.index import read_index
from catalog.layout.list_limits import ListLimits
from catalog.names.escape import shown
from catalog.names.paths import decode_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Reader
    from catalog.lookup.stores import NamedStore
    from catalog.names.query import Query

MOST_BYTES = 64 << 20
"""The largest index.json that is read to answer a question, in bytes."""
MOST_INFLATED = 256 << 20
"""How much of a compressed archive is inflated to answer a question, in bytes."""
_HELD_BYTES = 4 << 20
"""For a larger index.json, only the requested descriptor is kept in memory, because a server answers several such questions at once."""


def digest_of_element(reader: Reader, place: NamedStore, query: Query) -> str | None:
    """Return the digest of the element that `query` requests; None if the list is shorter or the element is not usable.

    Raises InvalidReference if no number follows the `@`, NotInTime if the file has changed since the catalog read it, and
    CatalogUnavailable if it cannot be read or is larger than MOST_BYTES.
    """
    number = (query.tag or "")[1:]
    if not number.isascii() or not number.isdecimal() or len(number) > 18:
        raise InvalidReference(f"{shown(query.text)} has no number after the @: write oci:PATH:@0 for the first entry")
    row = reader.row("STORE_INDEX", {"store_id": place.store_id})
    path, sha256 = (decode_path(row[0], row[1]), row[2]) if row else (place.path, None)
    try:
        limits = ListLimits(index_bytes=MOST_BYTES, in_memory_bytes=_HELD_BYTES, archive_bytes=MOST_INFLATED)
        with read_index(path, limits, number=int(number)) as content:
            deque(content, maxlen=0)  # the streamed content is only valid once all of it was read
    except IndexChanged as error:
        raise _changed(place) from error
    except IndexProblem as error:
        raise CatalogUnavailable(f"index.json of {shown(place.name)} cannot be read: {error}") from error
    if content.sha256 != sha256:
        raise _changed(place)
    return None if content.numbered is None else content.numbered.digest


def _changed(place: NamedStore) -> NotInTime:
    return NotInTime(f"{shown(place.name)} has changed since the catalog read it: ask again with --fresh")
