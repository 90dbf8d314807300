"""`ocicat history`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from catalog.cli import formats
from catalog.cli.limits import LIST_SECONDS, Limits
from catalog.cli.main import Globals
from catalog.cli.time_limit import time_limit
from catalog.cli.utc import utc_option
from catalog.engine.interface import Reader
from catalog.engine.location import catalog_path
from catalog.errors import InvalidReference, NotFound
from catalog.lookup.advice import malformed_hint, name_hint, part_hint
from catalog.lookup.past import SPAN_FIELDS, Span, in_stores, spans, spans_of_digest
from catalog.names import query as kinds
from catalog.names.escape import shown
from catalog.names.moment import parse_moment, rfc3339
from catalog.names.query import Query, parse_query

COLUMNS = ("since", "until", "store", "name", "digest")


@click.command(name="history")
@click.argument("ref", metavar="REF")
@click.option(
    "--store",
    "stores",
    multiple=True,
    metavar="S",
    help="Only this store: a current or former name, a path or a glob. Repeatable.",
)
@click.option(
    "--since",
    metavar="TIME",
    help="Only spans that ended after TIME or have no end: a time, an age (2h, 3d) or a day (yesterday, tuesday).",
)
@time_limit(LIST_SECONDS)
@utc_option
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(
    globals_: Globals, ref: str, stores: tuple[str, ...], since: str | None, timeout: float | None, format_: str | None
) -> int:
    """Print what REF pointed to and when, oldest first. The current span has no end.

    For any time within a span, 'query' and 'resolve' with --at answer with its digest. A span also ends when its store is
    renamed, goes missing or is removed.

    REF is a name, ':TAG', a pattern of either, or oci-layout://STORE[/IMAGE][:TAG]. For a digest, or the beginning
    of one, the names that pointed to it are printed.
    """
    moment = None if since is None else rfc3339(parse_moment(since, time.time_ns() // 1_000_000))
    with Limits(timeout, LIST_SECONDS) as limits:
        _print(limits.open_reader(catalog_path(globals_.db)), ref, stores, moment, format_)
    return 0


def _print(reader: Reader, ref: str, stores: tuple[str, ...], since: str | None, format_: str | None) -> None:
    """Print the spans that ended after `since` or have no end, and close the reader. Raises NotFound if there is none."""
    found: Iterator[Span] = iter(())
    try:
        query = _parsed(reader, ref)
        is_wanted = in_stores(reader, stores) if stores else None
        if query.kind in (kinds.DIGEST, kinds.DIGEST_PREFIX):
            found = spans_of_digest(reader, query.digest or "")
        else:
            found = spans(reader, query)
        show = formats.open_format(format_, COLUMNS, SPAN_FIELDS, times=("since", "until"))
        has_spans = False
        for span in found:
            until = span.value("until")
            if since is not None and isinstance(until, str) and until <= since:
                continue
            if is_wanted is None or is_wanted(span):
                has_spans = True
                show.row(span.value)
        show.end()
        if not has_spans and since is not None:
            raise NotFound(
                f"{shown(ref)} pointed to nothing since {since}", "leave out --since to see what it pointed to before"
            )
        if not has_spans:
            raise NotFound(f"there is no history of {shown(ref)}", _advice(reader, query))
    finally:
        found = iter(())  # drops its cursor before the connection is closed
        reader.close()


def _parsed(reader: Reader, ref: str) -> Query:
    """Return the parsed reference. Raises InvalidReference with advice from the catalog."""
    try:
        return parse_query(ref)
    except InvalidReference as error:
        hint = malformed_hint(reader, ref)
        raise InvalidReference(f"{error}; {hint}" if hint else str(error)) from error


def _advice(reader: Reader, query: Query) -> str:
    """Return what to do about a reference that has no history."""
    if query.kind in (kinds.DIGEST, kinds.DIGEST_PREFIX):
        hint = part_hint(reader, query.digest or "")
    else:
        hint = name_hint(reader, query) if query.kind == kinds.NAME else ""
    return hint or "run 'ocicat query' to list what the catalog has now"
