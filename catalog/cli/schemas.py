"""JSON Schemas of the objects that commands print with `--json`, for `ocicat schema` and docs/schemas.

A type is written in a short form: `string`, `integer`, `number`, `boolean`, `time`, `digest`, `strings` (an array), `texts` (an
object of strings), `any`, or a dictionary for an object. `?` after it says that the value may also be null. tests/cli/test_schemas.py
checks the output of every command against its schema.
"""

from __future__ import annotations

from typing import Any

from catalog.reports.reports import REPORTS

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_ENTRY = {
    "store": "string",
    "path": "string",
    "name": "string?",
    "names": "strings?",
    "repository": "string?",
    "tag": "string?",
    "ref_name": "string?",
    "image_name": "string?",
    "digest": "digest",
    "media_type": "string?",
    "size": "integer?",
    "artifact_type": "string?",
    "platforms": "strings?",
    "annotations": "texts?",
    "listed": "boolean?",
    "shadowed": "boolean?",
    "fallback": "boolean?",
    "indexed_at": "time?",
    "total_size": "integer?",
    "created": "time?",
    "labels": "texts?",
}

_SECTIONS: dict[str, dict[str, object]] = {
    "names": {
        "store": "string", "name": "string?", "tag": "string?", "shadowed": "boolean", "ref_name": "string?",
        "image_name": "string?",
    },
    "stores": {
        "store": "string", "path": "string", "size": "integer", "is_good": "boolean?", "verified_at": "time?",
    },
    "indexes": {"store": "string", "name": "string?", "tag": "string?", "digest": "digest"},
    "platforms": {
        "platform": "string?", "digest": "digest", "size": "integer?", "media_type": "string?", "store": "string?",
    },
    "layers": {
        "digest": "digest", "size": "integer?", "media_type": "string?", "manifest": "digest", "shared": "integer",
        "shared_with": "objects",
    },
    "labels": {"key": "string", "value": "string", "manifest": "digest"},
    "annotations": {"key": "string", "value": "string", "store": "string?"},
    "bases": {"name": "string?", "digest": "digest", "layers": "integer", "manifest": "digest"},
    "derived": {"name": "string?", "digest": "digest", "layers": "integer", "manifest": "digest"},
    "referrers": {"store": "string?", "how": "string", "artifact_type": "string?", "digest": "digest"},
    "history": {"store": "string", "name": "string?", "tag": "string?", "since": "time", "until": "time?"},
    "problems": {"store": "string", "kind": "string", "subject": "string", "detail": "string"},
}  # fmt: skip

