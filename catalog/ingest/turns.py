"""Turns: a store with much to read gets its turn after all smaller ones, and it ends where one of those comes to wait.

One thread reads every store, and one transaction holds what a store says, whole or not at all. A list of 64 MiB takes a
second to read, and three quarters of a minute to write where all of it changed; an owner who rewrites it all the time would
keep the thread to himself. So a turn of more than GRACE_SECONDS can be ended: what was written of the store is undone, what
waits is taken first, and the store has another turn when nobody smaller waits. One whose file has stood still for its
`patience` has a longer turn, of LONGEST_SECONDS at most: a store that its owner rewrites all the time never has one. What
takes even longer is taken when the others are quiet for that long, or by `ocicat index`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LARGE_BYTES = 1 << 20
"""An index.json of more bytes is read in a turn that may be ended: a smaller one takes a tenth of a second."""
LARGE_ENTRIES = 5_000
"""A store that had so many entries may be as much to write."""
PAUSE_SECONDS = 0.5
"""To the next turn of a store whose turn was ended."""
GRACE_SECONDS = 0.3
"""A turn is not ended before: no longer than a file of another store takes to stand still, and look at."""
LONGEST_SECONDS = 5.0
"""A turn is ended after that in any case, where others wait."""
SLICE_SECONDS = 0.1
"""Work that can stop anywhere lets others have a look so often."""

_PATIENCE_SECONDS = 60.0
_PATIENCE_A_BYTE = 7 / (1 << 20)  # ten times what writing takes where all of it changed

_ASK_SECONDS = 0.02


class TurnEnded(Exception):
    """A store's turn is over before it came to its end: smaller ones wait, or there is no time left."""


def patience(size: int) -> float:
    """After how many seconds a store has a longer turn, whose index.json has `size` bytes."""
    return _PATIENCE_SECONDS + _PATIENCE_A_BYTE * size


class Turn:
    """One store's turn: `ends` is asked now and then whether it is over."""

    def __init__(self, ends: Callable[[], bool]) -> None:
        self._ends = ends
        self._next = time.monotonic() + GRACE_SECONDS

    def pause(self) -> None:
        """To be called often from work that takes long; raises TurnEnded."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _ASK_SECONDS
            if self._ends():
                raise TurnEnded
