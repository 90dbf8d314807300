"""`ocicat status`."""

from __future__ import annotations

import click

from catalog.cli.answer import Options
from catalog.cli.limits import ASK_SECONDS
from catalog.cli.main import Globals
from catalog.cli.stated import run_status
from catalog.cli.time_limit import time_limit
from catalog.cli.utc import utc_option


@click.command(name="status")
@click.option("--check", is_flag=True, help="Exit with status 1 if no daemon runs, or if it lags behind.")
@time_limit(ASK_SECONDS)
@utc_option
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(globals_: Globals, check: bool, timeout: float | None, format_: str | None) -> int:
    """Show the state of the catalog and its daemon: on a terminal as text, in a pipe as one key and value per line, or as JSON."""
    options = Options("status")
    options.db = globals_.db
    options.check = check
    options.timeout = timeout
    options.format = format_
    return run_status(options)
