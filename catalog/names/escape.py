"""Escape untrusted text for printing, so that control characters in a name never reach a terminal (docs/scripts.md)."""

from __future__ import annotations

_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}

_FORMULA = frozenset("=+-@＝＋－＠")  # noqa: RUF001
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/\\")
_PIECE = 1 << 16


def escape(text: str) -> str:
    r"""Return `text` with the backslash and all unprintable characters escaped (`\\`, `\t`, `\n`, `\x1b`).

    A character is unprintable if `str.isprintable` says so: control characters, bidirectional overrides, line and
    paragraph separators, lone surrogates.
    """
    if text.isprintable() and "\\" not in text:
        return text
    if len(text) > _PIECE:  # bounds the memory: the join below holds one object per character
        return "".join([escape(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE)])
    return "".join(c if c.isprintable() and c != "\\" else _SHORT.get(c) or _code(c) for c in text)


def csv_text(text: str) -> str:
    r"""Return `text` as a CSV cell: escaped, and with `'` in front if a spreadsheet could evaluate it as a formula.

    That is the case if the text, after any spaces and `'`, begins with `=`, `+`, `-` or `@`, or the full-width form of
    one. To read such a cell back, remove one `'`. A leading tab or line end needs no `'`, because it is escaped (`\t`).
    """
    escaped = escape(text)
    if escaped[:1] in _PLAIN:
        return escaped
    return f"'{escaped}" if escaped.lstrip(" '")[:1] in _FORMULA else escaped


def shown(text: str, limit: int = 120) -> str:
    """Return `text` for use in a message: truncated to `limit` characters, then escaped."""
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    return escape(text)


def _code(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
