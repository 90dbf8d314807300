"""`ocicat plan copy`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from catalog.cli import formats, output
from catalog.cli.limits import LIST_SECONDS, Limits
from catalog.cli.main import Globals
from catalog.cli.messages import note
from catalog.cli.time_limit import time_limit
from catalog.engine.location import catalog_path
from catalog.errors import UsageError
from catalog.lookup.resolve import Asking
from catalog.lookup.stores import store_ids
from catalog.names.escape import shown
from catalog.names.paths import encode_path
from catalog.names.platform import Platform
from catalog.names.query import parse_query
from catalog.names.sizes import counted, human
from catalog.plans.commands import rsync_line, skopeo_commands
from catalog.plans.copy import Copied, CopyPlan
from catalog.plans.destination import Destination
from catalog.plans.stores import plan_stores

COLUMNS = ("digest", "size", "source", "path")
FIELDS = ("kind", *COLUMNS, "source_store", "descriptor")
RSYNC, SKOPEO, ENTRIES = "rsync", "skopeo", "entries"


@click.command(name="copy")
@click.argument("refs", nargs=-1, required=True, metavar="REF...")
@click.option("--to", "to", required=True, metavar="STORE|PATH", help="The destination: a store, or a path.")
@click.option(
    "--platform", "platforms", multiple=True, metavar="P", help="Only the image for os/arch[/variant]. Repeatable."
)
@click.option("--with-referrers", is_flag=True, help="Also copy signatures, SBOMs and other referrers of the images.")
@click.option(
    "--store", "names", multiple=True, metavar="S", help="Copy from this store: a name or a glob. Repeatable."
)
@click.option("--first", is_flag=True, help="If stores differ, take the first: by priority, then by name.")
@time_limit(LIST_SECONDS)
@click.option(
    "--format",
    "format_",
    metavar="F",
    help="table, tsv, csv, json, jsonl, a TEMPLATE; rsync: for --files-from; skopeo: commands; entries: for index.json.",
)
@click.pass_obj
def copy(
    globals_: Globals,
    refs: tuple[str, ...],
    to: str,
    platforms: tuple[str, ...],
    with_referrers: bool,
    names: tuple[str, ...],
    first: bool,
    timeout: float | None,
    format_: str | None,
) -> int:
    """Print the blobs of images that a store or path lacks, in the order to write them ('ocicat help mirroring').

    Children come before the manifests that refer to them, and the entries of index.json last. A PATH need not exist yet. The
    exit status is 1 if the destination has everything already, or if a REF was not found, which is reported on stderr. It is 4
    if an image cannot be copied because no store has one of its blobs, or because it is unknown which blobs it needs.
    """
    wanted = [Platform.parse(each) for each in dict.fromkeys(platforms)]
    with Limits(timeout, LIST_SECONDS) as limits:
        reader = limits.open_reader(catalog_path(globals_.db))
        try:
            asking = Asking(reader, note, stores=store_ids(reader, names) if names else None)
            matches = [asking.resolve(parse_query(ref), first=first) for ref in refs]
            stores = plan_stores(reader)
            with (
                Destination(reader, to, stores) as destination,
                CopyPlan(reader, stores, destination, matches, platforms=wanted, referrers=with_referrers) as plan,
            ):
                rows = plan.blobs()
                _write(plan, rows, destination, format_)
        finally:
            reader.close()
    output.flush()
    if not rows and not plan.entries:
        note(f"nothing to copy: {shown(to)} has everything")
        return 1
    blobs, entries = counted(len(rows), "blob"), counted(len(plan.entries), "entry", "entries")
    where = f"{shown(destination.host)}:" if destination.host else ""
    total = human(sum(row.size for row in rows), "bytes")
    note(f"{blobs}, {total}, and {entries} of index.json, to {where}{shown(destination.path)}")
    return 0


def _write(plan: CopyPlan, rows: Sequence[Copied], to: Destination, format_: str | None) -> None:
    if format_ == RSYNC:
        for line in [rsync_line(row) for row in rows]:
            output.write_bytes(line)
    elif format_ == SKOPEO:
        for command in list(skopeo_commands(plan, rows, to)):
            if not command.isprintable():
                raise UsageError(
                    f"a shell cannot run this command on one line, so use --format json: {shown(command, 200)}"
                )
            output.write(f"{command}\n")
    elif format_ == ENTRIES:
        for each in plan.entries:
            output.write(output.json_text(each.descriptor) + "\n")
    else:
        _print(plan, rows, to, format_)


def _print(plan: CopyPlan, rows: Sequence[Copied], to: Destination, format_: str | None) -> None:
    is_shown = format_ in (None, "table") and sys.stdout.isatty()
    show = formats.open_format(format_, COLUMNS, FIELDS, also=(RSYNC, SKOPEO, ENTRIES), spare=("source",))
    for row in rows:
        cells: dict[str, object] = {
            **row._asdict(),
            "kind": "blob",
            "size": human(row.size) if is_shown else row.size,
            "source": encode_path(row.source)[0],
            "path": encode_path(row.path)[0],
            "descriptor": None,
        }
        show.row(cells.__getitem__)
    for each in plan.entries:
        cells = {
            "kind": "entry",
            "digest": each.descriptor["digest"],
            "size": None,
            "source": encode_path(f"{each.store.standing.path.rstrip('/')}/index.json")[0],
            "path": encode_path(f"{to.path.rstrip('/')}/index.json")[0],
            "source_store": each.store.name,
            "descriptor": each.descriptor,
        }
        show.row(cells.__getitem__)
    show.end()
