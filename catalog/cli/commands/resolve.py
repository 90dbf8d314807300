"""`ocicat resolve`."""

from __future__ import annotations

import click

from catalog.cli.answer import Options
from catalog.cli.limits import ASK_SECONDS
from catalog.cli.main import Globals
from catalog.cli.resolved import run_resolve
from catalog.cli.time_limit import time_limit


@click.command(name="resolve")
@click.argument("refs", nargs=-1, required=True, metavar="REF...")
@click.option("--store", "stores", multiple=True, metavar="S", help="Only this store: a name or a glob. Repeatable.")
@click.option("--platform", metavar="P", help="Print the manifest for os/arch[/variant] instead of an index.")
@click.option("--first", is_flag=True, help="Take the first store in priority order where stores differ.")
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse answers by buildx's single-entry rule or from stores that cannot be read and, with --format"
    " oci-layout or oci-archive, incomplete images.",
)
@click.option("--fresh", is_flag=True, help="Bring the catalog up to date with the layouts first.")
@click.option(
    "--at",
    metavar="TIME",
    help="Answer as of TIME: a time (2026-01-31T12:00:00Z), an age (2h, 3d) or a day (yesterday, tuesday).",
)
@time_limit(ASK_SECONDS, " for each REF")
@click.option(
    "--format", "format_", metavar="F", help="oci-layout, oci-archive, table, tsv, csv, json, jsonl or a TEMPLATE."
)
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
    """Print the one digest that each REF resolves to, one per line, in order. '-' reads references from stdin.

    With '-' or several REFs, exactly one line is printed for each REF; it is empty if there is no single answer.
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
