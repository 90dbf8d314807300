"""Decode descriptors (image-spec, descriptor.md): the elements of `manifests` in an `index.json`.

`decode` first tries msgspec, which refuses anything unusual. An element that msgspec refuses goes to `decode_tolerant`,
which keeps the usable fields and lists the others. One bad entry never makes a store invalid (docs/resolution.md). Only
the digest is required.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec

from catalog.layout import gojson
from catalog.layout.text import clean, kind, kind_of, loads, shorten
from catalog.names.digest import is_digest, is_docker_digest
from catalog.names.media_types import is_foreign
from catalog.names.platform import platform_text
from catalog.names.sizes import counted

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"

MAX_SIZE = (1 << 63) - 1
"""The largest size of a blob, in bytes: an int64 in descriptor.md and in both databases."""

MAX_DIGEST = 1024
"""The longest digest that is accepted, in characters. A digest is a key in the catalog."""

FINGERPRINT = 16
"""The length of a descriptor's fingerprint, in bytes."""

_MAX_FLAWS = 10
_NUL = b"\\u0000"


class Platform(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """The `platform` of a descriptor as written there, not normalised."""

    os: str | None = None
    architecture: str | None = None
    variant: str | None = None
    os_version: str | None = msgspec.field(name="os.version", default=None)
    os_features: list[str] | None = msgspec.field(name="os.features", default=None)


# gc=False is safe: a descriptor contains text, numbers and a dict of text, so it cannot be part of a cycle.
# omit_defaults keeps fingerprints stable: a new field does not change those of descriptors without it.
# forbid_unknown_fields detects fields in another letter case (gojson.py); all unknown fields go to decode_tolerant.
class Descriptor(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", forbid_unknown_fields=True):
    """A usable descriptor. All its text is clean (`catalog.layout.text.clean`); `size` is in bytes."""

    digest: str
    media_type: str = ""
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)] | None = None
    artifact_type: str | None = None
    platform: Platform | None = None
    annotations: dict[str, str] | None = None
    data: str | None = None

    def embedded(self, limit: int) -> bytes | None:
        """Return the bytes in `data` if there are at most `limit` and they match the size and the digest, else None.

        Source: descriptor.md, "Embedded Content".
        """
        if self.data is None or len(self.data) > 4 * limit // 3 + 4:
            return None
        try:
            found = base64.b64decode(self.data, validate=True)
        except ValueError:
            return None
        algorithm, _, encoded = self.digest.partition(":")
        if len(found) > limit or self.size not in (None, len(found)) or not is_docker_digest(self.digest):
            return None
        return found if hashlib.new(algorithm, found).hexdigest() == encoded else None

    @property
    def flaws(self) -> tuple[str, ...]:
        """The parts that were not usable, one short line each; empty for a correct descriptor."""
        return ()

    @property
    def saved_names(self) -> tuple[str, ...]:
        """The names that `docker save` wrote beside the layout and that no annotation contains (docker_save.py)."""
        return ()

    @property
    def ref_name(self) -> str | None:
        """The raw annotation `org.opencontainers.image.ref.name`, or None."""
        return self.annotations.get(REF_NAME) if self.annotations else None

    @property
    def image_name(self) -> str | None:
        """The raw annotation `io.containerd.image.name`, or None."""
        return self.annotations.get(IMAGE_NAME) if self.annotations else None

    @property
    def other_annotations(self) -> dict[str, str]:
        """The annotations without the two for names, as a new dict."""
        if not self.annotations:
            return {}
        return {key: value for key, value in self.annotations.items() if key not in (REF_NAME, IMAGE_NAME)}

    @property
    def platform_text(self) -> str | None:
        """`os[(osversion[+feature…])]/arch[/variant]`, normalised as for `--platform`; None without os or architecture."""
        platform = self.platform
        if platform is None:
            return None
        return platform_text(
            platform.os, platform.architecture, platform.variant, platform.os_version, platform.os_features
        )

    def fingerprint(self) -> bytes:
        """Return a hash of FINGERPRINT bytes over all fields and flaws, stable across processes and versions.

        White space, the order of keys, escapes, and fields that the catalog does not keep make no difference. The hash is
        BLAKE2b of the canonical JSON. Two descriptors with equal fingerprints count as equal, so 128 bits are needed: a
        64-bit collision can be found in minutes, and a change between two such descriptors would go unnoticed.
        """
        return fingerprints((self,))[0]


