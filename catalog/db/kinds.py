"""The numbers in the database for the kind of a content, the role of an edge, and how a blob is reached. Imports nothing."""

from __future__ import annotations

UNREAD, MANIFEST, INDEX, OTHER, UNUSABLE, OPAQUE, AMBIGUOUS = KINDS = range(7)
"""`content.kind`: not read (yet); a manifest; an index; JSON that is neither and contains no digest; bytes that are not
JSON; JSON of an unknown kind that contains digests; a manifest that contradicts itself (CVE-2021-41190)."""

CHILD, CONFIG, LAYER, SUBJECT = ROLES = range(4)
"""`edge.role`: a manifest in an index; the config, a layer, or the subject of a manifest."""

UNREACHED, REFERRING, PART, LISTED = REACHES = range(4)
"""`store_blob.reach`: nothing in use reaches the blob; only an unlisted manifest whose subject is in use reaches it; an
entry reaches it as a config or layer; an entry reaches it as a manifest."""
