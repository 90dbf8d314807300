"""`ocicat schema`."""

from __future__ import annotations

import json

import click

from catalog.cli import formats, output
from catalog.cli.schemas import OBJECTS, schema_of
from catalog.errors import UsageError
from catalog.names.escape import shown
from catalog.names.nearest import did_you_mean


@click.command(name="schema")
@click.argument("name", required=False, metavar="[OBJECT]")
@click.option(
    "--format", "format_", metavar="F", help="Format of the list: table, tsv, csv, json, jsonl or a TEMPLATE."
)
def command(name: str | None, format_: str | None) -> int:
    """Print the JSON Schema of an object that a command prints with --json. Without OBJECT, list the objects.

    Keys are only ever added, so a program should ignore those that it does not know.
    """
    if name is None:
        show = formats.open_format(format_, ("object", "sentence"), ("object", "sentence"), prose=True)
        for each, (sentence, _) in OBJECTS.items():
            show.row({"object": each, "sentence": sentence}.__getitem__)
        show.end()
        return 0
    if name not in OBJECTS:
        raise UsageError(f"there is no object {shown(name)}: {did_you_mean(name, OBJECTS)}'ocicat schema' lists them")
    output.write(json.dumps(schema_of(name), indent=2) + "\n")
    return 0