class Layer(Descriptor, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """The descriptor of a layer."""

    urls: list[str] | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether the blob may be absent: it is nondistributable or has `urls` (image-spec, descriptor.md and layer.md)."""
        return bool(self.urls) or is_foreign(self.media_type)


class FlawedDescriptor(Descriptor, frozen=True, gc=False):
    """A descriptor without its unusable parts, made by `decode_tolerant`."""

    unusable: tuple[str, ...] = ()

    @property
    def flaws(self) -> tuple[str, ...]:
        return self.unusable


class SavedDescriptor(FlawedDescriptor, frozen=True, gc=False):
    """A descriptor with names from outside the layout, made by docker_save.py. The names are part of the fingerprint."""

    repo_tags: tuple[str, ...] = ()

    @property
    def saved_names(self) -> tuple[str, ...]:
        return self.repo_tags

    @classmethod
    def of(cls, found: Descriptor, names: Sequence[str]) -> SavedDescriptor:
        """Return `found` with these names."""
        return cls(
            found.digest,
            found.media_type,
            found.size,
            found.artifact_type,
            found.platform,
            found.annotations,
            found.data,
            found.flaws,
            tuple(names),
        )


_blake2b = hashlib.blake2b
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode_strict = msgspec.json.Decoder(Descriptor).decode


def fingerprints(descriptors: Iterable[Descriptor]) -> list[bytes]:
    """Return the `Descriptor.fingerprint` of each descriptor."""
    return [_blake2b(_encode(each), digest_size=FINGERPRINT).digest() for each in descriptors]


def decode(raw: bytes, odd: list[str] | None = None) -> Descriptor | str:
    """Decode the JSON value `raw`. Returns a descriptor, or one line that says why there is none. Never raises.

    Fields whose value depends on the reader (gojson.py) are appended to `odd`, one line each. Without `odd`, repeated fields
    are not detected.
    """
    # Reject cheap cases first, because a file may contain millions of such elements.
    if raw[:1] != b"{" and raw[:1]:
        other = kind_of(raw[0])
        return f"{other}, not an object" if other else decode_tolerant(raw, odd)
    if b"digest" not in raw and b"\\" not in raw and b"\xc5\xbf" not in raw and b"digest" not in raw.lower():
        return "no digest"
    if _NUL not in raw:
        try:
            found = _decode_strict(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return decode_tolerant(raw, odd)
        if odd is not None and (gojson.is_escaped(raw) or gojson.repeats(raw, [found], {})):
            return decode_tolerant(raw, odd)
        return bad_digest(found.digest) or found
    return decode_tolerant(raw, odd)


def decode_tolerant(raw: bytes, odd: list[str] | None = None) -> Descriptor | str:
    """Decode an element that msgspec refuses. Never raises.

    Returns a `FlawedDescriptor` if parts had to be dropped, or a `Descriptor` if only the bytes were unusual (NUL, invalid
    UTF-8, half a surrogate pair, null for an absent field). Returns one line with the reason if the element is not JSON, is
    not an object, or has no usable digest.
    """
    try:
        plain = gojson.rewrite(raw, gojson.DESCRIPTOR)
        if plain is not None:
            raw, lines = plain
            if odd is not None:
                odd += lines
        fields = loads(raw)
    except ValueError as error:
        return shorten(f"not JSON: {error}")
    if not isinstance(fields, dict):
        return f"{kind(fields)}, not an object"
    if fields.get("digest") is None:
        return "no digest"
    digest = fields["digest"]
    if not isinstance(digest, str):
        return f"digest is {kind(digest)}, not a string"
    reason = bad_digest(digest)
    if reason:
        return reason
    flaws = _Flaws()
    media_type = _text(fields, "mediaType", flaws) or ""
    size = _size(fields.get("size"), flaws)
    artifact_type = _text(fields, "artifactType", flaws)
    platform = _platform(fields.get("platform"), flaws)
    annotations = _annotations(fields.get("annotations"), flaws)
    data = _text(fields, "data", flaws)
    if not flaws.lines:
        return Descriptor(digest, media_type, size, artifact_type, platform, annotations, data)
    return FlawedDescriptor(digest, media_type, size, artifact_type, platform, annotations, data, flaws.done())


def bad_digest(digest: str) -> str:
    """Return one line that says why `digest` cannot be used, or "" if it can (descriptor.md, "Digests")."""
    if len(digest) > MAX_DIGEST:
        return f"digest of {len(digest)} characters, more than {MAX_DIGEST}"
    return "" if is_digest(digest) else f"digest {shorten(digest, 150)!r} is not valid"


def string_map(raw: bytes) -> dict[str, str]:
    """Return the string members of a JSON object, clean, or {} if `raw` is not an object. Other members are ignored."""
    try:
        fields = loads(raw)
    except ValueError:
        return {}
    return _annotations(fields, _Flaws()) or {}


class _Flaws:
    """Collects the first flaws as text and counts the rest, because a descriptor may have hundreds of thousands."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.more = 0

    def add(self, line: str) -> None:
        if len(self.lines) < _MAX_FLAWS:
            self.lines.append(line)
        else:
            self.more += 1

    def done(self) -> tuple[str, ...]:
        return (
            (*self.lines, f"{counted(self.more, 'more part is', 'more parts are')} unusable")
            if self.more
            else tuple(self.lines)
        )


def _text(fields: dict[str, Any], key: str, flaws: _Flaws, prefix: str = "") -> str | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        return clean(value)
    flaws.add(f"{prefix}{key} is {kind(value)}, not a string")
    return None


def _texts(value: object, flaws: _Flaws, name: str = "urls") -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        flaws.add(f"{name} is {kind(value)}, not an array")
        return None
    return [clean(each) for each in value if isinstance(each, str)]


def _size(value: object, flaws: _Flaws) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        flaws.add(f"size is {'not an integer' if isinstance(value, float) else kind(value)}")
        return None
    if 0 <= value <= MAX_SIZE:
        return value
    flaws.add("size is negative" if value < 0 else "size does not fit in an int64")
    return None


def _platform(value: object, flaws: _Flaws) -> Platform | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        flaws.add(f"platform is {kind(value)}, not an object")
        return None
    os, architecture, variant, version = (
        _text(value, key, flaws, "platform.") for key in ("os", "architecture", "variant", "os.version")
    )
    return Platform(os, architecture, variant, version, _texts(value.get("os.features"), flaws, "platform.os.features"))


def _annotations(value: object, flaws: _Flaws) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        flaws.add(f"annotations is {kind(value)}, not an object")
        return None
    kept: dict[str, str] = {}
    for key, text in value.items():
        if isinstance(text, str):
            kept[clean(key)] = clean(text)
        else:
            flaws.add(f"annotation {shorten(key, 100)!r} is {kind(text)}, not a string")
    return kept
