"""An event of our own, which tells that all events before it were read: the kernel queues them in order (inotify(7))."""

from __future__ import annotations

import os
import threading

_NAME = "ocicat-marker"


class EventMarker:
    """A file without a name, in memory, whose mode is changed to make an event. `path` is that to watch for IN_ATTRIB.

    At most one event is on its way, so the next one that comes is the one that was sent. `send` and `passed` may be called from any
    thread.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create(_NAME, os.MFD_CLOEXEC)
        self.path = b"/proc/self/fd/%d" % self._file
        self._lock = threading.Lock()
        self._sent = self._back = self._lost = 0

    def close(self) -> None:
        """Close the file. No event is sent any more."""
        with self._lock:
            file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def send(self) -> int | None:
        """Make an event; return its number for `has_passed`. None if the one before is still on its way."""
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
        """Record that events were lost: what was sent until now tells nothing. The caller has to watch `path` anew.

        The event that was on its way may still come, or never. So the next one comes from another file, and is not taken for it.
        """
        with self._lock:
            self._back = self._lost = self._sent
            if self._file < 0:
                return
            os.close(self._file)
            try:
                self._file = os.memfd_create(_NAME, os.MFD_CLOEXEC)
            except OSError:
                # No descriptor or memory is left. This runs in the thread that reads events, which has to go on; renames then settle.
                self._file = -1
            else:
                self.path = b"/proc/self/fd/%d" % self._file

    def has_passed(self, number: int) -> bool:
        """Return whether the event came."""
        return self._lost < number <= self._back
