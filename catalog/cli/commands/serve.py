"""`ocicat serve`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import click

from catalog.cli import messages
from catalog.cli.main import Globals
from catalog.cli.openapi import document
from catalog.cli.stated import status_object
from catalog.cli.time_limit import Seconds
from catalog.engine.interface import Reader
from catalog.engine.location import catalog_path
from catalog.engine.open import open_reader
from catalog.errors import UsageError
from catalog.names.escape import shown
from catalog.names.http_host import host_of, parse_address
from catalog.serve.naming import Asked

LISTEN = "127.0.0.1:5000"
TIMEOUT_SECONDS = 10.0
_NEEDED = ("uvicorn", "uvloop", "httptools")


@click.command(name="serve")
@click.option(
    "--listen",
    "address",
    metavar="HOST:PORT",
    help=f"Address to listen on; port 0 picks a free one. [default: {LISTEN}]",
)
@click.option("--socket", "socket_path", metavar="PATH", help="Listen at this Unix socket instead.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A host name by which clients address this server, besides IP addresses and localhost. Repeatable.",
)
@click.option(
    "--store", "stores", multiple=True, metavar="S", help="Serve only this store: a name or a glob. Repeatable."
)
@click.option(
    "--ambiguous",
    type=click.Choice(("refuse", "skip", "first")),
    default="refuse",
    show_default=True,
    help="What to answer for a tag that stores resolve differently: 409, 404, or what the first store has.",
)
@click.option("--strict", is_flag=True, help="Do not serve the last known entries of a store that cannot be read.")
@click.option(
    "--fresh", is_flag=True, help="Bring the catalog up to date with the layouts before each tag is looked up."
)
@click.option("--tls-cert", metavar="FILE", help="Serve TLS with this certificate (PEM).")
@click.option("--tls-key", metavar="FILE", help="The key of that certificate (PEM).")
@click.option(
    "--timeout",
    type=Seconds(),
    default=TIMEOUT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long a query of the catalog may take.",
)
@click.pass_obj
def command(
    globals_: Globals,
    address: str | None,
    socket_path: str | None,
    hosts: tuple[str, ...],
    stores: tuple[str, ...],
    ambiguous: str,
    strict: bool,
    fresh: bool,
    tls_cert: str | None,
    tls_key: str | None,
    timeout: float,
) -> int:
    """Serve all layouts as a read-only registry, from which docker, containerd, podman and skopeo pull.

    Prints the address, and runs until SIGINT or SIGTERM. There is no password. On 127.0.0.1, the default address, every
    user of this machine can read all images through it.
    """
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together: give both, or none")
    if address is not None and socket_path is not None:
        raise UsageError("--listen and --socket exclude each other: give one of them")
    path = catalog_path(globals_.db)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"serve needs {', '.join(missing)}: pip install 'ocicat[serve]'")
    from catalog.serve import server
    from catalog.serve.finding import Serving
    from catalog.web.listening import is_loopback, listen, url_of

    rules = Serving(stores, strict, ambiguous)
    reader = open_reader(path)
    try:
        rules.scope(reader)  # reports an unknown store now, not at the first request
    finally:
        reader.close()
    listening = server.passed_sockets()
    lines: list[str] = []
    names = {"localhost", *(_host_name(each) for each in hosts)}
    if socket_path is not None:
        listening = [server.listen_at(socket_path)]
        lines.append(f"unix:{shown(socket_path)}")
    elif address is not None or not listening:
        host, port = parse_address(address or LISTEN, 5000)
        names.add(host.lower())
        listening = [
            listen(host, port, example=f"--listen {LISTEN}", advice="give another --listen, or port 0 for a free one")
        ]
        lines.append(url_of(listening[0], host, "http" if tls_cert is None else "https"))
    if not all(map(is_loopback, listening)):
        messages.say(
            "warning: anyone who can reach this server over the network can read all images: there is no password"
        )
    given = server.Given(
        path, rules, timeout, frozenset(names), status_object, document(), messages.defect,
        _freshen(globals_.config, stores) if fresh else None,
        None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
    )  # fmt: skip
    server.serve(given, listening, lines)
    return 0


def _host_name(text: str) -> str:
    found = host_of(text)
    if not found:
        raise UsageError(f"--host {shown(text)} is not a host name: give it without a scheme or path")
    return found


def _freshen(config: str | None, stores: tuple[str, ...]) -> Callable[[Reader, Asked, str], None]:
    """Return a function that brings the catalog up to date for a tag. Raises UsageError if the configuration is wrong."""
    from catalog.cli.config import load_followed
    from catalog.ingest.fresh import make_fresh

    settings, places = load_followed(config)

    def freshen(reader: Reader, asked: Asked, tag: str) -> None:
        make_fresh(reader, [asked.tagged(tag)], stores, settings, places=places)

    return freshen
