"""Making untrusted text safe to print: control characters of a name never reach a terminal raw (docs/scripts.md)."""

from __future__ import annotations

_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}

_FORMULA = frozenset("=+-@＝＋－＠")  # noqa: RUF001
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/\\")
_PIECE = 1 << 16


def escape(text: str) -> str:
    r"""`text` with tab, newline, backslash and every other unprintable character escaped (`\t`, `\n`, `\\`, `\x1b`).

    "Unprintable" is what `str.isprintable` says, less the space: control characters, bidirectional overrides, line and
    paragraph separators, lone surrogates.
    """
    if text.isprintable() and "\\" not in text:
        return text
    if len(text) > _PIECE:  # each character that is escaped is an object of its own for a while
        return "".join([escape(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE)])
    return "".join(c if c.isprintable() and c != "\\" else _SHORT.get(c) or _code(c) for c in text)


def csv_text(text: str) -> str:
    r"""`text` as a cell of CSV: escaped, and with `'` before what a spreadsheet would take for a formula.

    That is a text that begins with `=`, `+`, `-` or `@`, or their wide forms, blanks and further `'` before them left aside:
    whoever reads it back takes one `'` away from such a text. A tab or line end is escaped, as `\\t`, and begins nothing.
    """
    escaped = escape(text)
    if escaped[:1] in _PLAIN:
        return escaped
    return f"'{escaped}" if escaped.lstrip(" '")[:1] in _FORMULA else escaped


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
