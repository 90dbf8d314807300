"""Read documents as Go's encoding/json does, which matches field names differently from other JSON parsers.

The readers that ocicat must agree with (containerd, BuildKit, skopeo and others) are Go programs. Go accepts the name of a struct field in any letter case (simple Unicode
folding), and accepts repeated fields: a later scalar replaces an earlier one, structs and maps merge, an array is decoded
over the elements of the earlier one, and null leaves scalars and structs unchanged but clears pointers, maps and slices.
Keys of maps (annotations, labels) are case-sensitive, and the last of equal keys counts.

`rewrite` turns such a document into one that has each field once, in its proper spelling, and reports what was odd. It is
linear in the size of the document, but several times slower than msgspec. `repeats`, and msgspec's refusal of unknown
fields, select the documents that need it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from catalog.layout.text import clean, decode, integer, refuse, shorten
from catalog.names.sizes import counted

_MAX_NOTES = 10

_encode = msgspec.json.Encoder().encode

_NAMES = (
    b"manifests|annotations|digest|mediaType|size|platform|artifactType|urls|data|os|os.version|os.features|architecture"
    b"|variant|config|layers|blobs|fsLayers|blobSum|subject|created|Labels|imageLayoutVersion"
).split(b"|")
_ESCAPED = re.compile(rb"\\u(?:00[4-7]|017[fF]|212[aA])")
# Matches every key that may fold to one of the names. Besides the capital letters, LONG S folds to s and the KELVIN SIGN to k. One class
# of bytes takes half the time of an alternation of the names.
_LIKE_A_NAME = re.compile(rb'"([A-Za-z.\xc5\xbf\xe2\x84\xaa]{2,%d})"[ \t\n\r]*+:' % (3 * max(map(len, _NAMES))))
_SPELT = frozenset(_NAMES)


class Field(NamedTuple):
    """A field of a Go struct: the type of its value, and whether null clears it.

    A field with neither `fields` nor `is_map` is a scalar, or a list of scalars.
    """

    fields: Mapping[str, Field] | None = None
    is_list: bool = False
    is_map: bool = False
    clears: bool = False


_SCALAR = Field()
_CLEARED = Field(clears=True)
_MAP = Field(is_map=True, clears=True)
_PLATFORM = dict.fromkeys(("os", "architecture", "variant", "os.version"), _SCALAR) | {"os.features": _CLEARED}
DESCRIPTOR: Mapping[str, Field] = {
    "digest": _SCALAR,
    "mediaType": _SCALAR,
    "size": _SCALAR,
    "artifactType": _SCALAR,
    "platform": Field(_PLATFORM, clears=True),
    "annotations": _MAP,
    "urls": _CLEARED,
    "data": _CLEARED,
}
_DESCRIPTORS = Field(DESCRIPTOR, is_list=True, clears=True)
INDEX: Mapping[str, Field] = {"manifests": _DESCRIPTORS, "annotations": _MAP}
MANIFEST: Mapping[str, Field] = {
    "mediaType": _SCALAR,
    "artifactType": _SCALAR,
    "config": Field(DESCRIPTOR),
    "layers": _DESCRIPTORS,
    "manifests": _DESCRIPTORS,
    "blobs": _DESCRIPTORS,
    "fsLayers": Field({"blobSum": _SCALAR}, is_list=True, clears=True),
    "subject": Field(DESCRIPTOR, clears=True),
    "annotations": _MAP,
}
CONFIG: Mapping[str, Field] = {
    **_PLATFORM,
    "created": _CLEARED,
    "config": Field({"Labels": _MAP}),
}
MARKER: Mapping[str, Field] = {"imageLayoutVersion": _SCALAR}


def fold(name: str) -> str:
    """Return `name` folded, as Go folds names of fields to compare them."""
    return name.replace("\u017f", "s").lower()


_FOLDED_NAMES = frozenset(fold(name.decode()) for name in _NAMES)


def is_odd(data: bytes) -> bool:
    """Return whether the name of a field may be written in another letter case or with an escape."""
    return is_escaped(data) or any(
        fold(name.decode("utf-8", "replace")) in _FOLDED_NAMES for name in set(_LIKE_A_NAME.findall(data)) - _SPELT
    )


def is_escaped(data: bytes) -> bool:
    """Return whether a letter in some name may be written as an escape."""
    return b"\\u" in data and _ESCAPED.search(data) is not None


def is_plain(data: bytes, found: object, others: int = 0) -> bool:
    """Return True if `data` certainly has each field only once, because it has as many quotes as `found` when encoded again.

    `found` was decoded from `data`; `others` is the number of quotes in parts of `data` that are not in `found`. False means
    unknown, because null, empty strings and escapes also make a difference. This takes half the time of decoding, and a
    quarter of the time of `repeats`.
    """
    return (b"\\" not in data or b"\\u" not in data) and data.count(b'"') == _encode(found).count(b'"') + others


def repeats(data: bytes, descriptors: Sequence[Any], also: Mapping[str, int]) -> bool:
    """Return whether some field may occur twice in one object: its name is in `data` more often than in the decoded objects.

    `also` is the number of times that each name occurs in parts of `data` that are not in `descriptors`.
    """
    platforms = [one.platform for one in descriptors if one.platform is not None]
    for name, attribute in _ATTRIBUTES:
        count = data.count(b'"%b"' % name.encode())
        if count and count > _present(attribute, descriptors) + also.get(name, 0):
            return True
    if platforms or data.count(b'"os"'):
        for name, attribute in _PLATFORM_ATTRIBUTES:
            count = data.count(b'"%b"' % name.encode())
            if count and count > _present(attribute, platforms) + also.get(name, 0):
                return True
    return any(data.count(b'"%b"' % name.encode()) > count for name, count in also.items() if name not in _COUNTED)


_ATTRIBUTES = (
    ("digest", "digest"),
    ("mediaType", "media_type"),
    ("size", "size"),
    ("platform", "platform"),
    ("annotations", "annotations"),
    ("artifactType", "artifact_type"),
    ("urls", "urls"),
    ("data", "data"),
)
_PLATFORM_ATTRIBUTES = (
    ("os", "os"),
    ("architecture", "architecture"),
    ("variant", "variant"),
    ("os.version", "os_version"),
    ("os.features", "os_features"),
)
_COUNTED = frozenset(name for name, _ in (*_ATTRIBUTES, *_PLATFORM_ATTRIBUTES))


def _present(attribute: str, found: Iterable[object]) -> int:
    return sum(1 for one in found if getattr(one, attribute, None) not in (None, ""))


def rewrite(data: bytes, fields: Mapping[str, Field]) -> tuple[bytes, list[str]] | None:
    """Return the document in `data` with each field once, and lines that say which fields were odd.

    Returns None if no field is odd or `data` is not an object. Raises ValueError if `data` is not JSON.
    """
    try:
        found = json.loads(
            decode(data), object_pairs_hook=_Pairs, parse_int=integer, parse_float=_number, parse_constant=refuse
        )
        if not isinstance(found, _Pairs):
            return None
        odd = _Odd()
        into: dict[str, Any] = {}
        odd.struct(found, fields, into, "")
        if not odd.lines:
            return None
        return json.dumps(into, default=_plain).encode(), odd.done()
    except RecursionError:
        raise ValueError("nested too deep") from None


class _Pairs:
    """A JSON object with its keys as written, including repeated ones."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


