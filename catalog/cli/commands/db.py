"""`ocicat db`: the database itself."""

from __future__ import annotations

import os
import sys

import click

from catalog.cli import formats
from catalog.cli.main import Globals
from catalog.db.engine import open_writer
from catalog.db.location import catalog_path
from catalog.db.postgres import displayed
from catalog.errors import CatalogUnavailable
from catalog.lookup.reader import open_reader
from catalog.names.escape import escape, shown


@click.group(name="db", context_settings={"help_option_names": ["--help"]})
def command() -> None:
    """Look after the database itself."""


@command.command()
@click.pass_obj
def path(globals_: Globals) -> int:
    """Print where the catalog is, or would be made."""
    found = displayed(catalog_path(globals_.db))
    if sys.stdout.isatty():
        formats.write(f"{escape(found)}\n")
    else:
        formats.write_bytes(os.fsencode(found) + b"\n")  # for a program: the path itself, whatever is in it
    return 0


@command.command()
@click.pass_obj
def upgrade(globals_: Globals) -> int:
    """Make the catalog, or bring it to this version's schema."""
    with open_writer(catalog_path(globals_.db), upgrade=True):
        return 0


@command.command()
@click.pass_obj
def check(globals_: Globals) -> int:
    """Look through the whole database for damage; prints what is found, and then ends with status 4."""
    reader = open_reader(catalog_path(globals_.db))
    try:
        found = reader.damage()
        for line in found:
            formats.write(f"{shown(line, 500)}\n")
    finally:
        reader.close()
    if found:
        raise CatalogUnavailable(f"{shown(displayed(reader.path))} is damaged: move it away and run 'ocicat add' again")
    return 0


@command.command()
@click.pass_obj
def vacuum(globals_: Globals) -> int:
    """Rebuild the file without the room that removed rows left."""
    with open_writer(catalog_path(globals_.db), create=False) as writer:
        writer.vacuum()
    return 0


@command.command()
@click.option("--to", "url", required=True, metavar="URL", help="Where to.")
def copy(url: str) -> int:  # noqa: ARG001 - it may hold a password: never repeated
    """Copy the catalog into PostgreSQL: not in this version."""
    raise CatalogUnavailable("--to cannot be served: this version keeps the catalog in SQLite alone")
