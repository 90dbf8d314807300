"""Parse the Host header of an HTTP request, which a server checks against DNS rebinding, and the address to listen at."""

from __future__ import annotations

import ipaddress
import re

from catalog.errors import UsageError
from catalog.names.escape import shown

LOOPBACK = "127.0.0.1"
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/?#@\s]+))(?::[0-9]*)?")


def host_of(text: str) -> str:
    """Return the host in a Host header, in lower case and without the port, or "" if invalid (RFC 3986, section 3.2.2)."""
    found = _HOST.fullmatch(text)
    return (found[1] or found[2]).lower() if found else ""


def is_address(host: str) -> bool:
    """Return whether `host` is an IP address, which no name server can redirect."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def parse_address(text: str, example: int) -> tuple[str, int]:
    """Return the host and the port of `HOST:PORT`, `[ADDRESS]:PORT`, or `PORT` alone, which means loopback.

    Raises UsageError for any other `text`. The message shows an address with the port `example`.
    """
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        port = ""
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 1 << 16):
        raise UsageError(f"{shown(text)} is not an address to listen at: write HOST:PORT, such as {LOOPBACK}:{example}")
    return host or LOOPBACK, int(port)
