"""What several commands ask of their arguments."""

from __future__ import annotations

import click

from catalog.errors import UsageError
from catalog.ingest.registry import Registry, Root
from catalog.ingest.store_state import Store


def filled(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG001 - click calls it so
    """Refuse an empty text where a name or a path goes: as a path it would be the working directory.

    It is what a script's unset variable gives, and would add, or remove, what nobody meant.
    """
    if "" in values:
        raise UsageError("an empty text names nothing: write the name of a store or root, or a path")
    return values


def find(registry: Registry, text: str) -> tuple[list[Root], list[Store]]:
    """The root, or the store, of that name, else at that path; raises UnknownStore.

    A name comes first: what a directory in the working directory happens to be called must not add to what is meant.
    """
    roots = [root for root in registry.roots() if root.name == text]
    stores = [] if roots else [store for store in registry.stores() if store.name == text]
    return (roots, stores) if roots or stores else registry.find(text)