class _Slice:
    """A Go slice. Elements beyond its length stay in its array, and Go decodes over them when the slice grows again."""

    __slots__ = ("items", "length")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.length = 0


def _plain(value: object) -> object:
    if isinstance(value, _Pairs):
        return dict(value.pairs)
    assert isinstance(value, _Slice)
    return value.items[: value.length]


class _Odd:
    """Collects descriptions of the first odd fields of one document, and counts the rest."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.more = 0

    def add(self, line: str) -> None:
        if len(self.lines) < _MAX_NOTES:
            self.lines.append(shorten(line))
        else:
            self.more += 1

    def done(self) -> list[str]:
        return (
            [*self.lines, f"{counted(self.more, 'more field is', 'more fields are')} odd"] if self.more else self.lines
        )

    def struct(self, found: _Pairs, fields: Mapping[str, Field], into: dict[str, Any], place: str) -> None:
        """Decode an object over the values that the struct `into` already has."""
        folded = _folded(fields)
        seen: set[str] = set()
        for key, value in found.pairs:
            name = folded.get(fold(key))
            if name is None:
                into[key] = value
                continue
            if name != key:
                self.add(f"{place}{clean(key)} is read as {name}")
            elif name in seen:
                self.add(f"{place}{name} occurs more than once")
            seen.add(name)
            self._field(fields[name], name, value, into, f"{place}{name}")

    def _field(self, field: Field, name: str, value: Any, into: dict[str, Any], place: str) -> None:
        before = into.get(name)
        if value is None:
            if field.clears:
                into[name] = None
        elif field.is_list and isinstance(value, list):
            assert field.fields is not None
            if not value or not isinstance(before, _Slice):
                into[name] = before = _Slice()
            self._elements(field.fields, value, before, place)
        elif field.fields is not None and not field.is_list and isinstance(value, _Pairs):
            held = before if isinstance(before, dict) else {}
            into[name] = held
            self.struct(value, field.fields, held, f"{place}.")
        elif field.is_map and isinstance(value, _Pairs):
            into[name] = held = before if isinstance(before, dict) else {}
            held.update(value.pairs)
        else:
            into[name] = value

    def _elements(self, fields: Mapping[str, Field], values: list[Any], into: _Slice, place: str) -> None:
        for number, value in enumerate(values):
            if number == len(into.items):
                into.items.append(None)
            if isinstance(value, _Pairs):
                held = into.items[number]
                if not isinstance(held, dict):
                    into.items[number] = held = {}
                self.struct(value, fields, held, f"{place}[{number}].")
            elif value is not None:
                into.items[number] = value
        into.length = len(values)


_FOLDED: dict[int, dict[str, str]] = {}


def _folded(fields: Mapping[str, Field]) -> dict[str, str]:
    found = _FOLDED.get(id(fields))  # by id, because all of them are constants of this module
    if found is None:
        found = _FOLDED[id(fields)] = {fold(name): name for name in fields}
    return found


def _number(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else 0.5  # JSON has no infinity, so return some number that is not an integer
