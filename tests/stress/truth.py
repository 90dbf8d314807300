"""Whether what was answered is true: each answer against the notes of the writers, and the whole catalog against the oracle.

A state may be answered when it stood still for the settling time, or was renamed into place whole, and from when it was written
until some while after the next one that did. What stood still is decided in favour of the catalog: a writer that was not given the
processor between its note and its write makes a state seem to have stood longer, never shorter. So a loaded machine fails no run.
"""

from __future__ import annotations

import bisect
import glob
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from catalog.engine.interface import Reader
from tests.oracle import OracleStore
from tests.stress.world import TAG, Place
from tests.watch.harness import DEADLINE, Followed, StillOracle

TICK = 0.03
"""What the kernel's clock for files may be behind the one that programs read, and more."""


class State(NamedTuple):
    """A state of a store as its writer noted it (writer.Notes); without a digest the store was not there."""

    place: int
    number: int
    digest: str | None
    begin: float
    first: float
    last: float
    end: float
    wall: float
    renamed: bool = False


class Told(NamedTuple):
    """What a reader noted."""

    place: int
    began: float
    ended: float
    status: int
    digest: str | None
    said: str


class Notes:
    """All that the writers noted in `directory`, over what the stores held at first: the digest of each place."""

    def __init__(self, directory: str, at_first: dict[int, str], settle: float) -> None:
        self._settle = settle
        self._states = {number: [State(number, 0, digest, 0, 0, 0, 0, 0)] for number, digest in at_first.items()}
        for name in sorted(glob.glob(f"{glob.escape(directory)}/notes-*")):
            with open(name, encoding="utf-8") as file:
                for line in file:
                    state = State(*json.loads(line))
                    self._states[state.place].append(state)
        self._of = {(number, s.digest): s for number, states in self._states.items() for s in states if s.digest}
        self._settled = {number: self._when_settled(states) for number, states in self._states.items()}

    @property
    def writes(self) -> int:
        return sum(len(states) - 1 for states in self._states.values())

    def of(self, place: int, digest: str) -> State | None:
        return self._of.get((place, digest))

    def stood(self, state: State) -> float:
        """For how long at most the state was on disk as it was."""
        states = self._states[state.place]
        after = states[state.number + 1].first if state.number + 1 < len(states) else math.inf
        return after - state.last

    def why_wrong(self, place: int, digest: str) -> str | None:
        """Why the digest was never one to be answered, or None."""
        state = self.of(place, digest)
        if state is None:
            return "was never written: it is a state between"
        if not state.renamed and self.stood(state) < self._settle - TICK:
            return f"stood for {self.stood(state):.3f} seconds at most: {state}"
        return None

    def behind(self, state: State, moment: float) -> float:
        """For how long, at that moment, a later state had settled that stood long enough to be seen by anybody."""
        times, numbers = self._settled[state.place]
        at = bisect.bisect_right(numbers, state.number)
        return max(0.0, moment - times[at]) if at < len(times) else 0.0

    def _when_settled(self, states: Sequence[State]) -> tuple[list[float], list[int]]:
        found = [
            (state.end + self._settle, state.number)
            for state, after in zip(states, [*states[1:], None], strict=True)
            if state.digest and (math.inf if after is None else after.begin) - state.end > self._settle
        ]
        return [moment for moment, _ in found], [number for _, number in found]


class Answers(NamedTuple):
    """What the readers were told: how often, by how many processes of the program, how long the old ones were behind, and what
    was wrong.
    """

    told: int
    processes: int
    found: int
    behind: list[float]
    wrong: list[str]


def answers(directory: str, notes: Notes) -> Answers:
    """Hold each answer against the notes."""
    count = found = processes = 0
    behind: list[float] = []
    wrong: list[str] = []
    for name in sorted(glob.glob(f"{glob.escape(directory)}/told-*")):
        latest: Counter[int] = Counter()
        began = math.nan
        with open(name, encoding="utf-8") as file:
            for line in file:
                told = Told(*json.loads(line))
                count += 1
                processes += "told-processes-" in name and told.began != began
                began = told.began
                if told.status == 0 and told.digest is not None:
                    found += 1
                    wrong += _wrong(told, notes, latest, behind)
                elif told.status != 1 or not Place(told.place).comes_and_goes:
                    wrong.append(f"{name}: {told}")
    return Answers(count, processes, found, sorted(behind), wrong)


