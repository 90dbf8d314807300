"""`ocicat index`."""

from __future__ import annotations

import click

from catalog.cli import messages
from catalog.cli.arguments import filled, find
from catalog.cli.config import load
from catalog.cli.limits import Limits
from catalog.cli.main import Globals
from catalog.cli.progress import progress
from catalog.cli.time_limit import writing_limit
from catalog.cli.told import done, interruptible
from catalog.engine.location import catalog_path
from catalog.engine.open import open_writer
from catalog.ingest.clock import now_ms
from catalog.ingest.places import not_there, register_places
from catalog.ingest.registry import Registry
from catalog.ingest.retention import retain
from catalog.ingest.sweep import Sweep
from catalog.names.escape import shown


@click.command(name="index")
@click.argument("names", nargs=-1, metavar="[NAME|PATH]...", callback=filled)
@click.option("--full", is_flag=True, help="Read every index.json, even those that look unchanged.")
@writing_limit("What was read until then is kept, and the next run continues from there.")
@click.pass_obj
def command(globals_: Globals, names: tuple[str, ...], full: bool, timeout: float | None) -> int:
    """Bring the catalog up to date with all roots and stores, or with the given ones.

    Only layouts that changed since the last pass are read; each of the others costs one stat call. The roots and stores that the
    configuration names are registered first.
    """
    configuration = load(globals_.config)
    settings = configuration.settings
    limits = Limits(timeout, None, words=": run 'ocicat index' to continue, or allow more with --timeout")
    with limits, open_writer(catalog_path(globals_.db), create=bool(configuration.places)) as writer:
        for place in register_places(writer, configuration.places):
            messages.say(not_there(place))
        with writer.snapshot() as connection:
            registry = Registry(connection)
            roots, stores = registry.roots(), None
            if names:
                found = [find(registry, text) for text in names]
                roots = [root for some, _ in found for root in some]
                stores = [store for _, some in found for store in some]
                below = {root.id for root in roots}
                stores += [store for store in registry.stores() if store.root_id in below]
        with interruptible("what was read so far is kept, and the next run reads the rest"), progress() as draw:
            summary = Sweep(writer, settings, messages.say, draw).run(roots, stores, full=full)
        for name in retain(writer, settings, now_ms()):
            messages.say(f"{shown(name)}: missing for longer than the grace time, its rows are dropped")
    (messages.detail if messages.volume.verbose else done)(str(summary))
    return 0
