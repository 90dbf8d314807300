"""Turn bytes from a layout into text that can be stored, compared and printed, whatever the bytes are.

Go programs write and read the JSON in layouts. Go's encoding/json replaces bytes that are not UTF-8, and escapes that are
half a surrogate pair, with U+FFFD (`unquoteBytes`). Python's json keeps the halves, and msgspec refuses both. PostgreSQL
cannot store NUL, SQLite's text functions stop at it, and neither can store a lone surrogate. So this module follows Go's
rule, and applies it to NUL as well.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

REPLACEMENT = "\ufffd"

OUT_OF_RANGE = 1 << 64
"""The value that `loads` returns for an integer of more than 20 characters, because int() takes quadratic time and refuses
more than 4,300 digits."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# Matches every escape, because in `\\ud800` the backslash is what is escaped. The first alternative is a whole surrogate
# pair, the second is half of one.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)

_KINDS = {"[": "an array", "{": "an object", '"': "a string", "t": "a boolean", "f": "a boolean", "n": "null"}

_HANDLER = "ocicat.once-per-byte"


def _once_per_byte(error: UnicodeError) -> tuple[str, int]:
    """Replace each byte of a truncated sequence with U+FFFD, as Go does. Python's `replace` writes one per sequence."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return REPLACEMENT * (error.end - error.start), error.end


codecs.register_error(_HANDLER, _once_per_byte)


def clean(text: str) -> str:
    """Return `text` with U+FFFD for each NUL and each lone surrogate, which the catalog does not store."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNSTORABLE.sub(REPLACEMENT, text)


def decode(raw: bytes) -> str:
    """Decode UTF-8, with U+FFFD for each invalid byte (as Go's encoding/json does). Never raises."""
    return raw.decode("utf-8", _HANDLER)


def mend(raw: bytes) -> bytes:
    r"""Return JSON text with `\ufffd` for each escape that is half a surrogate pair (as Go's encoding/json does).

    The length does not change.
    """
    if b"\\ud" not in raw and b"\\uD" not in raw:
        return raw
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], raw)


def shorten(text: str, limit: int = 200) -> str:
    """Return `text`, clean and truncated to `limit` characters, for use in a message."""
    return clean(text if len(text) <= limit else f"{text[: limit - 1]}…")


def loads(raw: bytes) -> Any:
    """Return the value of one JSON text, as Go reads it. The last of equal keys in an object counts.

    Strings in it may still contain NUL and lone surrogates, so pass them to `clean`. Integers of more than 20 characters
    become `OUT_OF_RANGE`. Raises ValueError with one line if `raw` is not JSON or is nested too deep; offsets in that line
    are in characters.
    """
    try:
        return json.loads(decode(raw), parse_int=integer, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deep") from None


def kind_of(first: int) -> str:
    """Return the kind of a JSON value that begins with the byte `first`, such as "an array", or "" if no value begins with it."""
    return _KINDS.get(chr(first), "a number" if chr(first) in "-0123456789" else "") if first >= 0 else ""


def kind(value: object) -> str:
    """Return the kind of a decoded value, such as "an array", for messages."""
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
    """Return a JSON integer as an int, or `OUT_OF_RANGE`."""
    return int(digits) if len(digits) <= 20 else OUT_OF_RANGE


def refuse(constant: str) -> None:
    """Raise ValueError for NaN and the infinities, which Python accepts in JSON."""
    raise ValueError(f"{constant} is not JSON")


def text_or_none(found: object) -> str | None:
    """Return a JSON value, cleaned, if it is a string; else None."""
    return clean(found) if isinstance(found, str) else None


def strings_in(found: object) -> dict[str, str]:
    """Return the members of a JSON object that are strings, with clean keys and values, or {} if it is not an object."""
    if not isinstance(found, dict):
        return {}
    return {clean(key): clean(value) for key, value in found.items() if isinstance(value, str)}
