"""Digests: which texts are one. Two grammars are in use, and they differ.

`is_digest` is the image-spec's (descriptor.md, "Digests"): it decides whether a descriptor can be used at all.
`is_docker_digest` is go-digest's `Digest.Validate` with the algorithms that it registers: it decides inside a reference.
"""

from __future__ import annotations

HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""The algorithms of go-digest, and how many lower-case hex digits each encodes to."""

_EXACT_LENGTHS = {**HEX_LENGTHS, "blake3": 64}
_ENCODED = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ=_-"


def is_digest(text: str) -> bool:
    """Whether `text` is a digest by the image-spec (descriptor.md, "Digests" and "Registered algorithms").

    The algorithm is lower-case letters and digits with a single `+`, `.`, `_` or `-` between them; what is encoded has
    no `.` and no `/`. So `blobs/ALGORITHM/ENCODED` names a file two levels below `blobs`, and cannot leave it. A
    registered algorithm (and sha384, which go-digest has) must have its exact length in lower-case hex.
    """
    algorithm, _, encoded = text.partition(":")
    exact = _EXACT_LENGTHS.get(algorithm)
    if exact is not None:
        return len(encoded) == exact and is_hex(encoded)
    return encoded != "" and not encoded.strip(_ENCODED) and _is_algorithm(algorithm)


def is_docker_digest(text: str) -> bool:
    """Whether `text` is a digest to go-digest (`Digest.Validate`): sha256, sha384 or sha512, of its exact length."""
    algorithm, _, encoded = text.partition(":")
    return HEX_LENGTHS.get(algorithm) == len(encoded) and is_hex(encoded)


def is_hex(text: str) -> bool:
    """Whether `text` is pairs of lower-case hex digits and nothing else."""
    try:
        # One trip there and back is three times as fast as a look at each digit; spaces and capitals do not survive it.
        return bytes.fromhex(text).hex() == text
    except ValueError:
        return False


def _is_algorithm(text: str) -> bool:
    if not text.isascii() or text.lower() != text:
        return False
    edged = f".{text.replace('+', '.').replace('_', '.').replace('-', '.')}."
    return ".." not in edged and edged.replace(".", "").isalnum()
