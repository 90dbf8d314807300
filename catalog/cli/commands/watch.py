"""`ocicat watch`."""

from __future__ import annotations

import os
from typing import Any

import click

from catalog.cli.answerer.listening import default_socket
from catalog.cli.config import load
from catalog.cli.log import Log
from catalog.cli.log_pipe import stderr_without_waiting
from catalog.cli.main import Globals
from catalog.cli.time_limit import Interval
from catalog.engine.location import catalog_path
from catalog.ingest.notice import LEVELS
from catalog.own_program import own_program
from catalog.watch.answering import Answering
from catalog.watch.configuration import FORMATS, Configuration, Configured
from catalog.watch.daemon import Daemon

_SECONDS = Interval()


@click.command(name="watch")
@click.option(
    "--poll", type=_SECONDS, metavar="SECONDS", help="Look at the layouts every SECONDS instead of waiting for events."
)
@click.option(
    "--rescan",
    type=_SECONDS,
    metavar="SECONDS",
    help="Also look at everything every SECONDS, to find changes for which no event came. [default: 30]",
)
@click.option(
    "--metrics", metavar="HOST:PORT", help="Serve metrics for Prometheus at this address (needs ocicat[metrics])."
)
@click.option(
    "--answer",
    is_flag=True,
    help="Also keep 'ocicat answer' running: with the native launcher, an answer takes a millisecond ('ocicat help operations').",
)
@click.option("--log-format", type=click.Choice(FORMATS), help="Log lines of text, or JSON objects. [default: text]")
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    help="Log only messages of this level or above. -v is short for debug, -q for warning. [default: info]",
)
@click.option(
    "--take-over",
    is_flag=True,
    help="In a shared catalog, let this machine take the place of the one that was this host until now. Needed only once.",
)
@click.pass_obj
def command(
    globals_: Globals,
    poll: float | None,
    rescan: float | None,
    metrics: str | None,
    answer: bool,
    log_format: str | None,
    log_level: str | None,
    *,
    take_over: bool,
) -> int:
    """Run the daemon in the foreground: make one pass over all stores and roots, then follow every change.

    SIGTERM and SIGINT end it after the current transaction. SIGHUP makes it read the configuration again and look at
    everything. Options take precedence over the configuration.
    """
    given: dict[str, Any] = {"poll": poll, "rescan": rescan, "metrics": metrics, "log_format": log_format}
    given["answer"] = answer or None
    log = Log(log_format, log_level)

    def read() -> Configuration:
        found = load(globals_.config)._replace(**{key: value for key, value in given.items() if value is not None})
        log.follow(found)
        return found

    with stderr_without_waiting(log.lost):
        try:
            catalog = catalog_path(globals_.db)
            configured = Configured(read, log)
            if configured.now.answer:
                default_socket(catalog)  # raises UsageError if there is no place for the socket
            answering = Answering(catalog, own_program(["answer", "--parent", str(os.getpid())]), log)
            return Daemon(catalog, configured, log, answering, take_over=take_over).run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is logged in the requested format
            return log.fail(error)
