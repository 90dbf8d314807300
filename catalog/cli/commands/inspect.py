"""`ocicat inspect`."""

from __future__ import annotations

import click

from catalog.cli.answer import Options
from catalog.cli.inspected import run_inspect
from catalog.cli.limits import ASK_SECONDS
from catalog.cli.main import Globals
from catalog.cli.time_limit import time_limit
from catalog.cli.utc import utc_option
from catalog.cli.whole_numbers import Whole


@click.command(name="inspect")
@click.argument("ref", metavar="REF")
@click.option("--store", "stores", multiple=True, metavar="S", help="Only this store: a name or a glob. Repeatable.")
@click.option("--first", is_flag=True, help="If stores differ, take the first: by priority, then by name.")
@click.option("--platform", metavar="P", help="From an index, take the image for os/arch[/variant].")
@click.option("--limit", type=Whole(min=1), metavar="N", help="Print at most N items in each section. [default: 10]")
@time_limit(ASK_SECONDS)
@utc_option
@click.option("--format", "format_", metavar="F", help="text or json. [default: text]")
@click.pass_obj
def command(
    globals_: Globals,
    ref: str,
    stores: tuple[str, ...],
    first: bool,
    platform: str | None,
    limit: int | None,
    timeout: float | None,
    format_: str | None,
) -> int:
    """Show everything that the catalog knows about one image, from every store.

    That is: its names, the stores that have it, its platforms, its layers and the images that share them, labels, annotations, the
    images that it is built on and that are built on it, referrers, history and problems.

    REF is written as for 'ocicat resolve'. Each section shows how many items there are in total.
    """
    options = Options("inspect", (ref,))
    options.db = globals_.db
    options.stores = stores
    options.first = first
    options.platform = platform
    options.limit = limit
    options.timeout = timeout
    options.format = format_
    return run_inspect(options)
