"""Normalise the names of members of an archive, as an extraction does."""

from __future__ import annotations

from catalog.names.digest import is_digest


def normal_name(name: bytes) -> bytes | None:
    """Return the name of a member without `./` and trailing slashes, or None if it leads out of the archive."""
    if name.startswith(b"/"):
        return None
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    return None if b".." in parts else b"/".join(parts)


def digest_of(name: bytes) -> str | None:
    """Return the digest of the blob that has this name in a layout, or None if it is not the name of a blob."""
    if not name.startswith(b"blobs/"):
        return None
    algorithm, slash, encoded = name[6:].decode("utf-8", "replace").partition("/")
    digest = f"{algorithm}:{encoded}"
    return digest if slash and is_digest(digest) else None
