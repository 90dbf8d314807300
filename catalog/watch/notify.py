"""systemd's notify protocol (sd_notify(3), systemd.service(5)): a datagram of `NAME=value` lines to $NOTIFY_SOCKET.

Nothing happens where nobody asked for it, and nothing that goes wrong here is ever the daemon's trouble.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

_MICRO = 1_000_000
_STARTING_SECONDS = 60.0
"""So much more time systemd is asked for with each sign of life before the daemon is ready, and while it reads anew."""


class Notifier:
    """Tells whoever started this process, by the variables in `environ`, how it is.

    `interval` is how often it has to hear that the daemon lives, in seconds: half of what it waits; None: it does not wait.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.interval = _interval(environ) if self._address else None
        self._busy = True  # starting or reading anew: ready is what it waits for
        self._status = ""

    def ready(self) -> None:
        """The daemon is up, or has done what it was told to do anew."""
        if self._busy:
            self._busy = False
            self._send("READY=1")

    def reloading(self) -> None:
        """The daemon reads its configuration again, and says `ready` when that is done."""
        self._busy = True
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The daemon is about to end."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Say in a line what the daemon does; sent where it differs from the last one."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + " ".join(text.split()))

    def alive(self) -> None:
        """The daemon's loop goes round."""
        lines = []
        if self.interval is not None:
            lines.append("WATCHDOG=1")
        if self._busy:
            lines.append(f"EXTEND_TIMEOUT_USEC={int(max(_STARTING_SECONDS, 4 * (self.interval or 0)) * _MICRO)}")
        if lines:
            self._send(*lines)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as to:
                to.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except (OSError, ValueError):
            return  # nobody listens, the queue is full, no descriptor is left: another sign of life follows


def _address(given: str) -> str:
    """The socket's address: a path, or a name of the abstract kind; empty where there is none of these."""
    if given.startswith("@") and len(given) > 1:
        return "\0" + given[1:]
    return given if given.startswith("/") else ""


def _interval(environ: Mapping[str, str]) -> float | None:
    """Half of WATCHDOG_USEC in seconds, where that is meant for this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    given = environ.get("WATCHDOG_USEC", "")
    if not (given.isascii() and given.isdecimal() and int(given) > 0):
        return None
    return int(given) / _MICRO / 2
