"""What time it was at each moment, although clocks are set while moments are noted (docs/decisions/0011-the-past.md)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Label = tuple[int, int, str | None, int | None]
    """Of a moment: its id, what the clock said, which run of the machine, and how long it had run; in milliseconds."""

BESIDE_MS = 2000
"""Two clocks that are farther apart than this are not the same one: one was set."""
_CONSISTENT = 1000
"""A time that agrees with the clock of today counts for as many that do not."""


def agrees(label: Label, now: int, boot: str | None, ran: int) -> bool | None:
    """Whether a moment's clock is the one that says `now`; None if it was noted in another run of the machine."""
    _, at, its_boot, its_ran = label
    if boot is None or its_boot != boot or its_ran is None:
        return None
    return abs((now - ran) - (at - its_ran)) <= BESIDE_MS


def mended(labels: Sequence[Label], now: int, boot: str | None, ran: int) -> list[int]:
    """A time for each moment, in their order and never falling, though the clock was set while they were noted.

    Of the times that the clock said those are believed that rise and are most; what agrees with the clock of today (`now`,
    `boot`, `ran`), in the same run of the machine, counts more. The others get theirs by how long the machine had run.
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
    """When a moment was, by another one of the same run of the machine; None where that cannot be told."""
    if other is None or label[2] is None or label[2] != other[2] or label[3] is None or other[3] is None:
        return None
    return other[1] + label[3] - other[3]


def _following(labels: Sequence[Label], believed: set[int]) -> list[Label | None]:
    """For each moment the next one whose time is believed."""
    found: list[Label | None] = [None] * len(labels)
    after: Label | None = None
    for place in range(len(labels) - 1, -1, -1):
        found[place] = after
        if place in believed:
            after = labels[place]
    return found


def _rising(times: Sequence[int], weights: Sequence[int]) -> set[int]:
    """The places of those `times` that never fall and weigh most together; what weighs nothing is left out."""
    ranks = {at: rank for rank, at in enumerate(sorted(set(times)), 1)}
    # A Fenwick tree of the heaviest, and its last place, less than nothing so that of two the first is taken.
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
