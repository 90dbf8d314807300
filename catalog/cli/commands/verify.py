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
from catalog.engine.location import catalog_path
from catalog.engine.open import open_reader, open_writer
from catalog.ingest.registry import Registry
from catalog.ingest.verify import Verification
from catalog.lookup.stores import store_ids

_MOST_JOBS = 256
_THREAD_BYTES = 80 << 20
"""How much address space a thread takes, of which it uses little: its stack, and a heap."""
_GRACE_SECONDS = 5.0
"""So long after its time limit a run may record what it has verified."""


@click.command(name="verify")
@click.argument("names", nargs=-1, metavar="[STORE]...")
@click.option(
    "--jobs", type=click.IntRange(1, _MOST_JOBS), metavar="N", help="Files read at a time. [default: one a processor]"
)
@click.option("--full", is_flag=True, help="Read what was verified before too, though it is unchanged.")
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
    """Read every blob of all stores, or of these, and compare its digest; list those that are not good.

    A blob that was good the last time and is unchanged since is skipped. Ends with status 1 where one is not good
    ('ocicat help problems'). What was verified is kept, though it is interrupted, or ends at its time limit.
    """
    jobs = jobs or os.cpu_count() or 1
    late = None if timeout is None else timeout + _GRACE_SECONDS
    memory = MEMORY_BYTES + jobs * _THREAD_BYTES
    with Limits(None, late, words=": a file or the catalog does not answer", memory_bytes=memory):
        return _verify(catalog_path(globals_.db), names, jobs, timeout, format_, full=full)


def _verify(
    path: str, names: tuple[str, ...], jobs: int, seconds: float | None, format_: str | None, *, full: bool
) -> int:
    """Verify, and print what is not good; returns the exit status."""
    wanted = _wanted(path, names)
    show = formats.open_format(format_, COLUMNS, COLUMNS, prose=True)
    with open_writer(path, create=False) as writer:
        with writer.snapshot() as connection:
            stores = [s for s in Registry(connection).stores() if s.state != "missing"]
        if wanted is not None:
            stores = [s for s in stores if s.id in wanted]
        run = Verification(writer, messages.say, jobs=jobs, full=full, seconds=seconds)
        try:
            with progress(in_bytes=True) as draw:
                run.run(stores, draw)
        finally:
            order = {store.name: number for number, store in enumerate(stores)}
            for trouble in sorted(run.troubles, key=lambda t: (order[t.store], t.subject)):
                show.row(trouble._asdict().__getitem__)
            show.end()
            output.flush()
    _tell(run)
    return 1 if run.troubles else 0


def _wanted(path: str, names: tuple[str, ...]) -> frozenset[int] | None:
    """The ids of the stores that are named; None for all."""
    if not names:
        return None
    reader = open_reader(path)
    try:
        return store_ids(reader, names)
    finally:
        reader.close()


def _tell(run: Verification) -> None:
    """Say what was done: at once where something was left out."""
    counts = [f"{run.verified} read"]
    if run.skipped:
        counts.append(f"{run.skipped} skipped, which were good and are unchanged since (--full reads them too)")
    if run.unproved:
        counts.append(f"{run.unproved} cannot be proved, since only sha256, sha384 and sha512 can")
    if run.odd:
        counts.append(f"{run.odd} not read, since they are symbolic links or no regular files")
    if run.gone:
        counts.append(f"{run.gone} gone meanwhile")
    (messages.note if len(counts) > 1 else messages.detail)("blobs: " + "; ".join(counts))
