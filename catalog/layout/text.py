"""Text out of a layout: whatever bytes stand in it, what leaves this module can be stored, compared and printed.

A layout's JSON is written by Go programs and read by them. Go's encoding/json takes bytes that are no UTF-8, and escapes
that are half a surrogate pair, and puts U+FFFD in their place (its `unquoteBytes`). Python's json keeps the half pairs,
msgspec refuses both, and neither engine of the catalog stores NUL or a lone surrogate. So: Go's rule, and the
same for NUL.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

REPLACEMENT = "\ufffd"

OUT_OF_RANGE = 1 << 64
"""What `loads` gives for an integer of more than 20 characters: int() is quadratic, and refuses 4,300 digits."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# Escapes are looked at one after the other, since in `\\ud800` the backslash is the one that is escaped. The first
# alternative is a whole surrogate pair, the second half of one.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)

_KINDS = {"[": "an array", "{": "an object", '"': "a string", "t": "a boolean", "f": "a boolean", "n": "null"}

_HANDLER = "ocicat.once-per-byte"


def _once_per_byte(error: UnicodeError) -> tuple[str, int]:
    """Python's own `replace` gives one U+FFFD for the longest truncated sequence, Go one for each of its bytes."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return REPLACEMENT * (error.end - error.start), error.end


codecs.register_error(_HANDLER, _once_per_byte)


def clean(text: str) -> str:
    """`text` with U+FFFD for each NUL and each lone surrogate: neither can be stored."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNSTORABLE.sub(REPLACEMENT, text)


def decode(raw: bytes) -> str:
    """`raw` as UTF-8, with U+FFFD for each byte that is none (Go's encoding/json). Never raises."""
    return raw.decode("utf-8", _HANDLER)


def mend(raw: bytes) -> bytes:
    r"""JSON text with `\ufffd` for each escape that is half a surrogate pair (Go's encoding/json); as long as before."""
    if b"\\ud" not in raw and b"\\uD" not in raw:
        return raw
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], raw)


def shorten(text: str, limit: int = 200) -> str:
    """`text`, clean, in at most `limit` characters: for messages, which must not be as long as what they are about."""
    return clean(text if len(text) <= limit else f"{text[: limit - 1]}…")


def loads(raw: bytes) -> Any:
    """The value of one JSON text, as Go reads it; of an object's equal keys the last one counts.

    Strings in it may still hold NUL and lone surrogates: `clean` them. Integers beyond 20 characters are
    `OUT_OF_RANGE`. Raises ValueError with one line when `raw` is no JSON or nested too deep; offsets are in characters.
    """
    try:
        return json.loads(decode(raw), parse_int=integer, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deep") from None


def kind_of(first: int) -> str:
    """What a value is that begins with the byte `first`, with its article; empty where no value begins so."""
    return _KINDS.get(chr(first), "a number" if chr(first) in "-0123456789" else "") if first >= 0 else ""


def kind(value: object) -> str:
    """What JSON calls a decoded value, with its article: for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, dict):
        return "an object"
    return "an array" if isinstance(value, list) else "a number"


def integer(digits: str) -> int:
    """An integer of JSON, or `OUT_OF_RANGE`."""
    return int(digits) if len(digits) <= 20 else OUT_OF_RANGE


def refuse(constant: str) -> None:
    """Raise ValueError for NaN and the infinities, which Python takes for JSON."""
    raise ValueError(f"{constant} is no JSON")
