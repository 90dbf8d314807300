"""Random changes of layouts on disk, in every way in which tools write them: after each `index` the catalog answers as the
linear scan does, its tables hold together, and its history is what a plain log of the answers says.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from catalog.engine.open import is_url
from catalog.ingest import intake, names, rows, sweep
from catalog.layout.index import ListLimits
from tests import writers
from tests.conftest import AT_ONCE, Catalogue, stamp
from tests.effort import examples, is_short, some
from tests.ingest.history import Log
from tests.ingest.invariants import broken
from tests.lookup.asking import PLAIN, Options, Still, differences, references
from tests.oracle import OracleStore

SHM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
ROOT = "R"
PLACES = {"R/a": "R/a", "R/b": "R/b", "R/b/c": "R/b/c", "x": "x", "y": "y"}
EIGHT_DAYS = 8 * 86_400_000

places = st.sampled_from(["x", "R/a", "x", "R/a", "R/b", "R/b/c", "y"])  # most happens in two of them
styles = st.sampled_from(sorted(writers.WRITE_STYLES))
described = st.builds(writers.fake_descriptor, st.sampled_from("123"))
repositories = st.sampled_from(["docker.io/library/alpine", "localhost:5000/app"])
OTHER_NAME = "org.opencontainers.image.base.name"
named = st.one_of(
    st.builds(
        writers.name_entry,
        described,
        st.sampled_from(writers.NAME_STYLES),
        repositories,
        st.sampled_from(["1", "latest"]),
    ),
    st.builds(lambda entry, name: entry | {"annotations": {OTHER_NAME: name}}, described, repositories),
)
namings = st.sampled_from(
    [
        ("annotations", None),
        ("path", None),
        ("path", "localhost:5000"),
        ("path:tag", None),
        ("fixed=alpine", None),
        (f"annotation={OTHER_NAME}", None),
    ]
)
numbers = st.integers(0, 9)


class Policy(NamedTuple):
    """The settings of a store or a root; `own` says that the store does not follow its root's."""

    naming: str = "annotations"
    prefix: str | None = None
    priority: int = 0
    own: bool = False


