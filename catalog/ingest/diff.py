"""What changed between the entries that the catalog holds of a store and those of its `index.json` now. Pure.

Strategy. `index.json` is a multiset of descriptors (oras writes it in random order every time), and each descriptor has a
128-bit fingerprint, so the old side is three arrays and no row is read whole. Most writers keep the order and change the
end: entries are matched by walking both sides together, and only from the first difference on by a table.
The new side is met once, in order, so a file of a million entries never lies in memory.

Sort keys have gaps of GAP, and no two are equal: what is put between two entries gets a key between theirs. Where old
entries come in another order than they are stored in, or there is no gap left, `unordered` is set and ingest/order.py
mends what matters.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from catalog.layout.descriptor import FINGERPRINT

GAP = 1024

_NONE = bytes(FINGERPRINT)


class Old:
    """The stored entries of a store in the order of their sort keys: ids, sort keys and fingerprints.

    A row without a fingerprint (the catalog was upgraded) equals no descriptor, so it is read again.
    """

    def __init__(self, rows: Sequence[tuple[int, int, bytes | None]] = ()) -> None:
        self.ids = array("q", [row[0] for row in rows])
        self.sorts = array("q", [row[1] for row in rows])
        # One string of bytes: a list of them would take 57 bytes per entry instead of 16.
        self._fingerprints = b"".join([row[2] or _NONE for row in rows])

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self, place: int) -> bytes:
        """Return the fingerprint of the entry at `place`."""
        return self._fingerprints[place * FINGERPRINT : (place + 1) * FINGERPRINT]


class Diff:
    """Takes the new descriptors' fingerprints in order; says which stand already and which sort keys the others get.

    `seen` is how many were taken; `unordered` is set when stored order and new order differ.
    """

    def __init__(self, old: Old) -> None:
        self._old = old
        self._used = bytearray(len(old))
        self._cursor = 0
        self._next: array[int] | None = None  # from an old entry to the next one of the same fingerprint
        self._first: dict[bytes, int] = {}
        self._last: int | None = None  # the greatest sort key met so far
        self._top = old.sorts[-1] if len(old) else -GAP
        self.unordered = False

    def match(self, fingerprint: bytes) -> int | None:
        """The place in `old` of a stored entry that is this one and was not matched before; None for a new one."""
        used = self._used
        place = self._cursor
        if place >= len(used) or used[place] or self._old.fingerprint(place) != fingerprint:
            place = self._search(fingerprint)
            if place < 0:
                return None
        used[place] = 1
        self._cursor = place + 1
        return place

    def stands(self, place: int, pending: int) -> list[int]:
        """The old entry at `place` follows `pending` new ones: the sort keys of those."""
        sort = self._old.sorts[place]
        last = self._last
        if not pending:  # as with nearly all, where one tag of 100,000 moved: a tenth of the whole time
            if last is None or sort > last:
                self._last = sort
            else:
                self.unordered = True
            return []
        keys = None if self._last is not None and sort < self._last else self._between(place, pending)
        if keys is None:
            self.unordered = True
            keys = self.end(pending)
        self._last = sort if self._last is None else max(sort, self._last)
        return keys

    def _between(self, place: int, count: int) -> list[int] | None:
        """Sort keys for `count` new entries before the old one at `place`, behind what was met; None where there is no room.

        Stored ones are left free although nothing has matched them so far: they may come later in the list.
        """
        sorts = self._old.sorts
        high = sorts[place]
        low = sorts[0] - GAP * (count + 1) if self._last is None else self._last
        step = (high - low) // (count + 1)
        taken = bisect_right(sorts, low) if count else 0
        keys: list[int] = []
        for number in range(1, count + 1):
            key = max(low + step * number, keys[-1] + 1 if keys else low + 1)
            while taken < place and sorts[taken] <= key:
                key += sorts[taken] == key
                taken += 1
            if key >= high:
                return None
            keys.append(key)
        return keys

    def end(self, pending: int) -> list[int]:
        """Sort keys behind everything, for `pending` new entries at the end of the list, or that found no gap."""
        first = self._top + GAP
        self._top += GAP * pending
        return list(range(first, self._top + 1, GAP))

    @property
    def exhausted(self) -> bool:
        """Whether every old entry was matched: what comes now stands at the end."""
        return self._cursor >= len(self._used)

    def flush(self, pending: int) -> list[int]:
        """Sort keys for new entries that are too many to wait for the old one that follows them."""
        if not self.exhausted:
            self.unordered = True
        keys = self.end(pending)
        self._last = keys[-1] if keys else self._last
        return keys

    def removed(self) -> list[int]:
        """The places in `old` of the entries that nothing matched."""
        used = self._used
        return [place for place in range(len(used)) if not used[place]]

    def _search(self, fingerprint: bytes) -> int:
        used = self._used
        if self._next is None:
            self._next = array("q", [-1]) * len(used)
            for place in range(len(used) - 1, -1, -1):
                if not used[place]:
                    stored = self._old.fingerprint(place)
                    self._next[place] = self._first.get(stored, -1)
                    self._first[stored] = place
        place = self._first.get(fingerprint, -1)
        while place >= 0 and used[place]:
            place = self._next[place]
        if place >= 0:
            self._first[fingerprint] = self._next[place]
        return place
