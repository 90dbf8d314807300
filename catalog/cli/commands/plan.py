"""`ocicat plan`: what could be done to layouts. Every plan is printed, and none is carried out."""

from __future__ import annotations

import click

from catalog.cli.commands.plan_copy import copy
from catalog.cli.commands.plan_link import link
from catalog.cli.commands.plan_prune import prune


@click.group(name="plan")
def command() -> None:
    """Plan what could be removed, copied or shared; ocicat itself changes no layout.

    A plan is printed, for you to read or for another program to carry out.
    """


command.add_command(prune)
command.add_command(copy)
command.add_command(link)
