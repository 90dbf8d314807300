"""The limits for reading an `index.json` or a compressed archive. A separate module, because the reading code loads msgspec."""

from __future__ import annotations

from typing import NamedTuple


class ListLimits(NamedTuple):
    """The limits for reading a layout's list: an `index.json`, also in a compressed archive."""

    index_bytes: int = 512 << 20
    """The maximum size of an `index.json`; a larger one is invalid."""
    descriptor_bytes: int = 4 << 20
    """The maximum size of an element of `manifests`; a larger one is skipped."""
    in_memory_bytes: int = 64 << 20
    """The maximum size of an `index.json` whose descriptors are all kept in memory."""
    problems: int = 1000
    """The most skipped elements that are reported individually. The rest are counted."""
    elements: int = 10_000_000
    """The maximum number of elements of `manifests`; a file with more is invalid. 512 MiB can have six million of them,
    each with nothing but a sha256 digest."""
    archive_bytes: int = 16 << 30
    """The maximum number of bytes that a compressed archive inflates to; an archive with more is invalid."""
    archive_ratio: int = 200
    """The maximum ratio of inflated to compressed bytes. It applies after the first 64 MiB of output."""
