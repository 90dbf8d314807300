"""Record which machine follows the stores of a host, so that two machines with the same host name do not undo each other's work.

The daemon of a shared catalog records its machine in the table `meta`. A daemon on another machine with the same name refuses to
start. With `--take-over` it starts and replaces the recorded machine, whose daemon ends at its next sweep.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from sqlalchemy import Connection

from catalog.engine.driver import cursor_of, driver_of
from catalog.engine.host import this_host
from catalog.engine.interface import Writer
from catalog.engine.open import displayed
from catalog.errors import CatalogUnavailable
from catalog.names.escape import shown

_VARIABLE = "OCICAT_MACHINE"
_FILE = "/etc/machine-id"
_CONTAINERS = "/run/.containerenv", "/.dockerenv", "/run/systemd/container"
_IN_PODS = "KUBERNETES_SERVICE_HOST"  # Kubernetes sets it in each container; containerd leaves no file of its own.
_APPLICATION = bytes.fromhex("8d1f62b14ac0476f9b6ee3c3a4f0d917")
_KNOWN = "SELECT value FROM meta WHERE key = ?"
_KEEP = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


def machine() -> str | None:
    """Return an identifier of this machine, or None if it has none.

    The source is $OCICAT_MACHINE, else /etc/machine-id. In a container, that file is not used, because it is new each time or comes from
    the image. The result is a hash, because machine-id(5) asks not to expose the id itself.
    """
    found = os.environ.get(_VARIABLE, "") or _machine_id()
    return hmac.new(found.encode(), _APPLICATION, hashlib.sha256).hexdigest() if found else None


def _machine_id() -> str:
    if _IN_PODS in os.environ or any(map(os.path.exists, _CONTAINERS)):
        return ""
    try:
        with open(_FILE, encoding="ascii") as file:
            found = file.read(64).strip()
    except (OSError, ValueError):
        return ""
    return "" if found == "uninitialized" else found


class Claim:
    """The claim of this machine to the host's name in a shared catalog. Nothing is recorded in a catalog that is a file."""

    def __init__(self) -> None:
        self._is_made = False

    def make(self, writer: Writer, *, take_over: bool) -> None:
        """Record this machine as the one that follows the stores of the host.

        Raises CatalogUnavailable if another machine is recorded, except with `take_over`.
        """
        mine = machine()
        if mine is None:
            return
        with writer.snapshot() as connection:
            if not driver_of(connection).is_shared:
                return

        def write(connection: Connection) -> None:
            known = _known(connection)
            if known not in (None, mine) and not take_over:
                raise _taken(writer)
            if known != mine:
                cursor_of(connection).execute(_KEEP, (_key(), mine))

        writer.write(write)
        self._is_made = True

    def check(self, writer: Writer) -> None:
        """Raise CatalogUnavailable if another machine has taken over the name."""
        if not self._is_made:
            return
        with writer.snapshot() as connection:
            known = _known(connection)
        if known is not None and known != machine():
            raise _taken(writer)


def _key() -> str:
    return f"machine of {this_host()}"


def _known(connection: Connection) -> str | None:
    row = cursor_of(connection).execute(_KNOWN, (_key(),)).fetchone()
    return None if row is None else str(row[0])


def _taken(writer: Writer) -> CatalogUnavailable:
    return CatalogUnavailable(
        f"another machine follows the stores of the host {shown(this_host())} in {shown(displayed(writer.path))}: give this one"
        " its own name with OCICAT_HOST, or, if it replaces that machine, run 'ocicat watch --take-over' once"
    )
