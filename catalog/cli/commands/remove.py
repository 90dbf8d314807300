"""`ocicat remove`."""

from __future__ import annotations

import click
from sqlalchemy import Connection

from catalog.cli.arguments import filled, find
from catalog.cli.limits import Limits
from catalog.cli.main import Globals
from catalog.cli.time_limit import writing_limit
from catalog.cli.told import done
from catalog.engine.location import catalog_path
from catalog.engine.open import open_writer
from catalog.ingest.registry import Registry
from catalog.names.sizes import counted


@click.command(name="remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME|PATH...", callback=filled)
@writing_limit("The catalog is then unchanged.")
@click.pass_obj
def command(globals_: Globals, names: tuple[str, ...], timeout: float | None) -> int:
    """Forget each store or root, and its rows in the catalog. The layouts themselves are not touched.

    A removed store below a root is not found again until it is added again.
    """

    def forget(connection: Connection) -> tuple[int, int]:
        registry = Registry(connection)
        forgotten: dict[int, int] = {}
        for text in names:
            roots, stores = find(registry, text)
            above = {root.id for root in roots}
            gone = [*stores, *(store for store in registry.stores() if store.root_id in above)]
            forgotten |= {store.id: store.entries for store in gone}
            for root in roots:
                registry.remove_root(root)
            for store in stores:
                registry.remove_store(store)
        return len(forgotten), sum(forgotten.values())

    limits = Limits(timeout, None, words=", and nothing was removed: allow more with --timeout")
    with limits, open_writer(catalog_path(globals_.db), create=False) as writer:
        stores, entries = writer.write(forget)
    done(f"removed: {counted(stores, 'store')}, {counted(entries, 'entry', 'entries')}; the layouts were not touched")
    return 0
