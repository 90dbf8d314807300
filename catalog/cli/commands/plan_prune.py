"""`ocicat plan prune`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import click

from catalog.cli import formats, output
from catalog.cli.limits import LIST_SECONDS, Limits
from catalog.cli.main import Globals
from catalog.cli.messages import note
from catalog.cli.time_limit import time_limit
from catalog.cli.whole_numbers import Whole
from catalog.engine.location import catalog_path
from catalog.errors import NotInTime
from catalog.lookup.stores import store_ids
from catalog.names.age import milliseconds, span
from catalog.names.escape import shown
from catalog.names.paths import encode_path
from catalog.names.sizes import counted, human
from catalog.plans.prune import LEFTOVER, GivenUp, Planned, Prune
from catalog.plans.retention import Rules

COLUMNS = ("store", "path", "digest", "size", "age", "why", "name")
FIELDS = (*COLUMNS, "entry")
ENTRIES = ("store", "path", "name", "ref_name", "digest", "why")
PATHS, GIVEN_UP = "paths0", "entries"


@click.command(name="prune")
@click.argument("names", nargs=-1, metavar="[STORE]...")
@click.option(
    "--keep-last",
    type=Whole(min=1),
    metavar="N",
    help="Give up entries with names that are not among the N newest images of their repository.",
)
@click.option("--keep", "keeps", multiple=True, metavar="GLOB", help="Never give up this name or tag. Repeatable.")
@click.option(
    "--older-than",
    metavar="AGE",
    default="24h",
    help="Leave out files changed more recently: 90m, 24h, 7d, or 0. [default: 24h]",
)
@click.option("--unnamed", is_flag=True, help="Give up entries without a name.")
@click.option(
    "--untagged-since", metavar="AGE", help="Give up entries that lost their last name at least this long ago."
)
@click.option("--strict", is_flag=True, help="Exit with status 4 if a store cannot be judged.")
@time_limit(LIST_SECONDS)
@click.option(
    "--format",
    "format_",
    metavar="F",
    help="table, tsv, csv, json, jsonl, a TEMPLATE; paths0: paths for 'xargs -0 rm'; entries: the entries given up.",
)
@click.pass_obj
def prune(
    globals_: Globals,
    names: tuple[str, ...],
    keep_last: int | None,
    keeps: tuple[str, ...],
    older_than: str,
    unnamed: bool,
    untagged_since: str | None,
    strict: bool,
    timeout: float | None,
    format_: str | None,
) -> int:
    """Print the files that could be removed from all stores, or from the given ones ('ocicat help cleaning').

    These are blobs that nothing in use needs, and files that killed writers left. With --keep-last, --unnamed or
    --untagged-since, they also include the blobs that only the entries given up by these rules need: remove these entries from
    index.json first. Nothing is planned for a store that cannot be judged. The exit status is 1 if there is nothing to remove.
    """
    rules = Rules(
        milliseconds(older_than, "--older-than"),
        keep_last,
        keeps,
        unnamed,
        None if untagged_since is None else milliseconds(untagged_since, "--untagged-since"),
    )
    with Limits(timeout, LIST_SECONDS) as limits:
        reader = limits.open_reader(catalog_path(globals_.db))
        try:
            selected = store_ids(reader, names) if names else None
            plan = Prune(reader, selected, rules, time.time_ns() // 1_000_000)
            totals = _Totals()
            if format_ == PATHS:
                for row in totals.count(plan.rows()):
                    output.write_bytes(os.fsencode(row.path) + b"\0")
            elif format_ == GIVEN_UP:
                for _ in totals.count(plan.rows()):
                    pass
                _print_entries(plan.given_up)
            else:
                _print(totals.count(plan.rows()), format_)
        finally:
            reader.close()
    output.flush()
    for unjudged in plan.unjudged:
        note(f"nothing is planned for {shown(unjudged.store)}: {unjudged.reason}")
    if keeps and not rules.give_up:
        note("--keep changes nothing without a rule: --keep-last, --unnamed or --untagged-since")
    elif idle := [text for text in keeps if text not in plan.keeping]:
        where = "the stores that could be judged" if plan.unjudged else "these stores" if names else "any store"
        note(f"no name or tag in {where} matches --keep {', '.join(shown(text) for text in idle)}")
    if totals.rows:
        note(str(totals))
    elif not plan.given_up:
        note(_nothing(rules, older_than, is_judged=not plan.unjudged))
    if plan.given_up and format_ != GIVEN_UP:
        note(
            "the rules give up entries that are still in index.json: remove these entries first, then plan again without"
            f" the rules ('--format entries' lists all {len(plan.given_up)}, 'ocicat help cleaning' says how)"
        )
    if any(unjudged.is_pending for unjudged in plan.unjudged) or (strict and plan.unjudged):
        return NotInTime.status
    return 0 if totals.rows or plan.given_up else 1


def _nothing(rules: Rules, older_than: str, *, is_judged: bool) -> str:
    """Return why a plan is empty, as a sentence."""
    where = "" if is_judged else " in the stores that could be judged"
    late = f", or was changed within the last {older_than.strip()} (--older-than)" if rules.age else ""
    return f"nothing to remove: everything{where} is in use{late}"


class _Totals:
    """The totals of a plan.

    A file whose names are all removed counts once. `_kept` are the bytes of files that stay in use through other hard links.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._blobs = 0
        self._bytes = 0
        self._kept = 0
        self._stores: set[str] = set()
        self._links: dict[tuple[int, int], int] = {}

    def count(self, rows: Iterator[Planned]) -> Iterator[Planned]:
        """Yield the rows, and add to the totals."""
        for row in rows:
            self.rows += 1
            self._blobs += row.why != LEFTOVER
            self._stores.add(row.store)
            self._bytes += row.size
            if row.links > 1:
                self._kept += row.size
                left = self._links.get(row.inode, row.links) - 1
                self._links[row.inode] = left
                if left == 0:
                    self._kept -= row.size * row.links
                    self._bytes -= row.size * (row.links - 1)
            yield row

    def __str__(self) -> str:
        leftovers = self.rows - self._blobs
        parts = [counted(self._blobs, "blob")] + ([counted(leftovers, "leftover")] if leftovers else [])
        linked = f"; {human(self._kept, 'bytes')} of it stays in use through other hard links" if self._kept else ""
        return f"{' and '.join(parts)}, {human(self._bytes, 'bytes')}, in {counted(len(self._stores), 'store')}{linked}"


def _print(rows: Iterator[Planned], format_: str | None) -> None:
    is_shown = format_ in (None, "table") and sys.stdout.isatty()
    show = formats.open_format(format_, COLUMNS, FIELDS, also=(PATHS, GIVEN_UP), spare=("path",))
    for row in rows:
        cells: dict[str, object] = {
            **row._asdict(),
            "path": encode_path(row.path)[0],
            "size": human(row.size) if is_shown else row.size,
            "age": span(row.age) if is_shown else row.age,
        }
        show.row(cells.__getitem__)
    show.end()


def _print_entries(entries: list[GivenUp]) -> None:
    show = formats.open_format("tsv", ENTRIES, ENTRIES)
    for entry in sorted(entries, key=lambda each: (each.store, each.name or "", each.digest)):
        show.row(entry._asdict().__getitem__)
    show.end()
