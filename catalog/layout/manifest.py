"""What a manifest, an index or a config says (image-spec manifest.md, image-index.md, config.md; Docker's schema 1 and 2).

OCI 1.1's release candidates had an artifact manifest, whose `blobs` are taken as layers. A document that has the fields of
two kinds, or of another kind than its media type, means different things to different readers (CVE-2021-41190): nothing of
it is believed.

Narrow on purpose. Of a config only its platform, its date and its labels are looked at: Env, Cmd and history hold secrets.
What a blob is, its own structure says, not what some descriptor claims for it: were a config only
read as one where a manifest calls it that, a stranger's layout that lists it as a manifest would take it from its owner.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from catalog.layout import gojson
from catalog.layout.descriptor import Descriptor, Layer, bad_digest, decode
from catalog.layout.text import clean, loads
from catalog.names.media_types import (
    DOCKER_MANIFEST,
    DOCKER_SCHEMA_1,
    DOCKER_SIGNED,
    INDEXES,
    MANIFESTS,
    OCI_ARTIFACT,
    OCI_MANIFEST,
)

MAX_CHILDREN = 100_000
"""Descriptors of one manifest or index that are kept; 4 MiB hold some 50,000."""


class Manifest(NamedTuple):
    """A manifest or index. `is_index` where it lists manifests; absent parts are empty or None.

    `flaws` says which of its descriptors could not be used, `odd` which fields only a Go program reads like this (gojson.py).
    """

    is_index: bool
    media_type: str
    artifact_type: str | None
    manifests: Sequence[Descriptor]
    config: Descriptor | None
    layers: Sequence[Layer]
    subject: Descriptor | None
    annotations: dict[str, str]
    flaws: Sequence[str]
    odd: Sequence[str] = ()


class AmbiguousManifest(Exception):
    """A document that is a manifest to one reader and an index to another; the message says why, in one line."""


class Config(NamedTuple):
    """What a config says: platform parts as they stand there, `created` in RFC 3339, labels."""

    os: str
    architecture: str
    variant: str
    created: str | None
    labels: dict[str, str]
    os_version: str = ""
    os_features: Sequence[str] = ()
    odd: Sequence[str] = ()


class _BlobSum(msgspec.Struct, gc=False):
    """A layer of Docker's schema 1."""

    digest: str = msgspec.field(name="blobSum")


class _Wire(msgspec.Struct, rename="camel", gc=False):
    """A manifest or index as it should be; anything odd goes the long way."""

    media_type: str = ""
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: list[Layer] | None = None
    manifests: list[Descriptor] | None = None
    blobs: list[Layer] | None = None
    fs_layers: list[_BlobSum] | None = None
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
    os_version: str = msgspec.field(name="os.version", default="")
    os_features: list[str] | None = msgspec.field(name="os.features", default=None)


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
    """The manifest or index in `data`; None for JSON that is neither.

    Raises ValueError for what is no JSON, and AmbiguousManifest.
    """
    wire = _decode_plain(data)
    odd: Sequence[str] = ()
    if gojson.is_odd(data) or (wire is not None and _repeats(data, wire)):
        plain = gojson.rewrite(data, gojson.MANIFEST)
        if plain is not None:
            data, odd = plain
            wire = _decode_plain(data)
    if wire is None:
        if _is_of_a_config(data):
            return None
        try:
            return _parse_tolerant(data, odd)
        except RecursionError:
            raise ValueError("nested too deep") from None
    lists = {
        name
        for name, found in (
            ("manifests", wire.manifests),
            ("config", wire.config),
            ("layers", wire.layers),
            ("blobs", wire.blobs),
            ("fsLayers", wire.fs_layers),
        )
        if found is not None
    }
    is_index = _kind_of(wire.media_type, lists)
    if is_index is None:
        return None
    children = wire.manifests or []
    layers = wire.layers or wire.blobs or [Layer(one.digest) for one in reversed(wire.fs_layers or ())]
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
        odd,
    )


_FIELDS: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    (INDEXES, frozenset({"manifests"})),
    (frozenset({OCI_MANIFEST, DOCKER_MANIFEST}), frozenset({"config", "layers"})),
    (frozenset({OCI_ARTIFACT}), frozenset({"blobs"})),
    (frozenset({DOCKER_SCHEMA_1, DOCKER_SIGNED}), frozenset({"fsLayers"})),
)
"""The media types of each kind of manifest, and the fields that point to other blobs in that kind alone."""


def _kind_of(media_type: str, lists: AbstractSet[str]) -> bool | None:
    """Whether a document with these fields is an index; None if it is no manifest. Raises AmbiguousManifest.

    `blobs` and `fsLayers` alone make no manifest of a document that does not say by its media type that it is one.
    """
    declared = next((fields for types, fields in _FIELDS if media_type in types), None)
    used = [fields for _, fields in _FIELDS if fields & lists]
    if len(used) > 1 and (declared is not None or (lists & {"manifests"} and lists & {"config", "layers"})):
        raise AmbiguousManifest(f"has the fields {', '.join(sorted(lists))}, which no one kind of manifest has")
    if declared is not None:
        if used and used[0] is not declared:
            raise AmbiguousManifest(f"has the media type {media_type} and the field {min(lists)}")
        return "manifests" in declared
    if "manifests" in lists:
        return True
    return False if lists & {"config", "layers"} else None


