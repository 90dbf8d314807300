"""`ocicat answer`."""

from __future__ import annotations

import os

import click

from catalog.cli.answerer.listening import Listening, default_socket, is_passed
from catalog.cli.main import Globals
from catalog.cli.whole_numbers import Whole
from catalog.engine.location import catalog_path

_PROCESSES = 4


@click.command(name="answer")
@click.option(
    "--socket", "socket_", metavar="PATH", help="Where to listen. [default: OCICAT_SOCKET, or CATALOG.answer]"
)
@click.option(
    "--processes", type=Whole(min=1, max=64), metavar="N", help="Number of processes that answer. [default: 4]"
)
@click.option("--parent", type=int, hidden=True)
@click.pass_obj
def command(globals_: Globals, socket_: str | None, processes: int | None, parent: int | None) -> int:
    """Answer 'resolve', 'query', 'history', 'find', 'inspect', 'status' and completion for other processes, in the foreground.

    If the native launcher is installed ('ocicat help operations'), these commands ask this process, the answerer of their catalog,
    and print its answer. If it cannot answer at once, they find the answer themselves. It answers every user who may read the
    catalog. SIGTERM ends it.
    """
    catalog = catalog_path(globals_.db)
    path = None
    if socket_ is not None or not is_passed():
        path = os.path.abspath(socket_) if socket_ is not None else default_socket(catalog)
    return Listening(catalog, path, processes=processes or _PROCESSES, parent=parent).run()
