"""The name of this machine in a shared catalog."""

from __future__ import annotations

import os

from catalog.names.paths import checked_name


def this_host() -> str:
    """Return OCICAT_HOST, or else the host name of the system.

    Raises UsageError for a name that cannot be the host in HOST:STORE.
    """
    return checked_name(os.environ.get("OCICAT_HOST") or os.uname().nodename)
