"""The reference to an answer that skopeo, podman and buildah take for an image in an archive: `oci-archive:PATH:REF`."""

from __future__ import annotations

from itertools import islice

from catalog.errors import UsageError
from catalog.lookup.match import COLUMNS
from catalog.names.escape import shown
from catalog.names.limits import is_long
from catalog.names.media_types import IMAGES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Reader
    from catalog.engine.names import Name
    from catalog.lookup.match import Match

_ELEMENTS = "SELECT elements FROM store WHERE id = :store_id"
_MOST = 1_000
"""How many entries with one ref.name are looked at for the one that skopeo takes."""


def archive_for(reader: Reader, match: Match, path: str, *, is_archive: bool) -> str:
    """Return skopeo's reference to `match`: `oci-archive:PATH`, with `:REF` if there are several images.

    `path` is that of its store, and `is_archive` whether that is an archive. `reader` reads the present. Raises UsageError if there
    is none: the store is a directory, or skopeo would take another entry.
    """
    if not is_archive:
        raise UsageError(f"store {shown(match.store)} is a directory and no archive: use --format oci-layout")
    if ":" in path:
        raise UsageError(
            f"skopeo splits a path at ':', so it cannot read {shown(path)}: move the archive to a path without ':'"
        )
    elements = next(iter(reader.select(_ELEMENTS, {"store_id": match.store_id})), (0,))[0]
    if match.listed and elements == 1:  # skopeo counts unusable entries, too
        return f"oci-archive:{path}"
    ref_name = match.ref_name
    is_own = ref_name is not None and ref_name[:1] not in ("", "@") and ref_name.isprintable()
    if ref_name is None or not is_own or _taken(reader, match, ref_name) != match.digest:
        raise UsageError(
            f"{shown(match.name or match.digest)} in {shown(match.store)} has no ref.name of its own, by which skopeo finds an"
            " image in an archive: use --format json"
        )
    return f"oci-archive:{path}:{ref_name}"


def _taken(reader: Reader, match: Match, ref_name: str) -> str | None:
    """Return the digest of the entry that skopeo takes for a ref.name: the first that is an image."""
    statement: Name = "STORE_BY_LONG_REF_NAME" if is_long(ref_name) else "STORE_BY_REF_NAME"
    media_type, digest = COLUMNS.index("media_type"), COLUMNS.index("digest")
    rows = reader.rows(statement, {"tag": ref_name, "store_id": match.store_id})
    return next((row[digest] for row in islice(rows, _MOST) if row[media_type] in IMAGES), None)
