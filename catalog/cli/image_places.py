"""Answers as references for other tools: `oci-layout://PATH@DIGEST` for buildx, and `oci-archive:PATH:REF`, an image in an archive, for
skopeo, podman and buildah.
"""

from __future__ import annotations

from catalog.errors import UsageError
from catalog.lookup.match import COLUMNS
from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Reader
    from catalog.engine.names import Name
    from catalog.lookup.match import Match

_STORE = "SELECT archive, elements FROM store WHERE id = :store_id"
_MOST = 1_000
"""How many entries with the same ref.name are searched for the one that skopeo takes."""


def place_of(reader: Reader, match: Match, format_: str) -> str:
    """Return the reference to `match` in a format of PLACES, by the path of its store. `reader` reads the present.

    Raises UsageError if there is none: the store is on another host, its path cannot be printed unchanged, or the tool could not read it.
    """
    if (host := match.host) is not None:
        raise UsageError(
            f"store {shown(match.store)} is on the host {shown(host)}: run this command there, or print only the digest"
        )
    if match.path_bytes is not None or not match.path.isprintable():
        raise UsageError(f"the path of store {shown(match.store)} cannot be printed unchanged: use --format json")
    row = next(iter(reader.select(_STORE, {"store_id": match.store_id})), (False, 0))
    if format_ == "oci-archive":
        return _archive(reader, match, is_archive=bool(row[0]), elements=row[1])
    if row[0]:
        raise UsageError(
            f"store {shown(match.store)} is a tar archive, which buildx cannot read: use --format oci-archive for skopeo and podman"
        )
    return f"oci-layout://{match.path}@{match.digest}"


def _archive(reader: Reader, match: Match, *, is_archive: bool, elements: int) -> str:
    """Return `oci-archive:PATH`, with `:REF` if `elements`, the length of the list in the store's index.json, is not 1.

    Raises UsageError if the store is a directory, or skopeo would take another entry.
    """
    path = match.path
    if not is_archive:
        raise UsageError(f"store {shown(match.store)} is a directory, not an archive: use --format oci-layout")
    if ":" in path:
        raise UsageError(
            f"skopeo splits a path at ':', so it cannot read {shown(path)}: move the archive to a path without ':'"
        )
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
    """Return the digest of the entry that skopeo takes for a ref.name, the first that is an image or image index; None if none is."""
    from itertools import islice

    from catalog.names.limits import is_long
    from catalog.names.media_types import IMAGES

    statement: Name = "STORE_BY_LONG_REF_NAME" if is_long(ref_name) else "STORE_BY_REF_NAME"
    media_type, digest = COLUMNS.index("media_type"), COLUMNS.index("digest")
    rows = reader.rows(statement, {"tag": ref_name, "store_id": match.store_id})
    return next((row[digest] for row in islice(rows, _MOST) if row[media_type] in IMAGES), None)
