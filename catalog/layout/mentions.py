"""Find out whether a blob mentions digests. A blob of an unknown type that does may need other blobs."""

from __future__ import annotations

import re

_DIGEST = re.compile(rb"(?:sha256|blake3):[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_ESCAPE = re.compile(rb"\\u00([2-7][0-9a-fA-F])")


def mentions_digest(data: bytes) -> bool:
    """Return whether `data` contains a digest, in plain text or with JSON's escapes."""
    if _DIGEST.search(data):
        return True
    return b"\\u00" in data and _DIGEST.search(_ESCAPE.sub(_unescaped, data)) is not None


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)])