def _decode_plain(data: bytes) -> _Wire | None:
    if b"\\u0000" in data:
        return None
    try:
        wire = _decode_wire(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    several = (*(wire.manifests or ()), *(wire.layers or ()), *(wire.blobs or ()), *(wire.fs_layers or ()))
    single = [one for one in (wire.config, wire.subject) if one is not None]
    if len(several) > MAX_CHILDREN or any(bad_digest(one.digest) for one in (*several, *single)):
        return None
    return wire


def _repeats(data: bytes, wire: _Wire) -> bool:
    """Whether a field may be there twice in one object, so that Go merges what is in it (gojson.py)."""
    single = [one for one in (wire.config, wire.subject) if one is not None]
    found = [*(wire.manifests or ()), *(wire.layers or ()), *(wire.blobs or ()), *single]
    also = {
        "mediaType": int(bool(wire.media_type)),
        "artifactType": int(bool(wire.artifact_type)),
        "annotations": int(wire.annotations is not None),
    }
    also |= dict.fromkeys(("config", "layers", "manifests", "blobs", "fsLayers", "subject"), 1)
    return gojson.repeats(data, found, also)


def _is_of_a_config(data: bytes) -> bool:
    """Whether a glance tells that `data` is no manifest: each config would go the long way, 50 us instead of 3."""
    if b"\\u0000" in data:
        return False
    try:
        shape = _decode_shape(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return all(found is msgspec.UNSET for found in (shape.config.digest, shape.layers, shape.manifests))


def _parse_tolerant(data: bytes, odd: Sequence[str]) -> Manifest | None:
    fields = loads(data)
    if not isinstance(fields, dict):
        return None
    flaws: list[str] = []
    media_type = _text(fields.get("mediaType")) or ""
    lists = {name for name in ("manifests", "layers", "blobs", "fsLayers") if isinstance(fields.get(name), list)}
    # The `config` of an image's config is no descriptor, and neither are the layers of some other formats.
    config = _descriptor(fields.get("config"), "config", flaws) if isinstance(fields.get("config"), dict) else None
    layers = _layers(fields.get("layers"), "layers", flaws)
    if config is not None:
        lists.add("config")
    elif not layers and fields.get("layers") and media_type not in MANIFESTS:
        lists.discard("layers")
    is_index = _kind_of(media_type, lists)
    if is_index is None:
        return None
    if "blobs" in lists:
        layers = _layers(fields.get("blobs"), "blobs", flaws)
    elif "fsLayers" in lists:
        layers = _layers(_blob_sums(fields["fsLayers"]), "fsLayers", flaws)
    manifests = _descriptors(fields.get("manifests"), "manifests", flaws)
    subject = _descriptor(fields.get("subject"), "subject", flaws)
    return Manifest(
        is_index,
        media_type,
        _text(fields.get("artifactType")),
        manifests,
        None if is_index else config,
        [] if is_index else layers,
        subject,
        _strings(fields.get("annotations")),
        flaws,
        odd,
    )


def _blob_sums(found: list[object]) -> list[object]:
    """The layers of Docker's schema 1 as descriptors, the lowest one first as in every other kind."""
    return [{"digest": each.get("blobSum")} if isinstance(each, dict) else each for each in reversed(found)]


def parse_config(data: bytes) -> Config | None:
    """What the config in `data` says, None where it is no image config. Raises ValueError for what is no JSON."""
    odd: Sequence[str] = ()
    if gojson.is_odd(data) or any(data.count(name) > 1 for name in _ONCE):
        plain = gojson.rewrite(data, gojson.CONFIG)
        if plain is not None:
            data, odd = plain
    if b"\\u0000" not in data:
        try:
            wire = _decode_config(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        else:
            if not wire.os or not wire.architecture:
                return None
            labels = (wire.config and wire.config.labels) or {}
            features = wire.os_features or ()
            return Config(
                wire.os, wire.architecture, wire.variant, wire.created, labels, wire.os_version, features, odd
            )
    fields = loads(data)
    if not isinstance(fields, dict):
        return None
    os, architecture = _text(fields.get("os")), _text(fields.get("architecture"))
    if not os or not architecture:
        return None
    inner = fields.get("config")
    labels = _strings(inner.get("Labels")) if isinstance(inner, dict) else {}
    found = fields.get("os.features")
    return Config(
        os,
        architecture,
        _text(fields.get("variant")) or "",
        _text(fields.get("created")),
        labels,
        _text(fields.get("os.version")) or "",
        [clean(each) for each in found if isinstance(each, str)] if isinstance(found, list) else (),
        odd,
    )


_ONCE = (b'"os"', b'"architecture"', b'"variant"', b'"config"', b'"Labels"')


def _descriptors(found: object, name: str, flaws: list[str]) -> list[Descriptor]:
    return [descriptor for descriptor, _ in _usable(found, name, flaws)]


def _layers(found: object, name: str, flaws: list[str]) -> list[Layer]:
    return [
        Layer(
            one.digest,
            one.media_type,
            one.size,
            one.artifact_type,
            one.platform,
            one.annotations,
            one.data,
            _urls(element),
        )
        for one, element in _usable(found, name, flaws)
    ]


def _usable(found: object, name: str, flaws: list[str]) -> Iterator[tuple[Descriptor, object]]:
    """The descriptors in a list that can be used, each with the element that it was read from."""
    if not isinstance(found, list):
        return
    if len(found) > MAX_CHILDREN:
        flaws.append(f"{name} has {len(found)} elements, only the first {MAX_CHILDREN} are kept")
    for number, element in enumerate(found[:MAX_CHILDREN]):
        descriptor = _descriptor(element, f"{name}[{number}]", flaws)
        if descriptor is not None:
            yield descriptor, element


def _urls(element: object) -> list[str]:
    found = element.get("urls") if isinstance(element, dict) else None
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


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
