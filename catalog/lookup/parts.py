"""Find the parts of an image, and the parts that one image has and another does not have: platforms, layers, bytes.

This uses the manifests that the catalog has read, in any store, because an image is the same in every store. A value that is
not known is None, never 0.
"""

from __future__ import annotations

from itertools import islice

from catalog.lookup.below import ATTESTATION, INDEX, MANIFEST, UNREAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from catalog.engine.interface import Reader

MOST_ROWS = 10_000
"""The parts of an image with more descriptors than this count as unknown, because a layout may have any number of descriptors."""
_KEPT = 1_000
_OTHER = 3  # the kind of content that is JSON without digests, so that it leads to no other blob
_CHILD, _CONFIG, _LAYER = 0, 1, 2
_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")


class Parts:
    """The parts of an image. Each is None if it is not known.

    `platforms` are os/arch[/variant], without attestations. `layers` maps the digest of each layer to its size in bytes, and
    `blobs` does so for every blob of the image; a size is None if no descriptor gives it.
    """

    __slots__ = ("blobs", "layers", "platforms")

    def __init__(
        self,
        platforms: frozenset[str] | None = None,
        layers: dict[str, int | None] | None = None,
        blobs: dict[str, int | None] | None = None,
    ) -> None:
        self.platforms = platforms
        self.layers = layers
        self.blobs = blobs


NOTHING = Parts(frozenset(), {}, {})
"""The parts in place of an image that does not exist."""


class Images:
    """Reads the parts of images in a catalog, and caches the parts of the most recent images."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._kept: dict[str, Parts] = {}

    def of(self, digest: str | None) -> Parts:
        """Return the parts of the image `digest`; NOTHING for None. Raises CatalogUnavailable."""
        if digest is None:
            return NOTHING
        found = self._kept.get(digest)
        if found is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            found = self._kept[digest] = _read(self._reader, digest)
        return found


def only_in(one: dict[str, int | None] | None, other: dict[str, int | None] | None) -> dict[str, int | None] | None:
    """Return the blobs that are in `one` and not in `other`; None if either is not known."""
    if one is None or other is None:
        return None
    return {digest: size for digest, size in one.items() if digest not in other}


def total(blobs: dict[str, int | None] | None) -> int | None:
    """Return the total size of the blobs in bytes; None if any size is not known."""
    if blobs is None:
        return None
    sizes = [size for size in blobs.values() if size is not None]
    return sum(sizes) if len(sizes) == len(blobs) else None


def _read(reader: Reader, digest: str) -> Parts:
    rows = list(islice(reader.rows("PARTS", {"digest": digest}), MOST_ROWS + 1))
    if not rows or len(rows) > MOST_ROWS:
        return Parts()
    platforms = _platforms(digest, rows)
    if any(kind not in (MANIFEST, INDEX, _OTHER) or flaws is not None for _, kind, _, flaws, *_ in rows):
        return Parts(platforms)
    if next(kind for parent, kind, *_ in rows if parent == digest) == _OTHER:
        return Parts()
    layers: dict[str, int | None] = {}
    blobs = {digest: next(size for parent, _, size, *_ in rows if parent == digest)}
    for _, _, _, _, role, child, _, size, *_ in rows:
        if role is not None:
            blobs[child] = blobs.get(child) or size
        if role == _LAYER:
            layers[child] = size
    return Parts(platforms, layers, blobs)


def _platforms(top: str, rows: list[tuple[Any, ...]]) -> frozenset[str] | None:
    """Return the platforms of the image `top`, from its index or else from the configs of its manifests; None if not all are known."""
    kinds = {row[0]: row[1] for row in rows}
    own: dict[str, str] = {}
    unread: set[str] = set()
    for parent, _, _, _, role, _, child_kind, _, media_type, _, _, own_platform in rows:
        if role == _CONFIG and own_platform is not None:
            own[parent] = own_platform
        elif role == _CONFIG and child_kind == UNREAD and media_type in _CONFIGS:
            unread.add(parent)
    if kinds[top] == MANIFEST:
        return None if top in unread else frozenset(name for name in (own.get(top),) if name not in (None, ATTESTATION))
    if kinds[top] != INDEX:
        return None
    found: set[str] = set()
    for _, _, _, _, role, child, child_kind, _, _, is_leaf, claimed, _ in rows:
        if role != _CHILD or is_leaf or child_kind == INDEX:
            continue
        name = claimed or own.get(child)
        if name is None and (child in unread or child_kind == UNREAD):
            return None
        if name is not None and name != ATTESTATION:
            found.add(name)
    return frozenset(found)
