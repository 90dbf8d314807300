"""The socket on which a server listens. It listens before its address is printed, so that a reader of the address can connect."""

from __future__ import annotations

import os
import socket

from catalog.errors import CatalogUnavailable, UsageError
from catalog.names.escape import shown
from catalog.names.http_host import is_address

_BACKLOG = 128


def listen(host: str, port: int, *, example: str, advice: str) -> socket.socket:
    """Return a listening socket. Raises UsageError for an invalid host, and CatalogUnavailable if it cannot listen there.

    `example` and `advice` end the messages of these errors: an option that is valid, and what else to give.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"cannot listen on the host {shown(host)}: give an address, such as {example}") from error
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CatalogUnavailable(f"cannot listen on {shown(host)} port {port} ({reason}): {advice}") from error
    return listening


def is_loopback(listening: socket.socket) -> bool:
    """Return whether only this machine can reach the socket."""
    if listening.family == socket.AF_UNIX:
        return True
    host = str(listening.getsockname()[0])
    return host == "::1" or host.startswith("127.")


def url_of(listening: socket.socket, host: str, scheme: str = "http") -> str:
    """Return the URL of the first page. If the socket listens on all addresses, it has the address of the loopback interface."""
    bound, port = listening.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, bound) if is_address(host) or not host else host  # noqa: S104
    return f"{scheme}://[{name}]:{port}/" if ":" in name else f"{scheme}://{name}:{port}/"
