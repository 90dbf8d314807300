"""`ocicat diff`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable

import click

from catalog.cli import formats, output
from catalog.cli.limits import LIST_SECONDS, Limits
from catalog.cli.main import Globals
from catalog.cli.messages import note
from catalog.cli.time_limit import time_limit
from catalog.engine.interface import Reader
from catalog.engine.location import catalog_path
from catalog.errors import UsageError
from catalog.lookup.compare import CHANGES, FIELDS, Difference, Side, differences, side
from catalog.lookup.parts import Images
from catalog.lookup.stores import store_ids
from catalog.names.escape import shown
from catalog.names.moment import parse_moment, rfc3339
from catalog.names.sizes import human

COLUMNS = ("change", "name", "tag", "old", "new", "platforms_gained", "layers_gained", "bytes_gained")
_SPARE = ("layers_gained", "platforms_gained", "tag")


@click.command(name="diff")
@click.argument("stores", nargs=-1, required=True, metavar="A [B]")
@click.option(
    "--at",
    "times",
    multiple=True,
    metavar="TIME",
    help="Compare the stores as of TIME: a time, an age (2h, 3d) or a day (yesterday, tuesday). Given twice, the first is for the old side and the"
    " second for the new side.",
)
@click.option("--since", metavar="TIME", help="Compare A as of TIME with A now.")
@time_limit(LIST_SECONDS)
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(
    globals_: Globals,
    stores: tuple[str, ...],
    times: tuple[str, ...],
    since: str | None,
    timeout: float | None,
    format_: str | None,
) -> int:
    """List what differs between the stores A and B, or in A between two times.

    A and B are each a store (a name or a path) or a glob. If a glob matches several stores, all digests to which a name
    resolves in them are compared. The exit status is 0 if nothing differs, and 1 if something does.

    Each row is something added, removed or moved (a name with another digest), with what the new image has that the old
    one lacked. What is not known about an image is empty (null in JSON).
    """
    if len(stores) > 2:
        raise UsageError(f"diff compares two stores, not {len(stores)}: write a glob in quotes, such as 'builds/*'")
    moments = _moments(stores, times, since)
    with Limits(timeout, LIST_SECONDS) as limits:
        return _print(limits.open_reader(catalog_path(globals_.db)), (stores[0], stores[-1]), moments, format_)


def _moments(stores: tuple[str, ...], times: tuple[str, ...], since: str | None) -> tuple[int | None, int | None]:
    """Return the times of both sides in milliseconds since 1970, None for now. Raises UsageError if they are malformed, too many or missing."""
    now = time.time_ns() // 1_000_000
    at = [parse_moment(text, now) for text in times]
    if len(at) > 2:
        raise UsageError("--at can be given at most twice: first for the old side, then for the new side")
    if since is not None and (at or len(stores) > 1):
        raise UsageError("--since compares A as of TIME with A now: leave out --at and the second store")
    if since is not None:
        return parse_moment(since, now), None
    if len(stores) == 1:
        if not at:
            raise UsageError("diff needs a second store, or a time: write --since TIME, or --at TIME twice")
        return at[0], at[1] if len(at) > 1 else None
    return (at[0], at[-1]) if at else (None, None)


def _print(reader: Reader, stores: tuple[str, str], moments: tuple[int | None, int | None], format_: str | None) -> int:
    """Print what differs and close the reader; return the exit status."""
    try:
        show = formats.open_format(format_, COLUMNS, FIELDS, spare=_SPARE)
        readers = [reader if moment is None else reader.at(moment) for moment in moments]
        sides = _sides(readers, stores)
        _note_unknown(readers)
        found = differences(Images(reader), *sides)
        is_terminal = sys.stdout.isatty()  # a pager may take its place
        is_shown = format_ in (None, "table") and is_terminal
        for row in found:
            show.row(_for_people(row) if is_shown else row.value)
        show.end()
    finally:
        reader.close()
    if is_terminal:
        output.flush()
        note(_summary(found) if found else "nothing differs")
    return 1 if found else 0


def _sides(readers: list[Reader], stores: tuple[str, str]) -> tuple[Side, Side]:
    """Return both sides.

    Raises UnknownStore if A or B names no store at the time of its side. If A is compared with itself, that happens only if A
    names no store at either time.
    """
    old, new = (side(then, text, note) for then, text in zip(readers, stores, strict=True))
    if old is None and (new is None or stores[0] != stores[1]):
        store_ids(readers[0], stores[:1])  # raises UnknownStore
    if new is None and stores[0] != stores[1]:
        store_ids(readers[1], stores[1:])
    return old or _nothing(readers[0], stores[0]), new or _nothing(readers[1], stores[1])


def _note_unknown(readers: list[Reader]) -> None:
    """Print a note for each time that is before the first change in the catalog."""
    for then in readers:
        if then.past is not None and then.past.numbers is None:
            when = rfc3339(then.past.at)
            note(
                f"{when} is before the first change in this catalog: only what layouts record about their own past is known"
            )


def _nothing(reader: Reader, text: str) -> Side:
    """Return an empty side for a store that did not exist at the time of that side, and print a note."""
    when = "now" if reader.past is None else f"at {rfc3339(reader.past.at)}"
    note(f"no store is named {shown(text)} {when}: that side is empty")
    return Side(reader, frozenset(), note)


def _for_people(row: Difference) -> Callable[[str], object]:
    """Return a function that gives the cell of each field, with sizes in units and None for an empty list."""

    def cell(field: str) -> object:
        value = row.value(field)
        if field == "bytes_gained" and isinstance(value, int):
            return human(value)
        return value or None if isinstance(value, list) else value

    return cell


def _summary(found: list[Difference]) -> str:
    counts = Counter(row.change for row in found)
    return ", ".join(f"{counts[change]} {change}" for change in CHANGES)
