"""`ocicat history`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from catalog.cli import formats
from catalog.cli.limits import LIST_SECONDS, Limits
from catalog.cli.main import Globals
from catalog.cli.time_limit import time_limit
from catalog.engine.interface import Reader
from catalog.engine.location import catalog_path
from catalog.errors import NotFound
from catalog.lookup.past import SPAN_FIELDS, Span, in_stores, spans, spans_of_digest
from catalog.names import query as kinds
from catalog.names.escape import shown
from catalog.names.query import Query, parse_query

COLUMNS = ("since", "until", "store", "name", "digest")


@click.command(name="history")
@click.argument("ref", metavar="REF")
@click.option(
    "--store",
    "stores",
    multiple=True,
    metavar="S",
    help="Only this store: a name that it had, a path or a glob. Repeatable.",
)
@time_limit(LIST_SECONDS)
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(globals_: Globals, ref: str, stores: tuple[str, ...], timeout: float | None, format_: str | None) -> int:
    """Print what REF pointed to, and when, the oldest first; the span that stands has no end.

    `--at` any moment of a span answers its digest. A span ends when its store is renamed, missing or removed.

    REF is a name, ':TAG', a pattern of either, or oci-layout://STORE[/IMAGE][:TAG]; of a digest, the names that pointed to it.
    """
    query = parse_query(ref)
    with Limits(timeout, LIST_SECONDS) as limits:
        some = _print(limits.open_reader(catalog_path(globals_.db)), query, stores, format_)
    if not some:
        raise NotFound(f"no history of {shown(ref)}", "'ocicat query' lists what there is now")
    return 0


def _print(reader: Reader, query: Query, stores: tuple[str, ...], format_: str | None) -> bool:
    """Print the spans, and close the reader; returns whether there was one."""
    found: Iterator[Span] = iter(())
    try:
        is_asked = in_stores(reader, stores) if stores else None
        if query.kind == kinds.DIGEST and query.digest is not None:
            found = spans_of_digest(reader, query.digest)
        else:
            found = spans(reader, query)
        show = formats.open_format(format_, COLUMNS, SPAN_FIELDS)
        some = False
        for span in found:
            if is_asked is None or is_asked(span):
                some = True
                show.row(span.value)
        show.end()
    finally:
        found = iter(())  # its cursor goes before its connection does
        reader.close()
    return some
