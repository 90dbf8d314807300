"""`ocicat version`."""

from __future__ import annotations

import click

from catalog._version import __version__
from catalog.cli import formats, output

COLUMNS = ("version",)


@click.command(name="version")
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
def command(format_: str | None) -> int:
    """Print the version, as 'ocicat --version' does."""
    if format_ is None:
        output.write(f"ocicat {__version__}\n")
        return 0
    show = formats.open_format(format_, COLUMNS, COLUMNS)
    show.row({"version": __version__}.__getitem__)
    show.end()
    return 0
