"""`ocicat find`."""

from __future__ import annotations

import click

from catalog.cli.answer import Options
from catalog.cli.found import run_find
from catalog.cli.limits import LIST_SECONDS
from catalog.cli.main import Globals
from catalog.cli.time_limit import time_limit
from catalog.cli.utc import utc_option
from catalog.cli.whole_numbers import Whole


@click.command(name="find")
@click.argument("words", nargs=-1, required=True, metavar="TEXT...")
@click.option("--store", "stores", multiple=True, metavar="S", help="Only this store: a name or a glob. Repeatable.")
@click.option("--limit", type=Whole(min=0), metavar="N", help="Print at most N entries. [default: 50]")
@time_limit(LIST_SECONDS)
@utc_option
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(
    globals_: Globals,
    words: tuple[str, ...],
    stores: tuple[str, ...],
    limit: int | None,
    timeout: float | None,
    format_: str | None,
) -> int:
    """Find entries by any part of a repository, tag, name, store or title, in any letter case; the best match comes first.

    An entry must have all of the words. A title is the annotation or label org.opencontainers.image.title.
    """
    options = Options("find", words)
    options.db = globals_.db
    options.stores = stores
    options.limit = limit
    options.timeout = timeout
    options.format = format_
    return run_find(options)
