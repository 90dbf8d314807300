"""`ocicat watch --answer`: the daemon starts an answerer (`ocicat answer`), and restarts it if it ends.

The answerer is a separate process, because an answer must not wait for the interpreter lock of the daemon. Its output on stderr goes
to the daemon's log. If the daemon is killed, the answerer ends by itself within a few seconds.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence

from catalog.ingest.listener import Report
from catalog.ingest.notice import Notice

_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_WELL_SECONDS = 60.0  # an answerer that has run for this long is restarted after the shortest pause
_END_SECONDS = 5.0
_PIECE = 64 << 10
_MOST_UNREAD = 1 << 20
_OF_SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Answering:
    """Keeps an answerer for the catalog at `path` running while it is wanted. `command` starts it.

    `report` receives the lines that it prints, and the reason if it ends.
    """

    def __init__(self, path: str, command: Sequence[str], report: Report) -> None:
        self._path = path
        self._command = command
        self._report = report
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._next = 0.0
        self._pause = _SHORTEST_PAUSE
        self._unread = b""
        self._last = ""

    def look(self, *, wanted: bool) -> None:
        """Start the process if it is wanted and not running, or end it if it is not wanted. The daemon calls this every second."""
        now = time.monotonic()
        if self._process is not None:
            self._read()
            status = self._process.poll()
            if status is not None:
                self._ended(status, now)
        if not wanted:
            self.end()
        elif self._process is None and now >= self._next:
            self._start(now)

    def end(self) -> None:
        """End the process, and wait until it has removed its socket."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._read()
        self._close()
        self._next, self._pause = 0.0, _SHORTEST_PAUSE

    def _start(self, now: float) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in _OF_SYSTEMD}
        environment["OCICAT_DB"] = self._path  # It may contain a password, which must not be a public argument.
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                self._command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                bufsize=0, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._wait(now)
            text = f"cannot start the answerer ({error.strerror}), so questions take longer: trying again in {self._next - now:.0f} s"
            self._report(Notice("answerer-ended", text, error=error.strerror))
            return
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        self._began, self._unread, self._last = now, b"", ""

    def _ended(self, status: int, now: float) -> None:
        self._read()
        self._close()
        if now - self._began >= _WELL_SECONDS:
            self._pause = _SHORTEST_PAUSE
        self._wait(now)
        how = f"signal {-status}" if status < 0 else f"status {status}"
        text = (
            f"the answerer has ended ({how}), so questions take longer: starting it again in {self._next - now:.0f} s"
        )
        self._report(Notice("answerer-ended", text, status=status, error=self._last or None))

    def _wait(self, now: float) -> None:
        self._next = now + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _read(self) -> None:
        """Report the lines that the process has printed."""
        assert self._process is not None
        assert self._process.stderr is not None
        while piece := _piece(self._process.stderr.fileno()):
            *lines, self._unread = (self._unread + piece).split(b"\n")
            self._unread = self._unread[-_MOST_UNREAD:]
            for line in lines:
                self._last = line.decode("utf-8", "replace").removeprefix("ocicat: ")
                self._report(Notice("answerer", f"answerer: {self._last}", pid=self._process.pid))

    def _close(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._process = None


def _piece(descriptor: int) -> bytes:
    """Return the bytes that can be read without waiting, or b"" if there are none yet, or at the end."""
    try:
        return os.read(descriptor, _PIECE)
    except BlockingIOError:
        return b""