class Layouts(RuleBasedStateMachine):
    """Layouts on disk, a catalog of them, and what should be known of it: settings, and what each store said last."""

    make: Callable[[str], Catalogue]
    streamed: bool

    def __init__(self) -> None:
        super().__init__()
        self.directory = os.path.realpath(tempfile.mkdtemp(dir=SHM))
        self.catalogue = self.make(self.directory)
        if self.streamed:
            self.catalogue.settings = AT_ONCE._replace(limits=ListLimits(in_memory_bytes=300))
        self.root = Policy()
        self.stores: dict[str, Policy] = {}
        self.left_out: set[str] = set()
        self.said: dict[str, list[writers.Descriptor]] = {}
        self.log = Log()
        self.steps = 0
        self.changes = 0  # since the last `index`

    def teardown(self) -> None:
        if self.changes:
            self.index(full=False)
        self.catalogue.close()
        shutil.rmtree(self.directory)

    # --- layouts ------------------------------------------------------------------------------------------------

    def path(self, place: str) -> str:
        return f"{self.directory}/{place}"

    def is_there(self, place: str) -> bool:
        return os.path.exists(f"{self.path(place)}/oci-layout")

    def elements(self, place: str) -> list[writers.Descriptor]:
        try:
            return writers.entries_of(writers.read_index(self.path(place)))
        except (OSError, ValueError):
            return []

    def write(self, place: str, elements: list[writers.Descriptor], style: str) -> None:
        if not self.is_there(place):
            writers.make_layout(self.path(place))
        writers.write_index(self.path(place), writers.empty_index(*elements), style)
        stamp(f"{self.path(place)}/index.json")
        self.changes += 1

    @initialize(two=st.lists(named, max_size=4))
    def begin(self, two: list[writers.Descriptor]) -> None:
        os.makedirs(self.path(ROOT))
        self.catalogue.add(self.path(ROOT))
        self.write("R/a", two, "skopeo")
        self.write("x", two, "umoci")
        self.add("x", None, None)

    @rule(place=places, entries=st.lists(named, min_size=1, max_size=4), style=styles)
    def append(self, place: str, entries: list[writers.Descriptor], style: str) -> None:
        self.write(place, [*self.elements(place), *entries], style)

    @rule(place=places, entry=named, how=st.sampled_from(["skopeo", "replace", "in place"]), style=styles, at=numbers)
    def retag(self, place: str, entry: writers.Descriptor, how: str, style: str, at: int) -> None:
        index = writers.empty_index(*self.elements(place))
        if how == "skopeo":
            index = writers.retag_skopeo(index, entry)
        elif how == "replace":
            index = writers.retag_replace(index, entry)
        elif index["manifests"]:
            index["manifests"][at % len(index["manifests"])] = entry
        self.write(place, index["manifests"], style)

    @rule(
        place=places, change=st.sampled_from(["remove", "duplicate", "reorder", "turn round"]), style=styles, at=numbers
    )
    def rearrange(self, place: str, change: str, style: str, at: int) -> None:
        index = writers.empty_index(*self.elements(place))
        if not index["manifests"]:
            return
        at %= len(index["manifests"])
        if change == "remove":
            index = writers.remove(index, at)
        elif change == "duplicate":
            index = writers.duplicate(index, at)
        elif change == "reorder":
            index = writers.reorder(index, random.Random(at))
        else:
            index["manifests"].reverse()
        self.write(place, index["manifests"], style)

    @rule(place=places, entry=named, at=numbers, moved=numbers, to=numbers, style=styles)
    def insert(self, place: str, entry: writers.Descriptor, at: int, moved: int, to: int, style: str) -> None:
        """One more, anywhere, and another one moved."""
        elements = self.elements(place)
        elements.insert(at, entry)
        elements.insert(to, elements.pop(moved % len(elements)))
        self.write(place, elements, style)

    @rule(place=places, style=styles)
    def empty(self, place: str, style: str) -> None:
        if self.is_there(place):
            writers.WRITE_STYLES[style](self.path(place), b'{"schemaVersion":2,"manifests":null}')
            stamp(f"{self.path(place)}/index.json")
            self.changes += 1

    @rule(place=places, cut=st.integers(0, 99), gone=st.booleans())
    def tear(self, place: str, cut: int, gone: bool) -> None:
        """A writer died in the middle, or after it had unlinked the file."""
        if not self.is_there(place):
            return
        index = f"{self.path(place)}/index.json"
        if gone:
            if os.path.exists(index):
                os.unlink(index)
        else:
            data = writers.dump(writers.empty_index(*self.elements(place)))
            writers.torn(self.path(place), data, min(cut, len(data) - 1))
            stamp(index)
        self.changes += 1

    @rule(place=places)
    def delete(self, place: str) -> None:
        shutil.rmtree(self.path(place), ignore_errors=True)
        self.changes += 1

    @rule(place=places, to=places)
    def move(self, place: str, to: str) -> None:
        if self.is_there(place) and not os.path.exists(self.path(to)) and not to.startswith(f"{place}/"):
            os.makedirs(os.path.dirname(self.path(to)), exist_ok=True)
            os.rename(self.path(place), self.path(to))
            self.changes += 1

    # --- the catalog --------------------------------------------------------------------------------------------

    @rule(place=places, naming=st.none() | namings, priority=st.none() | st.integers(-1, 1))
    def add(self, place: str, naming: tuple[str, str | None] | None, priority: int | None) -> None:
        """A layout by itself, or one below the root, with settings of its own or without."""
        if not self.is_there(place):
            return
        policy, prefix = naming or (None, None)
        self.catalogue.add(self.path(place), naming=policy, prefix=prefix, priority=priority, index=False)
        had = self.stores.get(place) or (self.root if place.startswith(f"{ROOT}/") else Policy())
        self.stores[place] = Policy(
            policy or had.naming,
            prefix or had.prefix,
            had.priority if priority is None else priority,
            had.own or naming is not None or priority is not None,
        )
        self.left_out.discard(place)
        self.changes += 1

    @rule(naming=namings, priority=st.integers(-1, 1))
    def add_root_again(self, naming: tuple[str, str | None], priority: int) -> None:
        policy, prefix = naming
        self.catalogue.add(self.path(ROOT), naming=policy, prefix=prefix or "", priority=priority, index=False)
        self.root = Policy(policy, prefix, priority)
        for place, own in self.stores.items():
            if place.startswith(f"{ROOT}/") and not own.own:
                self.stores[place] = self.root
        self.changes += 1

    @rule(place=places)
    def remove(self, place: str) -> None:
        if place in self.stores:
            self.catalogue.remove(PLACES[place])
            del self.stores[place]
            self.said.pop(place, None)
            self.log.forget(PLACES[place])
            if place.startswith(f"{ROOT}/"):
                self.left_out.add(place)
            self.changes += 1

    @rule()
    def grace_passes(self) -> None:
        """What is missing at the last `index` loses its rows."""
        if self.changes:
            self.index(full=False)
        now = max([0, *(row[0] for row in self.catalogue.sql("SELECT state_since FROM store"))]) + EIGHT_DAYS
        gone = [place for place in self.stores if not os.path.exists(self.path(place)) and self.said.get(place)]
        missing = {PLACES[place] for place in self.stores if not os.path.exists(self.path(place))}
        assert {PLACES[place] for place in gone} <= set(self.catalogue.retire(now)) <= missing
        for place in gone:
            self.said[place] = []
        self.check()

    @precondition(lambda self: self.changes)
    @rule(full=st.booleans())
    def index(self, full: bool) -> None:
        for place in PLACES:
            if place.startswith(f"{ROOT}/") and self.is_there(place) and place not in self.left_out:
                self.stores.setdefault(place, self.root)
        self.catalogue.index(full=full)
        self.changes = 0
        for place in self.stores:
            try:
                self.said[place] = writers.entries_of(writers.read_index(self.path(place)))
            except (OSError, ValueError):
                self.said.setdefault(place, [])  # what it last said stays
        self.check()

    # --- what is to hold ----------------------------------------------------------------------------------------

    def check(self) -> None:
        self.steps += 1
        stores = {
            place: OracleStore(
                PLACES[place],
                self.path(place),
                own.priority,
                own.naming,
                self.path(ROOT) if place.startswith(f"{ROOT}/") else None,
                own.prefix,
            )
            for place, own in self.stores.items()
        }
        self.log.take(self.catalogue, stores, self.said)
        assert self.log.differences(self.catalogue) == []
        assert broken(self.catalogue, {PLACES[place]: self.said[place] for place in stores}) == []
        there = {place: self.said[place] for place in stores if os.path.isdir(self.path(place))}
        oracle = Still(list(stores.values()), {PLACES[place]: elements for place, elements in there.items()})
        refs = references(oracle, self.directory)[self.steps % 6 :: 6]
        if is_url(self.catalogue.path):
            refs = some(refs)  # a server takes ten times as long for each
        before = os.getcwd()
        os.chdir(self.directory)
        try:
            assert differences(self.catalogue, oracle, refs, self.directory, [PLAIN, Options(first=True)]) == []
        finally:
            os.chdir(before)

    @invariant()
    def soon(self) -> None:
        """Never more than two changes in one pass; then the states are what stat says."""
        if self.changes > 1:
            self.index(full=False)
            for name, path, state in self.catalogue.sql("SELECT name, path, state FROM stores"):
                assert (state == "missing") == (not os.path.isdir(path)), (name, state)


@pytest.mark.parametrize("buffers", ["as they are", "tiny"])
def test_whatever_happens_on_disk_the_catalog_says_what_the_layouts_say(
    new_catalogue: Callable[[str], Catalogue], monkeypatch: pytest.MonkeyPatch, buffers: str, engine: str
) -> None:
    """With tiny buffers too: then rows are written in the middle of a store, and files are streamed."""

    class Bound(Layouts):
        make = staticmethod(new_catalogue)
        streamed = buffers == "tiny"

    if buffers == "tiny":  # limits alone are replaced: layouts as small as these would never reach them
        monkeypatch.setattr(rows, "FLUSH_ROWS", 3)
        monkeypatch.setattr(names, "PENDING", 2)
        monkeypatch.setattr(intake, "BATCH_STORES", 2)
        monkeypatch.setattr(sweep, "BULK_ENTRIES", 1)
    steps = 15 if engine == "postgresql" and is_short() else 25
    run_state_machine_as_test(
        Bound, settings=settings(max_examples=examples(12 if engine == "sqlite" else 3), stateful_step_count=steps)
    )
