"""Compare the entries of a store in the catalog with those of its `index.json`. Has no side effects.

`index.json` is a multiset of descriptors (oras writes it in random order each time). Each descriptor has a fingerprint of 128
bits, so the old side is three arrays, and rows are not read whole. Most writers keep the order and change the end. So
entries are matched by walking both sides together, and with a table only from the first difference on. The new side is
read once, in order, so a file with a million entries is never completely in memory. If one tag of many has moved, nearly all
entries are the same, so they are first compared in runs of many entries.

Sort keys are distinct and have gaps of GAP, so an entry between two others gets a key between theirs. If old entries come in
an order that differs from their sort keys, or there is no gap left, `unordered` is set, and order.py corrects the keys that matter.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from catalog.layout.descriptor import FINGERPRINT

GAP = 1024

_NONE = bytes(FINGERPRINT)


class Old:
    """The entries of a store in the catalog, in the order of their sort keys: ids, sort keys and fingerprints.

    A row without a fingerprint, from an older ocicat, does not equal any descriptor, so the entry is written again.
    """

    def __init__(self, rows: Sequence[tuple[int, int, bytes | None]] = ()) -> None:
        self.ids = array("q", [row[0] for row in rows])
        self.sorts = array("q", [row[1] for row in rows])
        # One bytes object, because a list of them would take 57 bytes per entry instead of 16.
        self._fingerprints = b"".join([row[2] or _NONE for row in rows])

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self, place: int) -> bytes:
        """Return the fingerprint of the entry at `place`."""
        return self._fingerprints[place * FINGERPRINT : (place + 1) * FINGERPRINT]

    def has(self, place: int, fingerprints: Sequence[bytes]) -> bool:
        """Return whether the entries from `place` on have these fingerprints, in this order."""
        return self._fingerprints.startswith(b"".join(fingerprints), place * FINGERPRINT)


class Diff:
    """Matches the fingerprints of the new descriptors, given in order, with old entries. Assigns sort keys to those without a match.

    `unordered` is set if sort keys no longer show the order of the entries.
    """

    def __init__(self, old: Old) -> None:
        self._old = old
        self._used = bytearray(len(old))
        self._cursor = 0
        self._next: array[int] | None = None  # from an old entry to the next one with the same fingerprint
        self._first: dict[bytes, int] = {}
        self._last: int | None = None  # the greatest sort key so far
        self._top = old.sorts[-1] if len(old) else -GAP
        self.unordered = False

    def run(self, fingerprints: Sequence[bytes]) -> int | None:
        """Match all of these fingerprints with the next old entries, if those are the same in the same order.

        Returns the place of the first old entry. If they differ, matches nothing and returns None; then call `match` and `before` for
        each fingerprint.
        """
        place, count = self._cursor, len(fingerprints)
        end = place + count
        if not self._old.has(place, fingerprints) or self._used.find(1, place, end) >= 0:
            return None
        if self._last is not None and self._old.sorts[place] <= self._last:
            return None
        self._used[place:end] = b"\x01" * count
        self._cursor = end
        self._last = self._old.sorts[end - 1]
        return place

    def match(self, fingerprint: bytes) -> int | None:
        """Match an old entry with this fingerprint and return its place in `old`, or return None if there is none left."""
        used = self._used
        place = self._cursor
        if place >= len(used) or used[place] or self._old.fingerprint(place) != fingerprint:
            place = self._search(fingerprint)
            if place < 0:
                return None
        used[place] = 1
        self._cursor = place + 1
        return place

    def before(self, place: int, pending: int) -> list[int]:
        """Return sort keys for `pending` new entries that come before the old entry at `place`."""
        sort = self._old.sorts[place]
        last = self._last
        if not pending:
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
        """Return sort keys for `count` new entries between the last entry and the old entry at `place`, or None if there is no room.

        `count` is at least 1. The keys of unmatched old entries are not used, because those entries may come later in the list.
        """
        sorts = self._old.sorts
        high = sorts[place]
        low = sorts[0] - GAP * (count + 1) if self._last is None else self._last
        step = (high - low) // (count + 1)
        taken = bisect_right(sorts, low)
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
        """Return sort keys after all others, for `pending` new entries that are at the end of the list or find no gap."""
        first = self._top + GAP
        self._top += GAP * pending
        return list(range(first, self._top + 1, GAP))

    @property
    def exhausted(self) -> bool:
        """Whether all old entries are passed, so that new entries from now on are at the end of the list."""
        return self._cursor >= len(self._used)

    def flush(self, pending: int) -> list[int]:
        """Return sort keys for `pending` new entries now, because there are too many to wait for the next old entry."""
        if not self.exhausted:
            self.unordered = True
        keys = self.end(pending)
        self._last = keys[-1] if keys else self._last
        return keys

    def removed(self) -> list[int]:
        """Return the places in `old` of the entries that were not matched."""
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
