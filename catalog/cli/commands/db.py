"""`ocicat db`: the database itself."""

from __future__ import annotations

import os
import sys

import click

from catalog.cli import messages, output
from catalog.cli.limits import LIST_SECONDS, UNLIMITED_BYTES, Limits
from catalog.cli.main import Globals
from catalog.cli.progress import progress
from catalog.cli.time_limit import time_limit, writing_limit
from catalog.engine.location import catalog_path
from catalog.engine.open import check_copied, displayed, open_writer
from catalog.errors import CatalogUnavailable
from catalog.names.escape import escape, shown
from catalog.names.sizes import counted

_AS_IT_WAS = ", and the catalog is unchanged: allow more with --timeout"


@click.group(name="db")
def command() -> None:
    """Maintain the database itself."""


@command.command()
@click.pass_obj
def path(globals_: Globals) -> int:
    """Print where the catalog is, or where it would be created."""
    found = displayed(catalog_path(globals_.db))
    if sys.stdout.isatty():
        output.write(f"{escape(found)}\n")
    else:
        output.write_bytes(os.fsencode(found) + b"\n")  # a program gets the path itself, unescaped
    return 0


@command.command()
@writing_limit("The catalog is then unchanged.")
@click.pass_obj
def upgrade(globals_: Globals, timeout: float | None) -> int:
    """Create the catalog, or upgrade it to the schema of this version."""
    limits = Limits(timeout, None, words=_AS_IT_WAS, memory_bytes=UNLIMITED_BYTES)
    with limits, open_writer(catalog_path(globals_.db), upgrade=True):
        return 0


@command.command(short_help="Search the whole database for damage.")
@time_limit(LIST_SECONDS)
@click.pass_obj
def check(globals_: Globals, timeout: float | None) -> int:
    """Search the whole database for damage. If there is any, print it and exit with status 4."""
    with Limits(timeout, LIST_SECONDS, words=": allow more with --timeout") as limits:
        reader = limits.open_reader(catalog_path(globals_.db))
        try:
            found = reader.damage()
            for line in found:
                output.write(f"{shown(line, 500)}\n")
        finally:
            reader.close()
    if found:
        raise CatalogUnavailable(f"{shown(displayed(reader.path))} is damaged: move it away and run 'ocicat add' again")
    return 0


@command.command(short_help="Rebuild the file without unused space.")
@writing_limit("The catalog is then unchanged.")
@click.pass_obj
def vacuum(globals_: Globals, timeout: float | None) -> int:
    """Rebuild the database file without the space that removed rows have left."""
    limits = Limits(timeout, None, words=_AS_IT_WAS, memory_bytes=UNLIMITED_BYTES)
    with limits, open_writer(catalog_path(globals_.db), create=False) as writer:
        writer.vacuum()
    return 0


@command.command(short_help="Copy the catalog from its file into PostgreSQL.")
@click.option("--to", "url", required=True, metavar="URL", help="The catalog to copy into: postgresql+psycopg://...")
@time_limit(None)
@click.pass_obj
def copy(globals_: Globals, url: str, timeout: float | None) -> int:
    """Copy the catalog, including its history, from its file into one on PostgreSQL ('ocicat help postgres').

    Create that catalog first, with 'ocicat --db URL db upgrade'. The stores become those of this host. Either everything
    is copied or nothing is, and the file does not change.
    """
    source = catalog_path(globals_.db)
    check_copied(source, url)
    from catalog.cli.told import done, interruptible
    from catalog.engine.copy import copy as copied

    with (
        Limits(timeout, None, words=", and nothing was copied: allow more with --timeout"),
        open_writer(source, create=False) as old,
        open_writer(catalog_path(url)) as new,
        interruptible("nothing was copied"),
        progress() as draw,
    ):
        rows = copied(old, new, draw, timeout)
    (messages.detail if messages.volume.verbose else done)(
        f"{counted(rows, 'row')} copied to {shown(displayed(new.path))}"
    )
    return 0
