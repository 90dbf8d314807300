"""Format numbers of bytes, and of things, for people."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def human(size: int, byte: str = "B") -> str:
    """Return `size` bytes in binary units, such as `1.5 GiB`. Below 1024, the unit is `byte`: `12 B`."""
    value, unit = float(size), -1
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{size} {byte}" if unit < 0 else f"{value:.1f} {_UNITS[unit]}"


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number with its word: `1 store`, `1,234 entries`."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
