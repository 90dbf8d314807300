"""Parse manifests and indexes (image-spec manifest.md, image-index.md; Docker's schemas 1 and 2).

The release candidates of OCI 1.1 had an artifact manifest; its `blobs` are treated as layers. A document with the fields
of two kinds of manifest, or with fields that do not fit its media type, means different things to different readers
(CVE-2021-41190), so nothing in it is used.

The structure of a blob determines what it is, not the descriptor that points to it. Otherwise, a layout that lists another
image's config as a manifest could change how ocicat reads that config.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from catalog.layout import gojson
from catalog.layout.config import Config, config_in
from catalog.layout.descriptor import Descriptor, Layer, bad_digest, decode
from catalog.layout.text import loads, strings_in, text_or_none
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
"""The maximum number of descriptors that are kept from one list of a manifest or index. 4 MiB contain some 50,000."""


class Manifest(NamedTuple):
    """A manifest or index. `is_index` is true if it lists manifests. Absent parts are empty or None.

    `flaws` has one line per descriptor or list that is unusable or too long, and `odd` one per field whose value depends on the
    reader (gojson.py).
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
    """A document that one reader takes for a manifest and another for an index. The message says why, in one line."""


class _BlobSum(msgspec.Struct, gc=False):
    """A layer of Docker's schema 1."""

    digest: str = msgspec.field(name="blobSum")


class _Wire(msgspec.Struct, rename="camel", gc=False):
    """An ordinary manifest or index. Anything unusual goes through `_parse_tolerant`."""

    media_type: str = ""
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: list[Layer] | None = None
    manifests: list[Descriptor] | None = None
    blobs: list[Layer] | None = None
    fs_layers: list[_BlobSum] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class _Digest(msgspec.Struct, gc=False):
    digest: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Shape(msgspec.Struct, gc=False):
    """The fields that distinguish a manifest from the config of an image, whose field `config` is not a descriptor."""

    config: _Digest
    layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    manifests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_shape = msgspec.json.Decoder(_Shape).decode
_decode_wire = msgspec.json.Decoder(_Wire).decode


def parse_manifest(data: bytes) -> Manifest | None:
    """Return the manifest or index in `data`, or None if the JSON is neither.

    Raises ValueError if `data` is not JSON, and AmbiguousManifest.
    """
    return _manifest(data, may_be_odd=gojson.is_odd(data))


def parse_both(data: bytes) -> tuple[Manifest | None, Config | None]:
    """Return the results of `parse_manifest` and `parse_config`, but check the names of the fields only once. Raises what they raise."""
    is_odd = gojson.is_odd(data)
    return _manifest(data, may_be_odd=is_odd), config_in(data, may_be_odd=is_odd)


def _manifest(data: bytes, *, may_be_odd: bool) -> Manifest | None:
    wire = _decode_plain(data)
    odd: Sequence[str] = ()
    if may_be_odd or (wire is not None and _repeats(data, wire)):
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
"""The media types of each kind of manifest, and the fields with references to blobs that only this kind has."""


def _kind_of(media_type: str, lists: AbstractSet[str]) -> bool | None:
    """Return whether a document with the fields `lists` is an index; None if it is not a manifest at all.

    A document with only `blobs` or `fsLayers` is a manifest only if its media type says so. Raises AmbiguousManifest.
    """
    declared = next((fields for types, fields in _FIELDS if media_type in types), None)
    used = [fields for _, fields in _FIELDS if fields & lists]
    if len(used) > 1 and (declared is not None or (lists & {"manifests"} and lists & {"config", "layers"})):
        raise AmbiguousManifest(f"has the fields {', '.join(sorted(lists))}, which no kind of manifest has together")
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
    """Return whether an object may contain the same field twice; Go merges the two (gojson.py)."""
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
    """Return whether a quick check shows that `data` is not a manifest. Without this check, a config would take 50 us, not 3."""
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
    media_type = text_or_none(fields.get("mediaType")) or ""
    lists = {name for name in ("manifests", "layers", "blobs", "fsLayers") if isinstance(fields.get(name), list)}
    # The field `config` of an image's config is not a descriptor, and neither are the `layers` of some other formats.
    config = _descriptor(fields.get("config"), "config", flaws) if isinstance(fields.get("config"), dict) else None
    layers = _layers(fields.get("layers"), "layers", flaws)
    if config is not None:
        lists.add("config")
    elif not layers and fields.get("layers") and media_type not in MANIFESTS:
        lists.discard("layers")
    is_index = _kind_of(media_type, lists)
    if is_index is None:
        return None
    if not layers and "blobs" in lists:
        layers = _layers(fields.get("blobs"), "blobs", flaws)
    if not layers and "fsLayers" in lists:
        layers = _layers(_blob_sums(fields["fsLayers"]), "fsLayers", flaws)
    manifests = _descriptors(fields.get("manifests"), "manifests", flaws)
    subject = _descriptor(fields.get("subject"), "subject", flaws)
    lists_of = ("manifests", "layers", "blobs", "fsLayers")
    flaws += [f"{name}: not a list" for name in lists_of if not isinstance(fields.get(name), list | None)]
    if not isinstance(fields.get("config"), dict | None):
        flaws.append("config: not an object")
    return Manifest(
        is_index,
        media_type,
        text_or_none(fields.get("artifactType")),
        manifests,
        None if is_index else config,
        [] if is_index else layers,
        subject,
        strings_in(fields.get("annotations")),
        flaws,
        odd,
    )


def _blob_sums(found: list[object]) -> list[object]:
    """Return the layers of Docker's schema 1 as descriptors, the lowest layer first, as in all other manifests."""
    return [{"digest": each.get("blobSum")} if isinstance(each, dict) else each for each in reversed(found)]


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
    """Yield the usable descriptors in a list, each with the element from which it was read."""
    if not isinstance(found, list):
        return
    if len(found) > MAX_CHILDREN:
        flaws.append(f"{name} has {len(found)} elements, of which only the first {MAX_CHILDREN} are kept")
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