OBJECTS: dict[str, tuple[str, dict[str, object]]] = {
    "query": ("An entry that 'ocicat query' lists.", dict(_ENTRY)),
    "find": ("An entry that 'ocicat find' lists.", dict(_ENTRY)),
    "resolve": ("An answer of 'ocicat resolve'.", {**_ENTRY, "reference": "string"}),
    "stores": (
        "A store that 'ocicat stores' lists.",
        {
            "name": "string", "path": "string", "state": "string", "error": "string?", "entries": "integer",
            "naming": "string", "priority": "integer", "indexed_at": "time?", "changed_at": "time?",
            "shared_blob_dir": "string?", "host": "string", "shared_as": "string?", "sparse": "boolean",
            "archive": "boolean", "unjudged": "string?",
        },
    ),
    "inspect": (
        "The page of 'ocicat inspect'.",
        {
            "reference": "string", "digest": "digest", "kind": "string?", "media_type": "string?",
            "artifact_type": "string?", "size": "integer?", "config": "digest?", "subject": "digest?",
            "created": "time?", "platform": "string?", "layer_count": "integer?", "blob_count": "integer?",
            "total_size": "integer?",
            **{name: {"total": "integer", "at_least": "boolean", "items": [keys]} for name, keys in _SECTIONS.items()},
        },
    ),
    "history": (
        "A span of 'ocicat history'.",
        {
            "since": "time", "until": "time?", "store": "string", "path": "string", "name": "string?",
            "repository": "string?", "tag": "string?", "digest": "digest", "origin": "string?",
        },
    ),
    "changes": (
        "A change that 'ocicat changes' lists.",
        {
            "cursor": "string", "at": "time", "change": "string", "store": "string", "path": "string",
            "name": "string?", "repository": "string?", "tag": "string?", "old": "digest?", "new": "digest?",
        },
    ),
    "diff": (
        "A difference that 'ocicat diff' lists.",
        {
            "change": "string", "name": "string?", "repository": "string?", "tag": "string?", "shadowed": "boolean",
            "old": "digest?", "new": "digest?", "old_stores": "strings", "new_stores": "strings",
            "platforms_gained": "strings?", "platforms_lost": "strings?", "layers_gained": "integer?",
            "layers_lost": "integer?", "bytes_gained": "integer?", "bytes_lost": "integer?",
        },
    ),
    "contexts": (
        "An image of a Dockerfile that 'ocicat contexts' lists.",
        {
            "name": "string", "reference": "string", "platform": "string?", "found": "boolean", "store": "string?",
            "path": "string?", "digest": "digest?", "line": "integer", "error": "string?",
        },
    ),
    "status": (
        "The object that 'ocicat status' prints.",
        {
            "catalog": "string", "schema": "string?", "size_bytes": "integer", "stores": "integer",
            "entries": "integer", "stores_ok": "integer", "stores_empty": "integer", "stores_invalid": "integer",
            "stores_unreadable": "integer", "stores_missing": "integer", "daemon": "string", "daemon_pid": "integer?",
            "daemon_since": "time?", "daemon_last_event": "time?", "daemon_last_sweep": "time?",
            "daemon_waiting": "integer?", "daemon_waiting_since": "time?", "daemon_lag_seconds": "number?",
            "daemon_put_off": "objects?", "daemon_trouble": "string?", "daemon_polling": "any", "daemon_polled": "any",
            "daemon_watched": "integer?", "daemon_unwatched": "integer?", "max_user_watches": "integer?",
            "watches_needed": "integer", "advice": "string?",
        },
    ),
    "check": (
        "A problem that 'ocicat check' lists.",
        {"store": "string", "kind": "string", "subject": "string", "detail": "string"},
    ),
    "verify": (
        "A problem that 'ocicat verify' lists.",
        {"store": "string", "kind": "string", "subject": "string", "detail": "string"},
    ),
    "plan-prune": (
        "A file that 'ocicat plan prune' lists.",
        {
            "store": "string", "path": "string", "digest": "digest?", "size": "integer", "age": "integer",
            "why": "string", "name": "string?", "entry": "digest?",
        },
    ),
    "plan-copy": (
        "A blob or an entry that 'ocicat plan copy' lists.",
        {
            "kind": "string", "digest": "digest", "size": "integer?", "source": "string", "path": "string",
            "source_store": "string", "descriptor": "object?",
        },
    ),
    "version": ("The object that 'ocicat version' prints.", {"version": "string"}),
    "reports": ("A report that 'ocicat report' lists.", {"report": "string", "sentence": "string"}),
    "plan-link": (
        "A pair of files that 'ocicat plan link' lists.",
        {
            "store": "string", "path": "string", "source": "string", "digest": "digest", "size": "integer",
            "mode": "string", "source_store": "string",
        },
    ),
}  # fmt: skip
"""Keyed by the name of an object: a sentence about it, and its keys with their types."""
OBJECTS |= {
    f"report-{report.name}": (
        f"A row of 'ocicat report {report.name}'.",
        {
            column.name: "integer?" if column.is_size else "time?" if column.is_age else "any"
            for column in report.columns
        },
    )
    for report in REPORTS
}

_TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "object": {"type": "object"},
    "time": {"type": "string", "format": "date-time"},
    "digest": {"type": "string", "pattern": "^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"},
    "strings": {"type": "array", "items": {"type": "string"}},
    "objects": {"type": "array", "items": {"type": "object"}},
    "texts": {"type": "object", "additionalProperties": {"type": "string"}},
    "any": {},
}


def schema_of(name: str) -> dict[str, Any]:
    """Return the JSON Schema of one of OBJECTS. Every key is always there; later versions may add keys."""
    sentence, keys = OBJECTS[name]
    return {"$schema": DRAFT, "title": name, "description": sentence, **_object(keys)}


def _object(keys: dict[str, object]) -> dict[str, Any]:
    return {"type": "object", "required": list(keys), "properties": {key: _value(kind) for key, kind in keys.items()}}


def _value(kind: object) -> dict[str, Any]:
    if isinstance(kind, dict):
        return _object(kind)
    if isinstance(kind, list):
        return {"type": "array", "items": _value(kind[0])}
    text = str(kind)
    found = dict(_TYPES[text.rstrip("?")])
    if text.endswith("?"):
        found["type"] = [found["type"], "null"]
    return found
