"""`ocicat plan link`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import click

from catalog.cli import formats, output
from catalog.cli.limits import LIST_SECONDS, Limits
from catalog.cli.main import Globals
from catalog.cli.messages import note
from catalog.cli.time_limit import time_limit
from catalog.engine.location import catalog_path
from catalog.lookup.stores import store_ids
from catalog.names.paths import encode_path
from catalog.names.sizes import human
from catalog.plans.link import Link, links
from catalog.plans.stores import plan_stores

COLUMNS = ("store", "path", "source", "digest", "size", "mode")
FIELDS = (*COLUMNS, "source_store")
REFLINK, HARD = "reflink", "hard"
PAIRS = "pairs0"


@click.command(name="link")
@click.argument("names", nargs=-1, metavar="[STORE]...")
@click.option(
    "--mode",
    type=click.Choice((REFLINK, HARD)),
    default=REFLINK,
    help="How the files would share their bytes. With 'hard', a program that writes into one copy changes all of them."
    " [default: reflink]",
)
@time_limit(LIST_SECONDS)
@click.option(
    "--format",
    "format_",
    metavar="F",
    help="table, tsv, csv, json, jsonl, a TEMPLATE; pairs0: source and path, each ended by NUL.",
)
@click.pass_obj
def link(globals_: Globals, names: tuple[str, ...], mode: str, timeout: float | None, format_: str | None) -> int:
    """Print which identical blobs could share their bytes, in all stores or in the given ones ('ocicat help cleaning').

    Both files of a row are on one file system, are not hard links to one file, and were found good by 'ocicat verify' since
    they last changed. The exit status is 1 if there is nothing to share.
    """
    saved = _Saved()
    with Limits(timeout, LIST_SECONDS) as limits:
        reader = limits.open_reader(catalog_path(globals_.db))
        try:
            stores = plan_stores(reader)
            selected = store_ids(reader, names) if names else stores.keys()
            found = saved.count(links(reader, stores, selected, hard=mode == HARD))
            if format_ == PAIRS:
                for each in found:
                    output.write_bytes(os.fsencode(each.source) + b"\0" + os.fsencode(each.path) + b"\0")
            else:
                _print(found, mode, format_)
        finally:
            reader.close()
    output.flush()
    if saved.rows == 0:
        note(
            "nothing can be shared: only blobs that 'ocicat verify' found good since they last changed are compared, so run that first"
        )
        return 1
    note(f"{human(saved.bytes, 'bytes')} can be saved in {saved.rows} {'file' if saved.rows == 1 else 'files'}")
    return 0


class _Saved:
    """The totals of a plan. `bytes` counts a file only once all of its names are replaced."""

    def __init__(self) -> None:
        self.rows = self.bytes = 0
        self._left: dict[tuple[int, int], int] = {}

    def count(self, found: Iterator[Link]) -> Iterator[Link]:
        """Yield the rows, and add to the totals."""
        for each in found:
            self.rows += 1
            left = self._left.get(each.inode, each.links) - 1
            self._left[each.inode] = left
            self.bytes += each.size if left == 0 else 0
            yield each


def _print(found: Iterator[Link], mode: str, format_: str | None) -> None:
    is_shown = format_ in (None, "table") and sys.stdout.isatty()
    show = formats.open_format(format_, COLUMNS, FIELDS, also=(PAIRS,), spare=("source",))
    for each in found:
        cells: dict[str, object] = {
            **each._asdict(),
            "path": encode_path(each.path)[0],
            "source": encode_path(each.source)[0],
            "size": human(each.size) if is_shown else each.size,
            "mode": mode,
        }
        show.row(cells.__getitem__)
    show.end()
