"""Settings from a TOML file (`--config`; docs/settings.md)."""

from __future__ import annotations

import tomllib
from typing import Any

from catalog.errors import UsageError
from catalog.ingest.settings import Settings
from catalog.names.escape import shown

_DAY_MS = 86_400_000
_MOST = 1 << 36  # so that a time in milliseconds, counted in days, is still an integer of the database
# section.key of the file: (where it goes, the factor to its unit, the least value)
_KEYS: dict[str, tuple[str, int, int]] = {
    "limits.index_bytes": ("index_bytes", 1, 1),
    "limits.descriptor_bytes": ("descriptor_bytes", 1, 1),
    "watch.settle_ms": ("settle_ms", 1, 0),
    "watch.patience_ms": ("patience_ms", 1, 0),
    "watch.held_ms": ("held_ms", 1, 0),
    "retention.grace_days": ("grace_ms", _DAY_MS, 0),
    "retention.history_days": ("history_ms", _DAY_MS, 0),
}


def load_settings(path: str | None) -> Settings:
    """The settings of the file at `path`, defaults where it is None or silent; raises UsageError for what is wrong."""
    settings = Settings()
    if path is None:
        return settings
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"cannot read {shown(path)}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown(path)} is no TOML: {error}") from error
    for key, value in _flat(path, tables):
        if key not in _KEYS:
            raise UsageError(f"{shown(path)}: no setting is called {shown(key)}: {', '.join(_KEYS)}")
        field, factor, least = _KEYS[key]
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= _MOST:
            raise UsageError(f"{shown(path)}: {key} is a number from {least} to {_MOST}")
        number = int(value * factor)
        if field in settings.limits._fields:
            settings = settings._replace(limits=settings.limits._replace(**{field: number}))
        else:
            settings = settings._replace(**{field: number})  # type: ignore[arg-type]  # a field of milliseconds
    return settings


def _flat(path: str, tables: dict[str, Any]) -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for section, values in tables.items():
        if not isinstance(values, dict):
            raise UsageError(f"{shown(path)}: {shown(section)} stands outside of a section")
        pairs += [(f"{section}.{key}", value) for key, value in values.items()]
    return pairs
