"""`ocicat watch`."""

from __future__ import annotations

import click

from catalog.cli import messages
from catalog.cli.config import load_settings
from catalog.cli.main import Globals
from catalog.db.location import catalog_path
from catalog.errors import CatalogUnavailable
from catalog.watch.daemon import RESCAN_SECONDS, Daemon

_SECONDS = click.FloatRange(min=0.05)


@click.command(name="watch")
@click.option("--poll", type=_SECONDS, metavar="SECONDS", help="Look every SECONDS instead of waiting for events.")
@click.option(
    "--rescan", type=_SECONDS, default=RESCAN_SECONDS, metavar="SECONDS", help="Time between two sweeps. [default: 30]"
)
@click.option("--metrics", metavar="HOST:PORT", hidden=True)
@click.pass_obj
def command(globals_: Globals, poll: float | None, rescan: float, metrics: str | None) -> int:
    """Follow all stores and roots, in the foreground: one pass, then every change as it happens.

    SIGTERM and SIGINT end it after the transaction at hand; SIGHUP looks at everything at once.
    """
    if metrics is not None:
        raise CatalogUnavailable(
            "--metrics cannot be served: this version has no metrics; 'ocicat status' tells the most of it"
        )
    settings = load_settings(globals_.config)
    return Daemon(catalog_path(globals_.db), settings, messages.say, rescan=rescan, poll=poll).run()
