"""`ocicat stores`."""

from __future__ import annotations

import click

from catalog.cli import formats
from catalog.cli.limits import LIST_SECONDS, Limits
from catalog.cli.main import Globals
from catalog.cli.messages import note, remark
from catalog.cli.time_limit import time_limit
from catalog.cli.utc import utc_option
from catalog.engine.interface import Reader
from catalog.engine.location import catalog_path
from catalog.lookup.advice import beginning
from catalog.lookup.store_list import STORE_FIELDS, stores
from catalog.lookup.stores import STATES

COLUMNS = ("name", "path", "state", "entries", "changed_at")


@click.command(name="stores")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only stores in this state. Repeatable."
)
@time_limit(LIST_SECONDS)
@utc_option
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
        show = formats.open_format(format_, COLUMNS, STORE_FIELDS, spare=("changed_at", "path"), ages=("changed_at",))
        has_rows = False
        for each in stores(reader):
            if not states or each.state in states:
                has_rows = True
                show.row(each.value)
        show.end()
        if hint := beginning(reader):
            note(hint)
        elif not has_rows:
            remark(f"no store is {' or '.join(dict.fromkeys(states))}")
    finally:
        reader.close()
