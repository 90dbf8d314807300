"""How commands check and look up names and paths in their arguments."""

from __future__ import annotations

import click

from catalog.errors import UsageError
from catalog.ingest.registry import Registry, Root
from catalog.ingest.store_state import Store


def filled(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG001 - click passes all three
    """Return `values`. Raises UsageError if a name or path is empty.

    A script passes an empty argument when a variable is not set. As a path it would mean the working directory, so the command would
    add or remove something that nobody meant.
    """
    if "" in values:
        raise UsageError("an argument is empty: write the name of a store or root, or a path")
    return values


def find(registry: Registry, text: str) -> tuple[list[Root], list[Store]]:
    """Return the root or store with the name `text`, or else the roots and stores at that path. Raises UnknownStore if there is none.

    A name takes precedence, so that a directory with the same name in the working directory makes no difference.
    """
    roots = [root for root in registry.roots() if root.name == text]
    stores = [] if roots else [store for store in registry.stores() if store.name == text]
    return (roots, stores) if roots or stores else registry.find(text)
