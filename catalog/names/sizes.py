"""Format sizes and counts for people."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def human(size: int, byte: str = "B") -> str:
    """Return `size` bytes in binary units, such as `1.5 GiB`.

    Below 1024, the unit is `byte`: `12 B`, or for "bytes", `1 byte` or `12 bytes`.
    """
    value, unit = float(size), -1
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    if unit < 0:
        return in_bytes(size) if byte == "bytes" else f"{size} {byte}"
    return f"{value:.1f} {_UNITS[unit]}"


def in_bytes(size: int) -> str:
    """Return a number of bytes as the details of problems show it, without a thousands separator: `1 byte`, `12345 bytes`."""
    return f"{size} byte{'' if size == 1 else 's'}"


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun, singular or plural: `1 store`, `1,234 entries`."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
