"""Work out the time of each moment, even if clocks were wrong or set in between (docs/decisions/0011-the-past.md)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Label = tuple[int, int, str | None, int | None]
    """A moment: its id, the clock's time, the id of the machine's boot, and the time since that boot. Times are in milliseconds."""

BESIDE_MS = 2000
"""If two clocks differ by more than this, one of them was set."""
_CONSISTENT = 1000
"""The weight of a time that agrees with the present clock; other times have weight 1."""


def agrees(label: Label, now: int, boot: str | None, ran: int) -> bool | None:
    """Return whether the clock at a moment agrees with the present clock (`now`); None if the machine was rebooted in between."""
    _, at, its_boot, its_ran = label
    if boot is None or its_boot != boot or its_ran is None:
        return None
    return abs((now - ran) - (at - its_ran)) <= BESIDE_MS


def mended(labels: Sequence[Label], now: int, boot: str | None, ran: int) -> list[int]:
    """Return a time for each moment, in order and never decreasing, even if the clock was set in between.

    The largest set of recorded times that never decrease is trusted; times that agree with the present clock (`now`,
    `boot`, `ran`) count more. The times of the other moments are derived from the machine's uptime, if possible.
    """
    weights = []
    for _, at, its_boot, its_ran in labels:
        if at > now:
            weights.append(0)
        elif boot is not None and its_boot == boot and its_ran is not None:
            weights.append(_CONSISTENT if abs((now - ran) - (at - its_ran)) <= BESIDE_MS else 1)
        else:
            weights.append(1)
    believed = _rising([label[1] for label in labels], weights)
    ends = [0] * len(labels)
    after: int | None = None
    for place in range(len(labels) - 1, -1, -1):
        after = labels[place][1] if place in believed else after
        ends[place] = now if after is None else after
    times: list[int] = []
    last: Label | None = None
    following = _following(labels, believed)
    for place, label in enumerate(labels):
        if place in believed:
            last = label
            times.append(label[1])
            continue
        guess = _by_running(label, last)
        if guess is None:
            guess = _by_running(label, following[place])
        floor = times[-1] if times else None
        if guess is None:
            guess = floor if floor is not None else ends[place]
        times.append(min(max(guess, guess if floor is None else floor), ends[place]))
    return times


def _by_running(label: Label, other: Label | None) -> int | None:
    """Return the time of a moment, derived from another moment of the same boot; None if that is not possible."""
    if other is None or label[2] is None or label[2] != other[2] or label[3] is None or other[3] is None:
        return None
    return other[1] + label[3] - other[3]


def _following(labels: Sequence[Label], believed: set[int]) -> list[Label | None]:
    """Return for each moment the next moment whose time is trusted, or None."""
    found: list[Label | None] = [None] * len(labels)
    after: Label | None = None
    for place in range(len(labels) - 1, -1, -1):
        found[place] = after
        if place in believed:
            after = labels[place]
    return found


def _rising(times: Sequence[int], weights: Sequence[int]) -> set[int]:
    """Return the positions of the heaviest subsequence of `times` that never decreases. Times of weight 0 are left out."""
    ranks = {at: rank for rank, at in enumerate(sorted(set(times)), 1)}
    # A Fenwick tree of the greatest weight up to each rank, and of its last position, negated so that the first of equals wins.
    best: list[tuple[int, int]] = [(0, 1)] * (len(ranks) + 1)
    before = [-1] * len(times)
    heaviest = 0, 1
    for place, (at, weight) in enumerate(zip(times, weights, strict=True)):
        if not weight:
            continue
        found, rank = (0, 1), ranks[at]
        while rank:
            found = max(found, best[rank])
            rank &= rank - 1
        before[place] = -found[1]
        total = found[0] + weight, -place
        rank = ranks[at]
        while rank < len(best):
            best[rank] = max(best[rank], total)
            rank += rank & -rank
        heaviest = max(heaviest, total)
    chosen: set[int] = set()
    place = -heaviest[1]
    while place >= 0:
        chosen.add(place)
        place = before[place]
    return chosen
