"""Keeping stored order true where order matters (docs/resolution.md): among entries that share a key, a tag or a raw
annotation. Pure.

oras writes its whole list in another order each time. To follow that order everywhere would rewrite every row; nothing
asks for it, since an entry that shares nothing with another is first among its like wherever it stands.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable


def mend(sorts: list[int], shares: Iterable[Iterable[Hashable]]) -> dict[int, int]:
    """New sort keys by place, for entries whose stored order is not that of the list.

    `sorts` are the entries' sort keys in the order of `index.json`; `shares`, in that order, is what each entry could
    have in common with others. Entries that share something, directly or over third ones, are a group; a group out of
    order gets its own sort keys dealt out anew.
    """
    group = list(range(len(sorts)))

    def find(place: int) -> int:
        while group[place] != place:
            group[place] = group[group[place]]
            place = group[place]
        return place

    first: dict[Hashable, int] = {}
    for place, things in enumerate(shares):
        for thing in things:
            other = first.setdefault(thing, place)
            if other != place:
                group[find(place)] = find(other)
    members: dict[int, list[int]] = {}
    for place in range(len(sorts)):
        members.setdefault(find(place), []).append(place)
    changed: dict[int, int] = {}
    for places in members.values():
        if len(places) > 1:
            right = sorted(sorts[place] for place in places)
            changed.update((p, sort) for p, sort in zip(places, right, strict=True) if sorts[p] != sort)
    return changed
