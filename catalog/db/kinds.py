"""The numbers that stand in the database for a kind of content and for the role of an edge. Imports nothing."""

from __future__ import annotations

UNREAD, MANIFEST, INDEX, OTHER, UNUSABLE = KINDS = range(5)
"""`content.kind`: not read yet (nor perhaps ever), a manifest, an index, JSON that is neither, bytes that are no use."""

CHILD, CONFIG, LAYER, SUBJECT = ROLES = range(4)
"""`edge.role`: a manifest of an index, and a manifest's config, layer, and subject."""
