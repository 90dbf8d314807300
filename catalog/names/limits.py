"""How long a key may be. Apart from keys.py, which a lookup need not load."""

from __future__ import annotations

KEY_BYTES = 1024
"""A longer key is none: PostgreSQL's B-tree ends at 2,704 bytes (schema.md section 1)."""


def is_long(text: str) -> bool:
    """Whether `text` is longer than KEY_BYTES in UTF-8."""
    if len(text) <= KEY_BYTES // 4:
        return False
    return len(text) > KEY_BYTES or (not text.isascii() and len(text.encode("utf-8", "replace")) > KEY_BYTES)


LAYOUT_VERSION = "1.0.0"
"""The only version of the image layout that there is (image-layout.md)."""
