"""Parse the Host header of an HTTP request. A server that checks it is safe from DNS rebinding."""

from __future__ import annotations

import ipaddress
import re

_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/?#@\s]+))(?::[0-9]*)?")


def host_of(text: str) -> str:
    """Return the host in a Host header, in lower case and without the port; "" if invalid (RFC 3986, section 3.2.2)."""
    found = _HOST.fullmatch(text)
    return (found[1] or found[2]).lower() if found else ""


def is_address(host: str) -> bool:
    """Return whether `host` is an IP address, which no name server can redirect."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
