"""Turns: a store with much to read gets its turn after all smaller ones, and the turn is ended when a smaller one has to wait.

One thread reads all stores, and a store is written in one transaction, completely or not at all. An index.json of 64 MiB takes a
second to read, and three quarters of a minute to write if all of it changed. An owner who rewrites it all the time would occupy
the thread. So a turn of more than GRACE_SECONDS can be ended: the transaction is rolled back, the waiting stores are read
first, and the store gets another turn when no smaller one waits. If its file has not changed for its `patience`, it gets a longer
turn; a store that its owner keeps rewriting never gets one. While others wait, a longer turn is ended after LONGEST_SECONDS. Then
the others get several times the duration of that turn, and the next longer turn may take twice as long. So an index.json that takes
minutes to write is eventually written, even if the other stores change all the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from catalog.ingest.store_state import Store

LARGE_BYTES = 1 << 20
"""An index.json with more bytes than this is read in a turn that may be ended. A smaller file takes a tenth of a second."""
LARGE_ENTRIES = 5_000
"""A store with more entries than this is read in such a turn too, because as much may have to be written."""
PAUSE_SECONDS = 0.5
"""The time until the next turn of a store whose turn was ended."""
GRACE_SECONDS = 0.2
"""A turn is not ended before this time. Another store takes about as long to settle and be checked."""
LONGEST_SECONDS = 5.0
"""After this time, the first longer turn of a store is ended if others wait. Each further one may take twice as long."""
LARGE_EVERY_SECONDS = 5.0
"""A large store has a turn this often even if smaller ones wait all the time."""
_MOST_DOUBLED = 10
_PAUSE_SHARE = 5
"""After a longer turn, others get this many times the duration of that turn."""
SLICE_SECONDS = 0.1
"""Work that can be interrupted anywhere gives way to others this often."""

_PATIENCE_SECONDS = 60.0
_PATIENCE_PER_BYTE = 7 / (1 << 20)  # ten times as long as writing takes if all of it changed

_ASK_SECONDS = 0.02

_BEHIND_SECONDS = 2.0
"""A store that is almost large counts as having had its turn this much later than it really had; a smaller one, by a proportionate time."""


class TurnEnded(Exception):
    """The turn of a store was ended early, because smaller stores wait or there is no time left."""


def patience(size: int) -> float:
    """Return the time in seconds for which an index.json of `size` bytes must not change before its store gets a longer turn."""
    return _PATIENCE_SECONDS + _PATIENCE_PER_BYTE * size


def longest(ended: int) -> float:
    """Return the time in seconds that a longer turn may last while others wait, after `ended` longer turns were ended."""
    return LONGEST_SECONDS * 2.0 ** min(ended, _MOST_DOUBLED)


def comes_first(store: Store, *, shares: bool) -> bool:
    """Return whether changes of a store are read before those of others, because it was read before and is small.

    `shares` is True if other stores share the same `index.json` file, so that one write to it changes all of them. Such a store does not
    come first.
    """
    return store.indexed_before and not shares and store.entries <= LARGE_ENTRIES


def had_turn(last: float, share: float) -> float:
    """Return the time at which a store counts as having had its turn. Stores are sorted by it, the earliest first.

    `last` is the time of its last turn, or 0 if it had none. `share` is its size as a share of the limit for large stores. So a store
    that seldom changes does not wait for others that change all the time, and a small store does not wait for those that take long.
    """
    return last + _BEHIND_SECONDS * share


class TurnRules(NamedTuple):
    """The rules for the duration of turns. Times are in seconds.

    - `patience`: the time for which an index.json must not change before its store gets longer turns, by its size in bytes.
    - `longest`: the longest duration of a longer turn while others wait, by the number of the store's longer turns that were ended.
    - `large_every`: the time between two turns of large stores even if smaller stores wait all the time.
    - `pause_share`: after a longer turn, others get this many times the duration of that turn.
    """

    patience: Callable[[int], float] = patience
    longest: Callable[[int], float] = longest
    large_every: float = LARGE_EVERY_SECONDS
    pause_share: float = _PAUSE_SHARE


class Turn:
    """The turn of one store. `ends` is called now and then, and returns whether the turn is over."""

    def __init__(self, ends: Callable[[], bool]) -> None:
        self._ends = ends
        self._next = time.monotonic() + GRACE_SECONDS

    def pause(self) -> None:
        """Call this often during long work. Raises TurnEnded if the turn is over."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _ASK_SECONDS
            if self._ends():
                raise TurnEnded
