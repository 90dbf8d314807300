"""Documents that Go's encoding/json reads in another way than a JSON parser that takes field names by their spelling.

All other readers of a layout are Go programs. Go takes the name of a struct's field in any letter case (simple Unicode
folding), and lets a field occur several times: a later scalar replaces an earlier one, structs and maps merge, an array is
decoded over the elements of the earlier one, and null leaves scalars and structs but clears pointers, maps and slices.
Keys of maps (annotations, labels) are taken as they are spelt; the last one counts.

`rewrite` turns such a document into one with each field once, in its own spelling, and says what was odd. It is linear in
the document, and several times slower than msgspec: `repeats` and msgspec's refusal of unknown fields choose what needs it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from catalog.layout.text import clean, decode, integer, refuse, shorten

_MAX_NOTES = 10

_encode = msgspec.json.Encoder().encode

_NAMES = (
    b"manifests|annotations|digest|mediaType|size|platform|artifactType|urls|data|os|os.version|os.features|architecture"
    b"|variant|config|layers|blobs|fsLayers|blobSum|subject|created|Labels|imageLayoutVersion"
).split(b"|")
_ESCAPED = re.compile(rb"\\u(?:00[4-7]|017[fF]|212[aA])")
# s and k have a third letter that folds to them: LONG S and the KELVIN SIGN.
_ANY_CASE = re.compile(
    rb'"(%s)"[ \t\n\r]*:'
    % b"|".join(
        re.escape(name).replace(b"s", b"(?:s|\xc5\xbf)").replace(b"k", b"(?:k|\xe2\x84\xaa)") for name in _NAMES
    ),
    re.IGNORECASE,
)
_SPELT = frozenset(_NAMES)


class Field(NamedTuple):
    """A field of a Go struct: what null does to it, and what its value is. Neither `fields` nor `is_map`: a scalar."""

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
    """`name` as Go compares names of fields."""
    return name.replace("\u017f", "s").lower()


def is_odd(data: bytes) -> bool:
    """Whether a field may be there in another letter case, or with an escape in its name."""
    return is_escaped(data) or any(name not in _SPELT for name in set(_ANY_CASE.findall(data)))


def is_escaped(data: bytes) -> bool:
    """Whether a letter of some name may be there as an escape."""
    return b"\\u" in data and _ESCAPED.search(data) is not None


def is_plain(data: bytes, found: object, others: int = 0) -> bool:
    """Whether `data` has each field of what was decoded from it once: then it has as many quotes as `found` encoded again.

    `others` is how many of the quotes belong to what is no part of `found`. False means that nobody knows: null, an empty
    text and escapes make a difference too. Takes half the time of decoding, and a fourth of `repeats`.
    """
    return (b"\\" not in data or b"\\u" not in data) and data.count(b'"') == _encode(found).count(b'"') + others


def repeats(data: bytes, descriptors: Sequence[Any], also: Mapping[str, int]) -> bool:
    """Whether some field may occur twice in one object: it is more often in `data` than in what was decoded from it.

    `also` has how often names occur that are no part of `descriptors`.
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
    """The document in `data` with each field once, and what was odd in it; None where nothing is, or it is no object.

    Raises ValueError for what is no JSON.
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
    """An object of JSON with its keys as they stand there, the repeated ones too."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


class _Slice:
    """A Go slice: elements behind its length stay in its array, and are decoded over when it grows again."""

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
    """What is odd in one document: the first fields in words, the others as a number."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.more = 0

    def add(self, line: str) -> None:
        if len(self.lines) < _MAX_NOTES:
            self.lines.append(shorten(line))
        else:
            self.more += 1

    def done(self) -> list[str]:
        return [*self.lines, f"{self.more} more fields are odd"] if self.more else self.lines

    def struct(self, found: _Pairs, fields: Mapping[str, Field], into: dict[str, Any], place: str) -> None:
        """Decode an object over what the struct `into` already holds."""
        folded = _folded(fields)
        seen: set[str] = set()
        for key, value in found.pairs:
            name = folded.get(fold(key))
            if name is None:
                into[key] = value
                continue
            if name != key:
                self.add(f"{place}{clean(key)} stands for {name}")
            elif name in seen:
                self.add(f"{place}{name} is there more than once")
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
    found = _FOLDED.get(id(fields))  # all of them are constants of this module
    if found is None:
        found = _FOLDED[id(fields)] = {fold(name): name for name in fields}
    return found


def _number(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else 0.5  # as little an integer, and JSON has no infinity
