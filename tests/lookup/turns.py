"""Some stores that change in turns, and the result of a plain scan after each turn."""

from __future__ import annotations

import json
import os
import shutil
from typing import NamedTuple

from hypothesis import strategies as st

from tests import writers
from tests.conftest import Catalogue, stamp
from tests.lookup.worlds import indexes
from tests.oracle import Oracle, OracleStore
from tests.stress.overtime import now_ms

Key = tuple[str | None, str | None]

STORES = {"a": ("annotations", 0), "b": ("fixed=alpine", 0), "c": ("annotations", -1)}
"""The naming policy and the priority of each store."""


class Scanned(NamedTuple):
    """The contents of a store: the digest of each name, and the name and digest of each entry that does not answer."""

    answers: dict[Key, str]
    others: frozenset[tuple[Key, str]]


class Turn(NamedTuple):
    """What the stores said after a turn, by name, and when that was (milliseconds)."""

    at: int
    stores: dict[str, Scanned]


def scanned(store: OracleStore) -> Scanned:
    """Return the present contents of a store."""
    oracle = Oracle([store])
    shadowed = oracle.shadowed()
    answers: dict[Key, str] = {}
    others: set[tuple[Key, str]] = set()
    for entry in oracle.read()[0].entries:
        if not entry.keys:
            others.add(((None, None), entry.digest))
        for key in entry.keys:
            name = key.repository, key.tag
            if key.tag is None or (store.name, entry.position, key) in shadowed:
                others.add((name, entry.digest))
            else:
                answers[name] = entry.digest
    return Scanned(answers, frozenset(others))


class Turns:
    """The stores of STORES below `directory`, in `catalogue`; `turns` is what became of them."""

    def __init__(self, catalogue: Catalogue, directory: str) -> None:
        self.catalogue = catalogue
        self.turns: list[Turn] = []
        self._stores = {
            name: OracleStore(name, f"{directory}/{name}", priority, naming)
            for name, (naming, priority) in STORES.items()
        }

    def begin(self, draw: st.DataObject) -> None:
        """Write and register the stores."""
        for store in self._stores.values():
            self._write(store, draw)
            self.catalogue.add(store.path, index=False, naming=store.naming, priority=store.priority)
        self._end()

    def turn(self, draw: st.DataObject) -> None:
        """Change, remove or bring back some of the stores."""
        for name in draw.draw(st.lists(st.sampled_from(sorted(STORES)), min_size=1, max_size=3, unique=True)):
            store = self._stores[name]
            if os.path.exists(store.path) and draw.draw(st.integers(0, 4)) == 0:
                shutil.rmtree(store.path)
            else:
                self._write(store, draw)
        self._end()

    def _write(self, store: OracleStore, draw: st.DataObject) -> None:
        if not os.path.exists(store.path):
            writers.make_layout(store.path)
        data = json.dumps({"schemaVersion": 2, "manifests": draw.draw(indexes)}).encode()
        writers.write_recreate(store.path, data)
        stamp(f"{store.path}/index.json")

    def _end(self) -> None:
        self.catalogue.index()
        at = now_ms()
        while now_ms() <= at + 1:  # the next turn has another time
            pass
        self.turns.append(Turn(at, {name: scanned(store) for name, store in self._stores.items()}))
