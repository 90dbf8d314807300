"""What commands print with --json is what `ocicat schema` says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from catalog.cli.commands import plan_copy, plan_link, plan_prune
from catalog.cli.commands.check import COLUMNS as CHECK_COLUMNS
from catalog.cli.contexts import FIELDS as CONTEXTS_FIELDS
from catalog.cli.schemas import OBJECTS, schema_of
from catalog.lookup import changes, compare, inspect
from catalog.lookup.match import FIELDS
from catalog.lookup.past import SPAN_FIELDS
from catalog.lookup.store_list import STORE_FIELDS
from catalog.reports.reports import REPORTS
from tests import writers
from tests.cli.conftest import Own, Shelf

KEYS = {
    "query": FIELDS,
    "resolve": (*FIELDS, "reference"),
    "stores": STORE_FIELDS,
    "inspect": ("reference", *inspect.HEAD, *inspect.SECTIONS),
    "history": SPAN_FIELDS,
    "changes": changes.FIELDS,
    "diff": compare.FIELDS,
    "contexts": CONTEXTS_FIELDS,
    "check": CHECK_COLUMNS,
    "plan-prune": plan_prune.FIELDS,
    "plan-copy": plan_copy.FIELDS,
    "plan-link": plan_link.FIELDS,
}
_IS: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict, "null": type(None),
}  # fmt: skip


def violations(value: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    """Return what is wrong with a value, by the few keywords that the schemas use."""
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds is not None and not any(
        isinstance(value, _IS[kind]) and not (isinstance(value, bool) and kind in ("integer", "number"))
        for kind in kinds
    ):
        return [f"{where}: {value!r} is not {kinds}"]
    found: list[str] = []
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{where}: {value!r} does not match")
        if schema.get("format") == "date-time" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value):
            found.append(f"{where}: {value!r} is no time")
    if isinstance(value, list) and "items" in schema:
        found += [
            each
            for number, item in enumerate(value)
            for each in violations(item, schema["items"], f"{where}[{number}]")
        ]
    if isinstance(value, dict):
        found += [f"{where}: no {key}" for key in schema.get("required", ()) if key not in value]
        rest = schema.get("additionalProperties", {})
        for key, each in value.items():
            found += violations(each, schema.get("properties", {}).get(key, rest), f"{where}.{key}")
    return found


def held(name: str, printed: str, *, some: bool = True) -> None:
    """Check that what a command printed are objects of that schema, with no key that it does not name."""
    found = json.loads(printed)
    objects = found if isinstance(found, list) else [found]
    assert objects or not some
    for each in objects:
        assert violations(each, schema_of(name)) == []
        assert set(each) == set(OBJECTS[name][1])


@pytest.mark.parametrize("name", KEYS)
def test_a_schema_names_the_keys_in_order(name: str) -> None:
    assert tuple(OBJECTS[name][1]) == KEYS[name]


def test_every_object_has_a_schema_file_and_is_printed(shelf: Shelf) -> None:
    listed = shelf.ask("schema", "--format", "{object}").out.split()
    assert listed == list(OBJECTS)
    for name in listed:
        assert json.loads(shelf.ask("schema", name).out) == schema_of(name)
    assert "did you mean 'query'?" in shelf.ask("schema", "qurey").err


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("query", ("query",)),
        ("find", ("find", "images")),
        ("query", ("query", "--at", "0s")),
        ("resolve", ("resolve", "ctr:3.16", "multi:1", "oci-layout://images/alpine:3.17")),
        ("stores", ("stores",)),
        ("inspect", ("inspect", "ctr:3.16")),
        ("inspect", ("inspect", "multi:1")),
        ("history", ("history", ":*")),
        ("changes", ("changes", "--since", "1w")),
        ("diff", ("diff", "images/ctr", "images/busybox")),
        ("status", ("status",)),
        ("check", ("check",)),
        ("version", ("version",)),
        ("reports", ("report",)),
    ],
)
def test_what_is_printed_is_what_the_schema_says(shelf: Shelf, name: str, arguments: tuple[str, ...]) -> None:
    held(name, shelf.ask(*arguments, "--json").out)


def test_the_rows_of_reports_are_what_their_schemas_say(shelf: Shelf) -> None:
    found = [each.name for each in REPORTS if shelf.ask("--quiet", "report", each.name).out]
    assert len(found) > len(REPORTS) // 3
    for name in found:
        held(f"report-{name}", shelf.ask("--quiet", "report", name, "--json").out)


def test_plans_and_contexts_are_what_their_schemas_say(cli: Own, layout: Callable[..., str]) -> None:
    path = layout("one", "1", style="canonical", repository="quay.io/a/one")
    writers.make_image(path, "unused")
    cli.done("add", path, layout("two", "2"))
    held("plan-copy", cli("plan", "copy", "quay.io/a/one:1", "--to", f"{cli.directory}/new", "--json").out)
    held("plan-prune", cli("plan", "prune", "--older-than", "0", "--json").out, some=False)
    held("plan-link", cli("plan", "link", "--json").out, some=False)
    dockerfile = f"{cli.directory}/Dockerfile"
    with open(dockerfile, "w") as file:
        file.write("FROM quay.io/a/one:1\nCOPY --from=nowhere:1 /a /a\n")
    held("contexts", cli("contexts", dockerfile, "--format", "json").out)
