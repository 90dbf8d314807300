"""Making untrusted text safe to print: control characters of a name never reach a terminal raw (docs/scripts.md)."""

from __future__ import annotations

_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}


def escape(text: str) -> str:
    r"""`text` with tab, newline, backslash and every other unprintable character escaped (`\t`, `\n`, `\\`, `\x1b`).

    "Unprintable" is what `str.isprintable` says, less the space: control characters, bidirectional overrides, line and
    paragraph separators, lone surrogates.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(c if c.isprintable() and c != "\\" else _SHORT.get(c) or _code(c) for c in text)


def shown(text: str, limit: int = 120) -> str:
    """`text` as a message quotes it: escaped, and cut in the middle of nothing longer than `limit` characters."""
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    return escape(text)


def _code(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
