"""Parse the configs of images (image-spec config.md).

Only the platform, the date and the labels are read, because Env, Cmd and history may contain secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from catalog.layout import gojson
from catalog.layout.text import clean, loads, strings_in, text_or_none


class Config(NamedTuple):
    """The parts of a config that are used: the platform, not normalised; `created`, as written; and the labels.

    `odd` has one line per field whose value depends on the reader (gojson.py).
    """

    os: str
    architecture: str
    variant: str
    created: str | None
    labels: dict[str, str]
    os_version: str
    os_features: Sequence[str]
    odd: Sequence[str]


class _Inner(msgspec.Struct, gc=False):
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)


class _Wire(msgspec.Struct, gc=False):
    """An ordinary config. Its other fields are not decoded at all."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    created: str | None = None
    config: _Inner | None = None
    os_version: str = msgspec.field(name="os.version", default="")
    os_features: list[str] | None = msgspec.field(name="os.features", default=None)


_decode_wire = msgspec.json.Decoder(_Wire).decode
_ONCE = (b'"os"', b'"architecture"', b'"variant"', b'"config"', b'"Labels"')


def parse_config(data: bytes) -> Config | None:
    """Return the config in `data`, or None if it is not an image config. Raises ValueError if `data` is not JSON."""
    return config_in(data, may_be_odd=gojson.is_odd(data))


def config_in(data: bytes, *, may_be_odd: bool) -> Config | None:
    """Do what `parse_config` does. `may_be_odd` is the result of `gojson.is_odd(data)`, which the caller may know already."""
    odd: Sequence[str] = ()
    wire = _decode_plain(data)
    if not may_be_odd and wire is not None and not (wire.os and wire.architecture):
        return None  # even if a field occurs twice, because the last value of a string counts
    if may_be_odd or any(data.count(name) > 1 for name in _ONCE):
        plain = gojson.rewrite(data, gojson.CONFIG)
        if plain is not None:
            data, odd = plain
            wire = _decode_plain(data)
    if wire is not None:
        if not wire.os or not wire.architecture:
            return None
        labels = (wire.config and wire.config.labels) or {}
        features = wire.os_features or ()
        return Config(wire.os, wire.architecture, wire.variant, wire.created, labels, wire.os_version, features, odd)
    fields = loads(data)
    if not isinstance(fields, dict):
        return None
    os, architecture = text_or_none(fields.get("os")), text_or_none(fields.get("architecture"))
    if not os or not architecture:
        return None
    inner = fields.get("config")
    labels = strings_in(inner.get("Labels")) if isinstance(inner, dict) else {}
    found = fields.get("os.features")
    return Config(
        os,
        architecture,
        text_or_none(fields.get("variant")) or "",
        text_or_none(fields.get("created")),
        labels,
        text_or_none(fields.get("os.version")) or "",
        [clean(each) for each in found if isinstance(each, str)] if isinstance(found, list) else (),
        odd,
    )


def _decode_plain(data: bytes) -> _Wire | None:
    if b"\\u0000" in data:
        return None
    try:
        return _decode_wire(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
