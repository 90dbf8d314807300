"""`ocicat completion`."""

from __future__ import annotations

import click

from catalog.cli import output
from catalog.cli.scripts import SCRIPTS
from catalog.errors import UsageError


@click.command(name="completion")
@click.argument("shell", type=click.Choice(tuple(SCRIPTS)), required=False, metavar="bash|zsh|fish")
def command(shell: str | None) -> int:
    """Print a script that lets a shell complete ocicat's command line ('ocicat help completion')."""
    if shell is None:  # click's own message has several lines
        raise UsageError("which shell? write 'ocicat completion bash', zsh or fish")
    output.write(SCRIPTS[shell])
    return 0
