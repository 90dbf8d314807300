"""Who may send requests: checks against web pages of other sites.

A web page of another site can make its visitors' browsers send requests here. With DNS rebinding, where its own host name
resolves to this machine, it could read the responses, too. It cannot change the Host header, which contains its own name, so
a request is accepted only if its Host is an address, `localhost`, or a name that the operator gave. Without rebinding, the
page cannot read the responses, but its requests would still cost work. Browsers say where a request comes from in headers
that a page cannot set. Other programs do not send these headers, and are not a page of another site.
"""

from __future__ import annotations

import functools
from collections.abc import Container

from catalog.names.http_host import host_of, is_address
from catalog.web.asgi import Scope, values


def names_this_server(scope: Scope, names: Container[str]) -> bool:
    """Return whether the one Host header of a request is an address or one of `names`, which are in lower case."""
    hosts = values(scope, b"host")
    if len(hosts) != 1:
        return False
    host, is_anywhere = _parsed(hosts[0])
    return is_anywhere or host in names


@functools.lru_cache(maxsize=256)
def _parsed(header: bytes) -> tuple[str, bool]:
    """Return the host in a Host header, and whether it is an address. Clients send the same header with each request."""
    host = host_of(header.decode("latin-1"))
    return host, is_address(host)


def is_of_this_site(scope: Scope) -> bool:
    """Return whether a request comes from a page of this server, or from no page."""
    if any(site not in (b"same-origin", b"none") for site in values(scope, b"sec-fetch-site")):
        return False
    origins = values(scope, b"origin")  # for browsers without Sec-Fetch-Site, and requests that are not a navigation
    hosts = values(scope, b"host")
    return all(origin.partition(b"://")[2] in hosts for origin in origins)
