"""How long a key, a word or a path may be. Apart from keys.py, which a lookup need not load."""

from __future__ import annotations

KEY_BYTES = 1024
"""A longer key is none: PostgreSQL's B-tree ends at 2,704 bytes."""

MAX_NAMES = 1000
"""Names that are taken out of one annotation that lists several. The others are reported, and cannot be looked up."""


def is_long(text: str) -> bool:
    """Whether `text` is longer than KEY_BYTES in UTF-8."""
    if len(text) <= KEY_BYTES // 4:
        return False
    return len(text) > KEY_BYTES or (not text.isascii() and len(text.encode("utf-8", "replace")) > KEY_BYTES)


PATH_BYTES = 1536
"""A longer path, as the catalog keeps it, is not registered: it is a key, and so is a name, which begins with a root's."""

_CLIPPED = 200


def clipped(text: str) -> str:
    """A word of a dictionary (a media type, a platform), or the beginning of one that is longer than KEY_BYTES, with `…`."""
    return text[:_CLIPPED] + "…" if is_long(text) else text


LAYOUT_VERSION = "1.0.0"
"""The only version of the image layout that there is (image-layout.md)."""
