"""Numbers of bytes as people read them."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def human(size: int, byte: str = "B") -> str:
    """A number of bytes in binary units, such as `1.5 GiB`; below 1024 in `byte`, such as `12 B`."""
    value, unit = float(size), -1
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{size} {byte}" if unit < 0 else f"{value:.1f} {_UNITS[unit]}"
