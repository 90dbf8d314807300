"""`ocicat watch`."""

from __future__ import annotations

from typing import Any

import click

from catalog.cli.config import load
from catalog.cli.log import Log
from catalog.cli.log_pipe import stderr_without_waiting
from catalog.cli.main import Globals
from catalog.engine.location import catalog_path
from catalog.watch.configuration import JSON, TEXT, Configuration, Configured
from catalog.watch.daemon import Daemon

_SECONDS = click.FloatRange(min=0.05)


@click.command(name="watch")
@click.option("--poll", type=_SECONDS, metavar="SECONDS", help="Look every SECONDS instead of waiting for events.")
@click.option("--rescan", type=_SECONDS, metavar="SECONDS", help="Time between two sweeps. [default: 30]")
@click.option("--metrics", metavar="HOST:PORT", help="Serve metrics for Prometheus there (extra: ocicat[metrics]).")
@click.option(
    "--log-format", type=click.Choice([TEXT, JSON]), help="Say what happens in lines or in JSON. [default: text]"
)
@click.pass_obj
def command(
    globals_: Globals, poll: float | None, rescan: float | None, metrics: str | None, log_format: str | None
) -> int:
    """Follow all stores and roots, in the foreground: one pass, then every change as it happens.

    SIGTERM and SIGINT end it after the transaction at hand; SIGHUP reads the configuration again and looks at everything.
    Options have precedence over the configuration.
    """
    given: dict[str, Any] = {"poll": poll, "rescan": rescan, "metrics": metrics, "log_format": log_format}
    log = Log(json=log_format == JSON)

    def read() -> Configuration:
        found = load(globals_.config)._replace(**{key: value for key, value in given.items() if value is not None})
        log.follow(found.log_format)
        return found

    with stderr_without_waiting(log.lost):
        try:
            return Daemon(catalog_path(globals_.db), Configured(read, log), log).run()
        except Exception as error:  # noqa: BLE001 - in the form that was asked for, whatever it is
            return log.fail(error)
