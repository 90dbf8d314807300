"""What a manifest, an index or a config says (image-spec manifest.md, image-index.md, config.md; Docker's schema 2).

Narrow on purpose. Of a config only its platform, its date and its labels are looked at: Env, Cmd and history hold secrets
(schema.md section 1). What a blob is, its own structure says, not what some descriptor claims for it: were a config only
read as one where a manifest calls it that, a stranger's layout that lists it as a manifest would take it from its owner.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from catalog.layout.descriptor import Descriptor, bad_digest, decode
from catalog.layout.text import clean, loads

MAX_CHILDREN = 100_000
"""Descriptors of one manifest or index that are kept; 4 MiB hold some 50,000."""


class Manifest(NamedTuple):
    """A manifest or index. `is_index` where it lists manifests; absent parts are empty or None."""

    is_index: bool
    media_type: str
    artifact_type: str | None
    manifests: Sequence[Descriptor]
    config: Descriptor | None
    layers: Sequence[Descriptor]
    subject: Descriptor | None
    annotations: dict[str, str]
    flaws: Sequence[str]


class Config(NamedTuple):
    """What a config says: platform parts as they stand there, `created` in RFC 3339, labels."""

    os: str
    architecture: str
    variant: str
    created: str | None
    labels: dict[str, str]


class _Wire(msgspec.Struct, rename="camel", gc=False):
    """A manifest or index as it should be; anything odd goes the long way."""

    media_type: str = ""
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class _WireInner(msgspec.Struct, gc=False):
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)


class _WireConfig(msgspec.Struct, gc=False):
    """A config as it should be: what stands in it beside these fields is not even made an object."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    created: str | None = None
    config: _WireInner | None = None


class _Digest(msgspec.Struct, gc=False):
    digest: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Shape(msgspec.Struct, gc=False):
    """What tells a manifest from an image's config: that one's `config` is no descriptor."""

    config: _Digest
    layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    manifests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_shape = msgspec.json.Decoder(_Shape).decode
_decode_wire = msgspec.json.Decoder(_Wire).decode
_decode_config = msgspec.json.Decoder(_WireConfig).decode


def parse_manifest(data: bytes) -> Manifest | None:
    """The manifest or index in `data`; None for JSON that is neither. Raises ValueError for what is no JSON."""
    wire = _decode_plain(data)
    if wire is None:
        if _is_of_a_config(data):
            return None
        try:
            return _parse_tolerant(data)
        except RecursionError:
            raise ValueError("nested too deep") from None
    is_index = wire.manifests is not None
    if not is_index and wire.layers is None and wire.config is None:
        return None
    children, layers = wire.manifests or [], wire.layers or []
    return Manifest(
        is_index,
        wire.media_type,
        wire.artifact_type,
        children,
        None if is_index else wire.config,
        [] if is_index else layers,
        wire.subject,
        wire.annotations or {},
        [],
    )


def _decode_plain(data: bytes) -> _Wire | None:
    if b"\\u0000" in data:
        return None
    try:
        wire = _decode_wire(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    several = (*(wire.manifests or ()), *(wire.layers or ()))
    single = [one for one in (wire.config, wire.subject) if one is not None]
    if len(several) > MAX_CHILDREN or any(bad_digest(one.digest) for one in (*several, *single)):
        return None
    return wire


def _is_of_a_config(data: bytes) -> bool:
    """Whether a glance tells that `data` is no manifest: each config would go the long way, 50 us instead of 3."""
    if b"\\u0000" in data:
        return False
    try:
        shape = _decode_shape(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return all(found is msgspec.UNSET for found in (shape.config.digest, shape.layers, shape.manifests))


def _parse_tolerant(data: bytes) -> Manifest | None:
    fields = loads(data)
    if not isinstance(fields, dict):
        return None
    flaws: list[str] = []
    manifests, layers = fields.get("manifests"), fields.get("layers")
    is_index = isinstance(manifests, list)
    config = None if is_index else _descriptor(fields.get("config"), "config", flaws)
    if not is_index and not isinstance(layers, list) and config is None:
        return None
    return Manifest(
        is_index,
        _text(fields.get("mediaType")) or "",
        _text(fields.get("artifactType")),
        _descriptors(manifests, "manifests", flaws),
        config,
        [] if is_index else _descriptors(layers, "layers", flaws),
        _descriptor(fields.get("subject"), "subject", flaws),
        _strings(fields.get("annotations")),
        flaws,
    )


def parse_config(data: bytes) -> Config | None:
    """What the config in `data` says, None where it is no image config. Raises ValueError for what is no JSON."""
    if b"\\u0000" not in data:
        try:
            wire = _decode_config(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        else:
            if not wire.os or not wire.architecture:
                return None
            labels = (wire.config and wire.config.labels) or {}
            return Config(wire.os, wire.architecture, wire.variant, wire.created, labels)
    fields = loads(data)
    if not isinstance(fields, dict):
        return None
    os, architecture = _text(fields.get("os")), _text(fields.get("architecture"))
    if not os or not architecture:
        return None
    inner = fields.get("config")
    labels = _strings(inner.get("Labels")) if isinstance(inner, dict) else {}
    return Config(os, architecture, _text(fields.get("variant")) or "", _text(fields.get("created")), labels)


def _descriptors(found: object, name: str, flaws: list[str]) -> list[Descriptor]:
    if not isinstance(found, list):
        return []
    if len(found) > MAX_CHILDREN:
        flaws.append(f"{name} has {len(found)} elements, only the first {MAX_CHILDREN} are kept")
    kept: list[Descriptor] = []
    for number, element in enumerate(found[:MAX_CHILDREN]):
        descriptor = _descriptor(element, f"{name}[{number}]", flaws)
        if descriptor is not None:
            kept.append(descriptor)
    return kept


def _descriptor(found: object, name: str, flaws: list[str]) -> Descriptor | None:
    if found is None:
        return None
    descriptor = decode(json.dumps(found).encode())
    if isinstance(descriptor, str):
        flaws.append(f"{name}: {descriptor}")
        return None
    return descriptor


def _text(found: object) -> str | None:
    return clean(found) if isinstance(found, str) else None


def _strings(found: object) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    return {clean(key): clean(value) for key, value in found.items() if isinstance(value, str)}
