"""Read element N of a layout's `manifests` from its index.json (docs/resolution.md, "What you may ask")."""

from __future__ import annotations

import hashlib
import json

from catalog.errors import CatalogUnavailable, InvalidReference, NotInTime
from catalog.layout.files import IndexChanged, IndexProblem, StoreFile
from catalog.names.escape import shown
from catalog.names.paths import decode_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Reader
    from catalog.lookup.stores import NamedStore
    from catalog.names.query import Query

MOST_BYTES = 64 << 20
"""The largest index.json that is read to answer a question, in bytes."""


def digest_of_element(reader: Reader, place: NamedStore, query: Query) -> str | None:
    """Return the digest of the element that `query` asks for; None if the list is shorter or the element has no digest.

    Raises InvalidReference if no number follows the `@`, NotInTime if the file has changed since the catalog read it, and
    CatalogUnavailable if it cannot be read or is larger than MOST_BYTES.
    """
    number = (query.tag or "")[1:]
    if not number.isascii() or not number.isdecimal() or len(number) > 18:
        raise InvalidReference(f"{shown(query.text)} has no number after the @: write oci:PATH:@0 for the first entry")
    row = reader.row("STORE_INDEX", {"store_id": place.store_id})
    path, sha256 = (decode_path(row[0], row[1]), row[2]) if row else (place.path, None)
    try:
        opened = StoreFile(path, "index.json")
        try:
            if opened.state.size > MOST_BYTES:
                raise CatalogUnavailable(f"index.json of {shown(place.name)} is too large to count its entries")
            data = opened.read(opened.state.size + 1, 0)
        finally:
            opened.close()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise NotInTime(f"{shown(place.name)} has changed since the catalog read it: ask again with --fresh")
        elements = json.loads(data)["manifests"] or []
        element = elements[int(number)] if int(number) < len(elements) else None
    except (IndexProblem, IndexChanged, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CatalogUnavailable(f"index.json of {shown(place.name)} cannot be read: {error}") from error
    digest = element.get("digest") if isinstance(element, dict) else None
    return digest if isinstance(digest, str) else None
