"""What watchdog's threads leave for the daemon's: places to look at, each once."""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading

from watchdog.events import FileSystemEvent

from catalog.ingest.intake import now_ms
from catalog.watch.observer import OverflowHint, StoreHint, TreeHint


class Wake:
    """Wakes the daemon, from another thread or from a signal handler.

    A threading.Event would not do: a handler runs in the thread that waits, perhaps while that holds the event's own
    lock, and setting it would wait for that lock for ever. A counter of the kernel's has none.
    """

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def set(self) -> None:
        """Let whoever waits, or will wait next, go on."""
        with contextlib.suppress(BlockingIOError):  # set more often than can be counted
            os.eventfd_write(self._descriptor, 1)

    def is_set(self) -> bool:
        """Whether nobody needs to wait."""
        return bool(self._poll.poll(0))

    def wait(self, seconds: float) -> None:
        """Wait until it is set, `seconds` at most."""
        self._poll.poll(max(0, math.ceil(seconds * 1000)))

    def clear(self) -> None:
        """Let the next one wait again."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)


class Hints:
    """What was hinted since the daemon last asked. `last_event` is when the newest hint came, in milliseconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stores: set[str] = set()
        self._trees: set[str] = set()
        self._overflow = False
        self.wake = Wake()
        self.last_event: int | None = None

    def take(self, event: FileSystemEvent) -> None:
        """Note a hint and wake the daemon; called by watchdog."""
        path = os.fsdecode(event.src_path)
        with self._lock:
            if isinstance(event, StoreHint):
                self._stores.add(path)
            elif isinstance(event, TreeHint):
                self._trees.add(path)
            elif isinstance(event, OverflowHint):
                self._overflow = True
            self.last_event = now_ms()
        self.wake.set()

    def look(self, stores: set[str]) -> None:
        """Note stores that nothing told of, but that are to be looked at."""
        with self._lock:
            self._stores |= stores

    def collect(self) -> tuple[set[str], set[str]]:
        """The stores and the trees, since the last time."""
        with self._lock:
            found = self._stores, self._trees
            self._stores, self._trees = set(), set()
        return found

    def peek(self) -> tuple[set[str], set[str]]:
        """The same, which stay."""
        with self._lock:
            return set(self._stores), set(self._trees)

    @property
    def overflow(self) -> bool:
        """Whether events were lost since the last `recovered`."""
        return self._overflow

    def recovered(self) -> bool:
        """Whether events were lost; from now on they were not."""
        with self._lock:
            lost, self._overflow = self._overflow, False
        return lost


def is_below_any(path: str, tops: set[str]) -> bool:
    """Whether `path` is one of `tops` or something in one; costs the depth of `path`, however many there are."""
    if not tops:
        return False
    while path not in tops:
        parent = os.path.dirname(path)
        if parent == path:
            return False
        path = parent
    return True


def is_reached(path: str, roots: set[str]) -> bool:
    """Whether the search for layouts, from one of `roots` on, comes to the directory `path`."""
    if not roots:
        return False
    while path not in roots:
        path, name = os.path.split(path)
        if not name or name == "blobs" or name.startswith("."):
            return False
    return True
