"""The OpenAPI document, at /api/openapi.json, of the JSON that `ocicat serve` returns."""

from __future__ import annotations

from typing import Any

from catalog._version import __version__
from catalog.cli.schemas import OBJECTS, schema_of
from catalog.serve.programs import FLAG, MOST_LIMIT, NUMBER, PARAMETERS, REQUIRED, SEVERAL, USUAL_LIMIT

_TEXTS = {
    "resolve": "The one answer for a reference, like 'ocicat resolve'.",
    "query": "The entries that match a reference or filters, like 'ocicat query'.",
    "history": "What a name pointed to, and when, like 'ocicat history'.",
    "status": "The state of the catalog and its daemon, like 'ocicat status'.",
}
_LISTS = ("query", "history")
_REFUSED = {
    "resolve": (400, 404, 409, 503),
    "query": (400, 404, 409, 503),
    "history": (400, 404, 503),
    "status": (400, 503),
}
_REASONS = {
    400: "A parameter is unknown, missing or malformed.",
    403: "A page of another site sent the request.",
    404: "Nothing matches, or a store is unknown.",
    405: "Only GET and HEAD are answered.",
    409: "The reference is ambiguous; the message has every candidate.",
    414: "The address is too long.",
    421: "The Host header names another server.",
    431: "There are too many headers.",
    503: "The catalog cannot answer now: ask again later.",
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, Any] = {f"/api/{name}": {"get": _operation(name)} for name in PARAMETERS}
    paths["/healthz"] = {
        "get": {
            "summary": "Whether the catalog can answer.",
            "responses": {"200": _text("It can."), "503": _text("It cannot."), **_every((403, 414, 421, 431))},
        }
    }
    paths["/metrics"] = {
        "get": {
            "summary": "Metrics for Prometheus.",
            "responses": {"200": _text("The metrics."), **_every((403, 414, 421, 431))},
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "ocicat serve", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": {"errors": _errors(), **{name: _plain(name) for name in PARAMETERS}}},
    }


def _operation(name: str) -> dict[str, Any]:
    item = {"$ref": f"#/components/schemas/{name}"}
    notes = {"type": "array", "items": {"type": "string"}, "description": "What the command line prints to stderr."}
    if name in _LISTS:
        schema: dict[str, Any] = {
            "type": "object",
            "required": ["items", "more", "notes"],
            "properties": {
                "items": {"type": "array", "items": item},
                "more": {"type": "boolean", "description": "Whether there are more items than this response has."},
                "notes": notes,
            },
        }
    else:
        schema = item
    return {
        "operationId": name,
        "summary": _TEXTS[name],
        "parameters": [_parameter(name, key, kind) for key, kind in PARAMETERS[name].items()],
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": schema}}},
            **_every((*_REFUSED[name], 403, 414, 421, 431)),
        },
    }


def _parameter(name: str, key: str, kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if kind == FLAG:
        schema = {"type": "boolean", "default": False}
    elif kind == NUMBER:
        schema = {"type": "integer", "minimum": 0, "maximum": MOST_LIMIT, "default": USUAL_LIMIT}
    elif kind == SEVERAL:
        schema = {"type": "array", "items": schema}
    return {"name": key, "in": "query", "required": REQUIRED.get(name) == key, "schema": schema}


def _every(statuses: tuple[int, ...]) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/errors"}
    return {
        str(status): {"description": _REASONS[status], "content": {"application/json": {"schema": schema}}}
        for status in sorted(set(statuses))
    }


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _plain(name: str) -> dict[str, Any]:
    assert name in OBJECTS
    schema = {key: value for key, value in schema_of(name).items() if key != "$schema"}
    if name == "resolve":
        schema["properties"] = {**schema["properties"], "notes": {"type": "array", "items": {"type": "string"}}}
        schema["required"] = [*schema["required"], "notes"]
    return schema


def _errors() -> dict[str, Any]:
    error = {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "detail": {}},
    }
    return {"type": "object", "required": ["errors"], "properties": {"errors": {"type": "array", "items": error}}}
