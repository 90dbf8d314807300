"""Responses of the server: complete ones, and the errors of the distribution-spec ("Error Codes")."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from catalog.errors import (
    Ambiguous,
    CatalogUnavailable,
    Incomplete,
    InvalidReference,
    NotFound,
    NotInTime,
    OcicatError,
    UnknownStore,
    UsageError,
)
from catalog.web.asgi import Message, Send

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
SAFE = ((b"x-content-type-options", b"nosniff"),)
"""The headers of every response."""
_RETRY_SECONDS = b"5"
_SOON_SECONDS = b"1"

Headers = Sequence[tuple[bytes, bytes]]


class Response(NamedTuple):
    """A complete response."""

    status: int
    content_type: bytes
    body: bytes
    headers: Headers = ()


def messages_of(answer: Response) -> tuple[Message, Message]:
    """Return the two ASGI messages of a response."""
    headers = [
        (b"content-type", answer.content_type),
        *(() if answer.status == 304 else ((b"content-length", b"%d" % len(answer.body)),)),
        *answer.headers,
        *SAFE,
    ]
    start = {"type": "http.response.start", "status": answer.status, "headers": headers}
    return start, {"type": "http.response.body", "body": answer.body}


async def give(send: Send, answer: Response) -> None:
    """Send a response."""
    for message in messages_of(answer):
        await send(message)


def json_answer(value: object, headers: Headers = (), status: int = 200, content_type: bytes = JSON) -> Response:
    """Return a response with a JSON value as its body."""
    return Response(status, content_type, json.dumps(value, separators=(",", ":"), default=bytes.hex).encode(), headers)


def refusal(status: int, code: str, message: str, headers: Headers = (), detail: object = None) -> Response:
    """Return an error in the form of the distribution-spec."""
    error: dict[str, object] = {"code": code, "message": message}
    if detail is not None:
        error["detail"] = detail
    return json_answer({"errors": [error]}, headers, status)


class Codes(NamedTuple):
    """The error codes of an endpoint: `invalid` (with the status `malformed`) if a request is malformed, `unknown` if nothing matches."""

    invalid: str
    unknown: str
    malformed: int = 400


MANIFESTS = Codes("MANIFEST_INVALID", "MANIFEST_UNKNOWN")
BLOBS = Codes("DIGEST_INVALID", "BLOB_UNKNOWN")
NAMES = Codes("NAME_INVALID", "NAME_UNKNOWN")
PROGRAMS = Codes("UNSUPPORTED", "NAME_UNKNOWN")


def of_error(error: OcicatError, codes: Codes, headers: Headers = ()) -> Response:
    """Return the response for an error of ocicat.

    Ambiguous is 409 and not 404, so that no client silently turns to another registry.
    """
    message = str(error)
    if isinstance(error, Ambiguous):
        candidates = [line.split("\t") for line in error.candidates]
        listed = "; ".join(" ".join(each) for each in candidates)
        detail: Mapping[str, object] = {
            "candidates": [dict(zip(("store", "name", "digest"), each, strict=False)) for each in candidates],
            "total": error.total,
        }
        return refusal(409, "DENIED", f"{message}: {listed}", headers, detail)
    if isinstance(error, CatalogUnavailable):
        wait = _SOON_SECONDS if isinstance(error, NotInTime) else _RETRY_SECONDS
        return refusal(503, "UNAVAILABLE", message, (*headers, (b"retry-after", wait)))
    if isinstance(error, UnknownStore):
        return refusal(404, "NAME_UNKNOWN", message, headers)
    if isinstance(error, (NotFound, Incomplete)):
        return refusal(404, codes.unknown, message, headers)
    if isinstance(error, InvalidReference):
        return refusal(codes.malformed, codes.invalid, message, headers)
    if isinstance(error, UsageError):
        return refusal(400, "UNSUPPORTED", message, headers)
    return refusal(500, "UNKNOWN", message, headers)


def retry_later(message: str) -> Response:
    """Return the response for a request that the server is too busy to answer now."""
    return refusal(503, "UNAVAILABLE", message, ((b"retry-after", _SOON_SECONDS),))
