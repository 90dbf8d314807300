"""An event that ocicat makes itself. When it comes, all earlier events have been read: the kernel queues them in order (inotify(7))."""

from __future__ import annotations

import os
import threading

_NAME = "ocicat-marker"


class EventMarker:
    """A file without a name, in memory. Changing its mode makes an event. Watch `path` for IN_ATTRIB.

    At most one event is on its way, so the next one that comes is the one that was sent. `send` and `has_passed` may be called from any
    thread.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create(_NAME, os.MFD_CLOEXEC)
        self.path = b"/proc/self/fd/%d" % self._file
        self._lock = threading.Lock()
        self._sent = self._back = self._lost = 0

    def close(self) -> None:
        """Close the file. After that, no event is sent."""
        with self._lock:
            file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def send(self) -> int | None:
        """Make an event and return its number for `has_passed`. Return None if the previous event is still on its way."""
        with self._lock:
            if self._file < 0 or self._sent != self._back:
                return None
            self._sent += 1
            os.fchmod(self._file, 0o600 | self._sent & 0o100)
            return self._sent

    def came(self) -> None:
        """Record that the event came."""
        with self._lock:
            self._back = self._sent

    def lose(self) -> None:
        """Record that events were lost, so that `has_passed` is False for all numbers until now. The caller has to watch `path` again.

        The event that was on its way may still come or may be lost. So the next one comes from another file, to tell them apart.
        """
        with self._lock:
            self._back = self._lost = self._sent
            if self._file < 0:
                return
            os.close(self._file)
            try:
                self._file = os.memfd_create(_NAME, os.MFD_CLOEXEC)
            except OSError:
                # No descriptor or memory is left. The thread that reads events runs this and has to go on. From then on, renamed
                # files wait for the settling time.
                self._file = -1
            else:
                self.path = b"/proc/self/fd/%d" % self._file

    def has_passed(self, number: int) -> bool:
        """Return whether the event came."""
        return self._lost < number <= self._back
