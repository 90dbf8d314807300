"""`ocicat verify`."""

from __future__ import annotations

import os

import click

from catalog.cli import formats, messages, output
from catalog.cli.commands.check import COLUMNS
from catalog.cli.limits import MEMORY_BYTES, Limits
from catalog.cli.main import Globals
from catalog.cli.progress import progress
from catalog.cli.time_limit import time_limit
from catalog.cli.told import done, interruptible
from catalog.cli.whole_numbers import Whole
from catalog.engine.location import catalog_path
from catalog.engine.open import open_reader, open_writer
from catalog.ingest.registry import Registry
from catalog.ingest.verify import Verification
from catalog.lookup.stores import store_ids

_MOST_JOBS = 256
_THREAD_BYTES = 80 << 20
"""The address space that a thread reserves for its stack and a heap, most of which it never uses."""
_GRACE_SECONDS = 5.0
"""How long a run may take after its time limit to record what it has verified."""


@click.command(name="verify")
@click.argument("names", nargs=-1, metavar="[STORE]...")
@click.option(
    "--jobs",
    type=Whole(1, _MOST_JOBS),
    metavar="N",
    help="Files to read at a time. [default: one per processor]",
)
@click.option("--full", is_flag=True, help="Also read blobs that were good and have not changed since.")
@time_limit(None)
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.pass_obj
def command(
    globals_: Globals,
    names: tuple[str, ...],
    jobs: int | None,
    full: bool,
    timeout: float | None,
    format_: str | None,
) -> int:
    """Read every blob of all stores, or of the given ones, and compare its digest; list blobs that are not good.

    A blob that was good the last time and has not changed since is skipped. The exit status is 1 if a blob is not good
    ('ocicat help problems'). Results are kept even if the command is interrupted or reaches its time limit.
    """
    jobs = jobs or os.cpu_count() or 1
    late = None if timeout is None else timeout + _GRACE_SECONDS
    memory = MEMORY_BYTES + jobs * _THREAD_BYTES
    with Limits(None, late, words=": a file or the catalog does not answer", memory_bytes=memory):
        return _verify(catalog_path(globals_.db), names, jobs, timeout, format_, full=full)


def _verify(
    path: str, names: tuple[str, ...], jobs: int, seconds: float | None, format_: str | None, *, full: bool
) -> int:
    """Verify the blobs and print the problems; return the exit status."""
    wanted = _wanted(path, names)
    show = formats.open_format(format_, COLUMNS, COLUMNS, prose=True)
    with open_writer(path, create=False) as writer:
        with writer.snapshot() as connection:
            stores = [s for s in Registry(connection).stores() if s.state != "missing"]
        if wanted is not None:
            stores = [s for s in stores if s.id in wanted]
        run = Verification(writer, messages.say, jobs=jobs, full=full, seconds=seconds)
        try:
            with (
                interruptible("the verdicts so far are kept, and the next run continues from there"),
                progress(in_bytes=True) as draw,
            ):
                run.run(stores, draw)
        finally:
            order = {store.name: number for number, store in enumerate(stores)}
            for trouble in sorted(run.troubles, key=lambda t: (order[t.store], t.subject)):
                show.row(trouble._asdict().__getitem__)
            show.end()
            output.flush()
    _summarize(run)
    return 1 if run.troubles else 0


def _wanted(path: str, names: tuple[str, ...]) -> frozenset[int] | None:
    """Return the ids of the stores called `names`, or None for all stores."""
    if not names:
        return None
    reader = open_reader(path)
    try:
        return store_ids(reader, names)
    finally:
        reader.close()


def _summarize(run: Verification) -> None:
    """Report how many blobs were read: in a note if some were not, else only with `--verbose` or on a terminal."""
    counts = [f"{run.verified} read"]
    if run.skipped:
        counts.append(f"{run.skipped} skipped, which were good and have not changed since (--full reads them too)")
    if run.unproved:
        counts.append(f"{run.unproved} not checked, since ocicat computes only sha256, sha384 and sha512")
    if run.odd:
        counts.append(f"{run.odd} not read, since they are symbolic links or not regular files")
    if run.gone:
        counts.append(f"{run.gone} deleted in the meantime")
    (messages.note if len(counts) > 1 else messages.detail if messages.volume.verbose else done)(
        "blobs: " + "; ".join(counts)
    )
