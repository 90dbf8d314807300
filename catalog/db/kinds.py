"""The numbers that stand in the database for a kind of content, the role of an edge, and how a blob is reached. Imports nothing."""

from __future__ import annotations

UNREAD, MANIFEST, INDEX, OTHER, UNUSABLE, OPAQUE, AMBIGUOUS = KINDS = range(7)
"""`content.kind`: not read (yet), a manifest, an index, JSON that is neither and names no digest, bytes that are no JSON,
JSON of an unknown kind that names digests, and a manifest that contradicts itself (CVE-2021-41190)."""

CHILD, CONFIG, LAYER, SUBJECT = ROLES = range(4)
"""`edge.role`: a manifest of an index, and a manifest's config, layer, and subject."""

UNREACHED, REFERRING, PART, LISTED = REACHES = range(4)
"""`store_blob.reach`: nothing in use reaches the blob; only a manifest does that no entry lists and whose subject is in use;
an entry does, as a config or layer; an entry does, as a manifest."""
