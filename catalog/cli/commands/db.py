"""`ocicat db`: the database itself."""

from __future__ import annotations

import os
import sys

import click

from catalog.cli import formats
from catalog.cli.main import Globals
from catalog.db.engine import Writer
from catalog.db.location import catalog_path
from catalog.errors import CatalogUnavailable
from catalog.lookup.reader import Reader
from catalog.names.escape import escape, shown


@click.group(name="db", context_settings={"help_option_names": ["--help"]})
def command() -> None:
    """Look after the database itself."""


@command.command()
@click.pass_obj
def path(globals_: Globals) -> int:
    """Print where the catalog is, or would be made."""
    found = catalog_path(globals_.db)
    if sys.stdout.isatty():
        formats.write(f"{escape(found)}\n")
    else:
        formats.write_bytes(os.fsencode(found) + b"\n")  # for a program: the path itself, whatever is in it
    return 0


@command.command()
@click.pass_obj
def upgrade(globals_: Globals) -> int:
    """Make the catalog, or bring it to this version's schema."""
    with Writer(catalog_path(globals_.db)):
        return 0


@command.command()
@click.pass_obj
def check(globals_: Globals) -> int:
    """Look through the whole database for damage; prints what is found, and then ends with status 4."""
    reader = Reader(catalog_path(globals_.db))
    try:
        found = [str(row[0]) for row in reader.rows("PRAGMA integrity_check", {})]
        found = [] if found == ["ok"] else found
        found += [f"row {row[1]} of {row[0]} lacks its {row[2]}" for row in reader.rows("PRAGMA foreign_key_check", {})]
        for line in found:
            formats.write(f"{shown(line, 500)}\n")
    finally:
        reader.close()
    if found:
        raise CatalogUnavailable(f"{shown(reader.path)} is damaged: move it away and run 'ocicat add' again")
    return 0


@command.command()
@click.pass_obj
def vacuum(globals_: Globals) -> int:
    """Rebuild the file without the room that removed rows left."""
    with Writer(catalog_path(globals_.db), create=False) as writer:
        writer.vacuum()
    return 0


@command.command()
@click.option("--to", "url", required=True, metavar="URL", help="Where to.")
def copy(url: str) -> int:  # noqa: ARG001 - it may hold a password: never repeated
    """Copy the catalog into PostgreSQL: not in this version."""
    raise CatalogUnavailable("--to cannot be served: this version keeps the catalog in SQLite alone")
