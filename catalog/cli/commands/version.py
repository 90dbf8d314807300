"""`ocicat version`."""

from __future__ import annotations

import click

from catalog._version import __version__
from catalog.cli import output


@click.command(name="version")
def command() -> int:
    """Print the version, as 'ocicat --version' does."""
    output.write(f"ocicat {__version__}\n")
    return 0
