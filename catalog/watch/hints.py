"""Hints: paths that the observer's threads leave for the daemon to check, without duplicates."""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass

from catalog.ingest.clock import now_ms


@dataclass(frozen=True)
class Hint:
    """Something may have happened at `path`."""

    path: str = ""


class StoreHint(Hint):
    """The layout in the directory `path` may have changed, or one may have appeared there."""


class TreeHint(Hint):
    """Anything at or below `path` may have changed."""


class OverflowHint(Hint):
    """Events were lost: anything may have changed anywhere."""


class Wake:
    """Wakes the daemon from another thread or from a signal handler.

    A threading.Event would not work. A signal handler runs in the waiting thread, perhaps while that holds the event's own
    lock, and setting the event would then wait for that lock forever. The kernel's eventfd has no such lock.
    """

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def set(self) -> None:
        """Wake the waiting thread, or make the next `wait` return at once."""
        with contextlib.suppress(BlockingIOError):  # the counter is full, so it is set anyway
            os.eventfd_write(self._descriptor, 1)

    def is_set(self) -> bool:
        """Return whether `wait` would return at once."""
        return bool(self._poll.poll(0))

    def wait(self, seconds: float) -> None:
        """Wait until `set` is called, but at most `seconds`."""
        self._poll.poll(max(0, math.ceil(seconds * 1000)))

    def clear(self) -> None:
        """Make the next `wait` wait again."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)


class Hints:
    """The hints since the daemon last collected them. `last_event` is the time of the newest, in milliseconds since 1970."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stores: set[str] = set()
        self._trees: set[str] = set()
        self._overflow = False
        self.wake = Wake()
        self.last_event: int | None = None

    def take(self, hint: Hint) -> None:
        """Record a hint and wake the daemon. The observer calls this from its threads."""
        with self._lock:
            if isinstance(hint, StoreHint):
                self._stores.add(hint.path)
            elif isinstance(hint, TreeHint):
                self._trees.add(hint.path)
            elif isinstance(hint, OverflowHint):
                self._overflow = True
            self.last_event = now_ms()
        self.wake.set()

    def look(self, stores: set[str]) -> None:
        """Add stores that have to be checked although there was no event for them."""
        with self._lock:
            self._stores |= stores

    def collect(self) -> tuple[set[str], set[str]]:
        """Return the hinted stores and trees, and forget them."""
        with self._lock:
            found = self._stores, self._trees
            self._stores, self._trees = set(), set()
        return found

    def collect_if(self, is_wanted: Callable[[str], bool]) -> set[str]:
        """Return the hinted stores that are wanted, and forget them. Everything else stays."""
        with self._lock:
            found = {path for path in self._stores if is_wanted(path)}
            self._stores -= found
        return found

    def peek(self) -> tuple[set[str], set[str]]:
        """Return the hinted stores and trees, and keep them."""
        with self._lock:
            return set(self._stores), set(self._trees)

    @property
    def overflow(self) -> bool:
        """Whether events were lost since the last call of `recovered`."""
        return self._overflow

    def recovered(self) -> bool:
        """Return whether events were lost since the last call."""
        with self._lock:
            lost, self._overflow = self._overflow, False
        return lost


def is_below_any(path: str, directories: set[str]) -> bool:
    """Return whether `path` is one of `directories` or below one. The cost depends only on the depth of `path`."""
    if not directories:
        return False
    while path not in directories:
        parent = os.path.dirname(path)
        if parent == path:
            return False
        path = parent
    return True


def is_reached(path: str, roots: set[str]) -> bool:
    """Return whether a search for layouts in one of `roots` reaches the directory `path`."""
    if not roots:
        return False
    while path not in roots:
        path, name = os.path.split(path)
        if not name or name == "blobs" or name.startswith("."):
            return False
    return True
