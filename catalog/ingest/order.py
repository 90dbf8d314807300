"""Correct the stored order where it matters (docs/resolution.md): among entries that share a key, a tag or a raw annotation.

oras writes its whole list in a different order each time. Following that order everywhere would rewrite every row. That is
unnecessary, because the place of an entry that shares nothing with another does not matter. Has no side effects.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable


def mend(sorts: list[int], shares: Iterable[Iterable[Hashable]]) -> dict[int, int]:
    """Return new sort keys, by place, for entries whose stored order differs from that of the list.

    `sorts` are the sort keys of the entries in the order of `index.json`. `shares`, in the same order, are the values that each
    entry could have in common with others. Entries that share a value, directly or through others, form a group. A group that is
    out of order gets its own sort keys in the right order.
    """
    group = list(range(len(sorts)))

    def find(place: int) -> int:
        while group[place] != place:
            group[place] = group[group[place]]
            place = group[place]
        return place

    first: dict[Hashable, int] = {}
    for place, shared in enumerate(shares):
        for each in shared:
            other = first.setdefault(each, place)
            if other != place:
                group[find(place)] = find(other)
    members: dict[int, list[int]] = {}
    for place in range(len(sorts)):
        members.setdefault(find(place), []).append(place)
    changed: dict[int, int] = {}
    for places in members.values():
        if len(places) > 1:
            in_order = sorted(sorts[place] for place in places)
            changed.update((p, sort) for p, sort in zip(places, in_order, strict=True) if sorts[p] != sort)
    return changed
