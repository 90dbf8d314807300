"""`ocicat browse`."""

from __future__ import annotations

import importlib.util
import os

import click

from catalog.cli import messages
from catalog.cli.main import Globals
from catalog.cli.time_limit import Seconds
from catalog.cli.whole_numbers import Whole
from catalog.engine.location import catalog_path
from catalog.engine.open import check_is_file, open_reader
from catalog.errors import UsageError

PORT = 8001
TIMEOUT_SECONDS = 10.0


@click.command(name="browse")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Address to listen on.")
@click.option(
    "--port",
    type=Whole(0, 65535),
    default=PORT,
    show_default=True,
    metavar="PORT",
    help="Port to listen on; 0 picks a free one.",
)
@click.option("--open/--no-open", "opens", default=False, help="Open the page in a browser, too. [default: no-open]")
@click.option(
    "--timeout",
    type=Seconds(),
    default=TIMEOUT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long each statement of a page may run.",
)
@click.pass_obj
def command(globals_: Globals, host: str, port: int, opens: bool, timeout: float) -> int:
    """Serve the catalog to a web browser, read-only. Prints the address, and runs until SIGINT or SIGTERM.

    There is no password. On 127.0.0.1, the default address, every user of this machine can read the catalog through it.
    """
    check_is_file(globals_.db or os.environ.get("OCICAT_DB", ""), "browse")
    path = catalog_path(globals_.db)
    open_reader(path).close()
    if importlib.util.find_spec("datasette") is None:
        raise UsageError("browse needs Datasette: pip install 'ocicat[browse]'")
    from catalog.browse import server
    from catalog.reports.workers import Workers
    from catalog.web.listening import is_loopback, listen, url_of

    if not host:
        raise UsageError("--host is empty: give an address, such as --host 127.0.0.1")
    listening = listen(host, port, example="--host 127.0.0.1", advice="give another --port, or 0 for a free one")
    url = url_of(listening, host)
    if not is_loopback(listening):
        messages.say(
            f"warning: anyone who can reach {host} over the network can read the whole catalog: there is no password"
        )
    workers = Workers()
    application = server.application(path, host, timeout, workers, messages.defect)
    server.serve(application, listening, url, workers, _say if opens else None)
    return 0


def _say(found: bool) -> None:
    if not found:
        messages.note("no web browser was found: open the address yourself")
