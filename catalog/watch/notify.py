"""systemd's notify protocol (sd_notify(3), systemd.service(5)): datagrams of `NAME=value` lines to $NOTIFY_SOCKET.

Without that variable, nothing is sent. Failures are ignored.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

_MICRO = 1_000_000
_STARTING_SECONDS = 60.0
"""The time that each sign of life requests from systemd while the daemon starts or reloads."""


class Notifier:
    """Reports the state of the daemon to the service manager that the variables in `environ` name.

    `interval` is the time between two signs of life, in seconds: half of the manager's watchdog time. It is None without a watchdog.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.interval = _interval(environ) if self._address else None
        self._busy = True  # starting or reloading, until `ready`
        self._status = ""

    def ready(self) -> None:
        """Report that the daemon has started or reloaded."""
        if self._busy:
            self._busy = False
            self._send("READY=1")

    def reloading(self) -> None:
        """Report that the daemon reloads; `ready` reports the end."""
        self._busy = True
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Report that the daemon is about to end."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Report what the daemon is doing, if `text` differs from the last one."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + " ".join(text.split()))

    def alive(self) -> None:
        """Send a sign of life."""
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
            return  # Nobody listens, the queue is full, or there is no descriptor. The next sign of life follows soon.


def _address(given: str) -> str:
    """Return the address of the socket, which is a path or an abstract name, or "" if `given` is neither."""
    if given.startswith("@") and len(given) > 1:
        return "\0" + given[1:]
    return given if given.startswith("/") else ""


def _interval(environ: Mapping[str, str]) -> float | None:
    """Return half of WATCHDOG_USEC in seconds, or None if it is invalid or not meant for this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    given = environ.get("WATCHDOG_USEC", "")
    if not (given.isascii() and given.isdecimal() and int(given) > 0):
        return None
    return int(given) / _MICRO / 2
