"""Check the syntax of digests. Two different grammars are in use.

`is_digest` follows the image-spec (descriptor.md, "Digests") and decides whether a descriptor is usable.
`is_docker_digest` follows go-digest's `Digest.Validate` and its registered algorithms, and is used inside references.
"""

from __future__ import annotations

HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""The algorithms of go-digest, each with its number of lower-case hex digits."""

_EXACT_LENGTHS = {**HEX_LENGTHS, "blake3": 64}
_ENCODED = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ=_-"


def is_digest(text: str) -> bool:
    """Return whether `text` is a digest by the image-spec (descriptor.md, "Digests" and "Registered algorithms").

    The algorithm consists of lower-case letters and digits with single `+`, `.`, `_` or `-` between them; the encoded
    part has no `.` and no `/`. So `blobs/ALGORITHM/ENCODED` is always a file two levels below `blobs`. A registered
    algorithm (or sha384, which only go-digest registers) needs its exact length in lower-case hex.
    """
    algorithm, _, encoded = text.partition(":")
    exact = _EXACT_LENGTHS.get(algorithm)
    if exact is not None:
        return len(encoded) == exact and is_hex(encoded)
    return encoded != "" and not encoded.strip(_ENCODED) and _is_algorithm(algorithm)


def is_docker_digest(text: str) -> bool:
    """Return whether go-digest accepts `text` (`Digest.Validate`): sha256, sha384 or sha512 with its exact length."""
    algorithm, _, encoded = text.partition(":")
    return HEX_LENGTHS.get(algorithm) == len(encoded) and is_hex(encoded)


def is_hex(text: str) -> bool:
    """Return whether `text` consists of pairs of lower-case hex digits."""
    try:
        # A round trip is three times as fast as checking each digit; spaces and capitals do not survive it.
        return bytes.fromhex(text).hex() == text
    except ValueError:
        return False


def _is_algorithm(text: str) -> bool:
    if not text.isascii() or text.lower() != text:
        return False
    edged = f".{text.replace('+', '.').replace('_', '.').replace('-', '.')}."
    return ".." not in edged and edged.replace(".", "").isalnum()