def _wrong(told: Told, notes: Notes, latest: Counter[int], behind: list[float]) -> list[str]:
    digest = told.digest or ""
    if why := notes.why_wrong(told.place, digest):
        return [f"{told}: {why}"]
    state = notes.of(told.place, digest)
    assert state is not None
    if state.begin > told.ended:
        return [f"{told}: before it was written: {state}"]
    if state.number < latest[told.place]:
        return [f"{told}: state {state.number} after {latest[told.place]} was answered"]
    latest[told.place] = state.number
    behind.append(notes.behind(state, told.began))
    return [f"{told}: {behind[-1]:.1f} seconds behind"] if behind[-1] > 2 * DEADLINE else []


class Past(NamedTuple):
    """What history says: how many states came into the catalog, seconds from each one's write until it did, and what is wrong."""

    states: int
    lags: list[float]
    wrong: list[str]


def past(catalog: Followed, notes: Notes, numbers: dict[str, int], until: float) -> Past:
    """Hold all that was ever answered against the notes. `numbers` are those of places by name; lags are of what was written
    before the moment `until`, while the daemon was let live."""
    since: dict[tuple[int, str], int] = {}
    for store, _name, tag, digest, began, _until in catalog.spans():
        if tag == TAG:
            key = numbers[store], digest
            since[key] = min(began, since.get(key, began))
    lags: list[float] = []
    wrong: list[str] = []
    for (place, digest), moment in since.items():
        if why := notes.why_wrong(place, digest):
            wrong.append(f"history of {place}: {digest} {why}")
            continue
        state = notes.of(place, digest)
        if state is not None and state.number and state.end < until:
            lags.append(max(0.0, moment / 1000 - state.wall))
    return Past(len(since), sorted(lags), wrong)


class Difference:
    """What the catalog and the oracle do not agree upon, now that all layouts stand still."""

    def __init__(self, stores: Iterable[OracleStore]) -> None:
        self.oracle = StillOracle(list(stores), below=False)
        shadowed = self.oracle.shadowed()
        self._expected: dict[str, Counter[tuple[object, ...]]] = {}
        for scan in self.oracle.read():
            rows: Counter[tuple[object, ...]] = Counter()
            for entry in scan.entries:
                for key in entry.keys:
                    hidden = int((scan.store.name, entry.position, key) in shadowed)
                    rows[key.repository, key.tag, entry.digest, entry.ref_name, entry.image_name, hidden] += 1
                if not entry.keys:
                    rows[(entry.digest,)] += 1
            self._expected[scan.store.name] = rows

    def find(self, reader: Reader) -> list[str]:
        """The stores whose names, or unnamed entries, are others than the oracle says."""
        said: dict[str, Counter[tuple[object, ...]]] = {name: Counter() for name in self._expected}
        columns = "store, repository, tag, digest, ref_name, image_name, shadowed"
        for statement in (f"SELECT {columns} FROM images", "SELECT store, digest FROM unnamed"):
            for store, *row in reader.select(statement, {}):
                said.setdefault(store, Counter())[tuple(row)] += 1
        return sorted(name for name, rows in said.items() if rows != self._expected.get(name))

    def explain(self, reader: Reader, name: str) -> str:
        state = next(
            reader.select("SELECT state, error, indexed_at FROM stores WHERE name = :name", {"name": name}), None
        )
        return f"{name}: {state}, should be {self._expected.get(name)}"


def share(values: Sequence[float], part: float) -> float:
    """A quantile of sorted values."""
    return values[min(len(values) - 1, int(len(values) * part))] if values else math.nan
