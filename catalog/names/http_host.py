"""Who an HTTP request asks for: the Host header, which a web page from elsewhere cannot choose (DNS rebinding)."""

from __future__ import annotations

import ipaddress
import re

_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/?#@\s]+))(?::[0-9]*)?")


def host_of(text: str) -> str:
    """Return the host of a Host header, without its port and in lower case; "" if it is no host (RFC 3986, section 3.2.2)."""
    found = _HOST.fullmatch(text)
    return (found[1] or found[2]).lower() if found else ""


def is_address(host: str) -> bool:
    """Return whether `host` is an IP address, which no name server had a say in."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
