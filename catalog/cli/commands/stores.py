"""`ocicat stores`."""

from __future__ import annotations

import click

from catalog.cli import formats
from catalog.cli.limits import LIST_SECONDS, Limits
from catalog.cli.main import Globals
from catalog.cli.messages import note
from catalog.cli.time_limit import time_limit
from catalog.engine.interface import Reader
from catalog.engine.location import catalog_path
from catalog.lookup.advice import beginning
from catalog.lookup.stores import STATES
from catalog.names.moment import rfc3339

COLUMNS = ("name", "path", "state", "entries", "changed_at")
FIELDS = (
    "name",
    "path",
    "state",
    "error",
    "entries",
    "naming",
    "priority",
    "indexed_at",
    "changed_at",
    "shared_blob_dir",
    "host",
    "shared_as",
    "sparse",
    "unjudged",
)


@click.command(name="stores")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only stores in this state. Repeatable."
)
@time_limit(LIST_SECONDS)
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(globals_: Globals, states: tuple[str, ...], timeout: float | None, format_: str | None) -> int:
    """List the stores, one per line, in the order in which they answer a reference."""
    with Limits(timeout, LIST_SECONDS) as limits:
        _print(limits.open_reader(catalog_path(globals_.db)), states, format_)
    return 0


def _print(reader: Reader, states: tuple[str, ...], format_: str | None) -> None:
    """Print the stores in these states, or all stores if `states` is empty, and close the reader."""
    try:
        show = formats.open_format(format_, COLUMNS, FIELDS, spare=("changed_at", "path"))
        for row in reader.rows("STORES", {}):
            (
                _,
                name,
                path,
                state,
                _,
                error,
                entries,
                naming,
                priority,
                indexed_at,
                changed_at,
                *others,
                sparse,
                unjudged,
            ) = row
            if states and state not in states:
                continue
            values: dict[str, object] = {
                "name": name,
                "path": path,
                "state": state,
                "error": error,
                "entries": entries,
                "naming": naming,
                "priority": priority,
                "indexed_at": rfc3339(indexed_at),
                "changed_at": rfc3339(changed_at),
                **dict(zip(FIELDS[-5:-2], others, strict=True)),
                "sparse": bool(sparse),
                "unjudged": unjudged,
            }
            show.row(values.__getitem__)
        show.end()
        if hint := beginning(reader):
            note(hint)
    finally:
        reader.close()
