"""`ocicat resolve`."""

from __future__ import annotations

import click

from catalog.cli.answer import Options, run_resolve
from catalog.cli.limits import ASK_SECONDS
from catalog.cli.main import Globals
from catalog.cli.time_limit import time_limit


@click.command(name="resolve")
@click.argument("refs", nargs=-1, required=True, metavar="REF...")
@click.option("--store", "stores", multiple=True, metavar="S", help="Only this store: a name or a glob. Repeatable.")
@click.option("--platform", metavar="P", help="Of an index, its child for os/arch[/variant].")
@click.option("--first", is_flag=True, help="Take the first store in priority order where stores differ.")
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse buildx's single-entry rule, stores that cannot be read and, as oci-layout, incomplete images.",
)
@click.option("--fresh", is_flag=True, help="Look at the layouts first, and answer from what they say now.")
@click.option("--at", metavar="TIME", help="As the catalog was then: a time (2026-01-31T12:00:00Z) or an age (2h, 3d).")
@time_limit(ASK_SECONDS, " for each REF")
@click.option("--format", "format_", metavar="F", help="oci-layout, table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(
    globals_: Globals,
    refs: tuple[str, ...],
    stores: tuple[str, ...],
    platform: str | None,
    first: bool,
    strict: bool,
    fresh: bool,
    at: str | None,
    timeout: float | None,
    format_: str | None,
) -> int:
    """Print the one digest of each REF, one a line, in the order asked. '-' reads references from stdin.

    With '-' or several REFs there is exactly one line for each, empty where there is no single answer.
    """
    options = Options("resolve", refs)
    options.db = globals_.db
    options.stores = stores
    options.platform = platform
    options.first = first
    options.strict = strict
    options.fresh = fresh
    options.at = at
    options.timeout = timeout
    options.config = globals_.config
    options.format = format_
    return run_resolve(options)
