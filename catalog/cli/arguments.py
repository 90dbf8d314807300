"""What several commands ask of their arguments."""

from __future__ import annotations

import click

from catalog.errors import UsageError


def filled(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG001
    """Refuse an empty text where a name or a path goes: as a path it would be the working directory.

    It is what a script's unset variable gives, and would add, or remove, what nobody meant.
    """
    if "" in values:
        raise UsageError("an empty text names nothing: write the name of a store or root, or a path")
    return values
