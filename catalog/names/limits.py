"""Length limits of keys, media types, platforms and paths. They are in a module of their own, so that a lookup need not load keys.py."""

from __future__ import annotations

KEY_BYTES = 1024
"""The longest lookup key, in bytes of UTF-8. PostgreSQL's B-tree accepts at most 2,704 bytes."""

MAX_NAMES = 1000
"""The maximum number of keys from an annotation that lists several names. The rest are reported and cannot be looked up."""


def is_long(text: str) -> bool:
    """Return whether `text` is longer than KEY_BYTES in UTF-8."""
    if len(text) <= KEY_BYTES // 4:
        return False
    return len(text) > KEY_BYTES or (not text.isascii() and len(text.encode("utf-8", "replace")) > KEY_BYTES)


PATH_BYTES = 1536
"""The longest path of a store, in bytes as stored. Paths are B-tree keys, and so are names of stores, which may be KEY_BYTES longer."""

_CLIPPED = 200


def clipped(text: str) -> str:
    """Return a media type or platform as the catalog stores it: if it is longer than KEY_BYTES, its first 200 characters and `…`."""
    return text[:_CLIPPED] + "…" if is_long(text) else text


LAYOUT_VERSION = "1.0.0"
"""The only version of the image layout so far (image-spec, image-layout.md)."""

MOST_TAGS = 5_000
"""The number of different tags after which a search for part of a tag (the statement TAGS_WITH) no longer skips from tag to tag in
the index, but reads all other keys. Reading them costs less if each key has a different tag."""
