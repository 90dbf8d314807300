"""Conditional requests and ranges (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

from typing import NamedTuple

from catalog.web.asgi import Scope, values

_MOST_DIGITS = 19


class Part(NamedTuple):
    """A part of a representation: the first byte, and the number of bytes."""

    begin: int
    length: int


class Unsatisfiable(Exception):
    """No byte of the representation is in the requested range."""


def etag_of(digest: str) -> bytes:
    """Return the strong entity tag of the content with a digest."""
    return f'"{digest}"'.encode()


def is_held(scope: Scope, etag: bytes) -> bool:
    """Return whether the client already has the representation (If-None-Match)."""
    asked = values(scope, b"if-none-match")
    tags = [each.strip().removeprefix(b"W/") for value in asked for each in value.split(b",")]
    return etag in tags or b"*" in tags


def part_of(scope: Scope, size: int, etag: bytes) -> Part | None:
    """Return the part that a GET asks for, or None for the whole representation.

    Several ranges, other units and malformed ranges are ignored, as RFC 9110 allows, and so is a range whose If-Range is not
    this representation. Raises Unsatisfiable.
    """
    asked = values(scope, b"range")
    if scope["method"] != "GET" or len(asked) != 1:
        return None
    condition = values(scope, b"if-range")
    if condition and condition != [etag]:
        return None
    unit, equals, text = asked[0].strip().partition(b"=")
    first, dash, last = (each.strip() for each in text.strip().partition(b"-"))
    if unit.strip().lower() != b"bytes" or not equals or not dash or not (first or last):
        return None
    if not (_is_number(first) and _is_number(last)):
        return None
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise Unsatisfiable
        return Part(size - length, length)
    begin = int(first)
    end = int(last) if last else size - 1
    if last and end < begin:
        return None
    if begin >= size:
        raise Unsatisfiable
    return Part(begin, min(end, size - 1) - begin + 1)


def _is_number(text: bytes) -> bool:
    return not text or (text.isdigit() and len(text) <= _MOST_DIGITS)
