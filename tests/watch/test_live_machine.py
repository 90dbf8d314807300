"""The catalog's state machine against a live daemon: every way of writing, moving and registering, compared with the oracle
after each step. No sweep helps: a change without an event would never be seen."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from pathlib import Path

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

from tests import writers
from tests.effort import examples
from tests.watch.harness import Followed, followed
from tests.writers import (
    NAME_STYLES,
    WRITE_STYLES,
    Index,
    append,
    dump,
    duplicate,
    entries_of,
    fake_descriptor,
    make_layout,
    name_entry,
    read_index,
    remove,
    reorder,
    retag_replace,
    retag_skopeo,
)

PAUSE = 0.15
"""Three times the settling time of these tests."""

places = st.sampled_from(["one/a", "one/b", "two/c", "two/deep/d", "one/a/inner"])
styles = st.sampled_from(sorted(WRITE_STYLES))
images = st.integers(0, 5)
tags = st.sampled_from(["1", "2", "latest"])
names = st.sampled_from(NAME_STYLES)
repositories = st.sampled_from(["docker.io/library/app", "registry.example.com/team/app"])

_examples = itertools.count()


class LiveMachine(RuleBasedStateMachine):
    """Layouts at a few places below two roots, and one alone, beside one daemon for all examples."""

    catalog: Followed

    @initialize()
    def begin(self) -> None:
        self.example = f"e{next(_examples)}"
        self.catalog.refs.clear()
        self.random = random.Random(1)

    def teardown(self) -> None:
        catalog = self.catalog
        if catalog.path("two") not in catalog.roots:
            catalog.add_root("two")
            catalog.settled()
        for root in ("one", "two"):
            shutil.rmtree(f"{catalog.path(root)}/{self.example}", ignore_errors=True)
        catalog.settled()
        for store, name, tag, digest, _since, _until in catalog.spans():
            assert (store, digest) in catalog.stood, f"{store} answered {name or tag} with {digest}, which never stood"

    def at(self, place: str) -> str:
        root, _, rest = place.partition("/")
        return f"{self.catalog.path(root)}/{self.example}/{rest}"

    def there(self, place: str) -> str:
        """Return the layout at a place, which is made if there is none."""
        path = self.at(place)
        if not os.path.exists(f"{path}/oci-layout"):
            make_layout(path)
        return path

    def index(self, path: str) -> Index:
        try:
            return read_index(path)
        except (OSError, ValueError):
            return writers.empty_index()

    # --- writing ------------------------------------------------------------------------------------------------

    @rule(place=places, image=images, name=names, repository=repositories, tag=tags, style=styles)
    def add(self, place: str, image: int, name: str, repository: str, tag: str, style: str) -> None:
        path = self.there(place)
        entry = name_entry(fake_descriptor(str(image)), name, repository, tag)
        WRITE_STYLES[style](path, dump(append(self.index(path), entry)))

    @rule(place=places, image=images, name=names, tag=tags, style=styles, like_skopeo=st.booleans())
    def retag(self, place: str, image: int, name: str, tag: str, style: str, like_skopeo: bool) -> None:
        path = self.there(place)
        entry = name_entry(fake_descriptor(str(image)), name, "docker.io/library/app", tag)
        change = retag_skopeo if like_skopeo else retag_replace
        WRITE_STYLES[style](path, dump(change(self.index(path), entry)))

    @rule(place=places, style=styles, how=st.sampled_from(["remove", "duplicate", "reorder"]))
    def rearrange(self, place: str, style: str, how: str) -> None:
        path = self.there(place)
        index = self.index(path)
        number = len(entries_of(index))
        if number:
            at = self.random.randrange(number)
            new = {
                "remove": remove(index, at),
                "duplicate": duplicate(index, at),
                "reorder": reorder(index, self.random),
            }
            WRITE_STYLES[style](path, dump(new[how]))

    @rule(place=places, image=images)
    def write_slowly(self, place: str, image: int) -> None:
        """Truncated, and written after a pause."""
        path = self.there(place)
        entry = name_entry(fake_descriptor(str(image)), "tag", "", "slow")
        data = dump(append(self.index(path), entry))
        with open(f"{path}/index.json", "wb", buffering=0) as file:
            pause()
            file.write(data[:100])
            pause()
            file.write(data[100:])

    @rule(place=places)
    def overwrite_slowly(self, place: str) -> None:
        """Every digest by another of the same length, in place: each state between is valid JSON."""
        path = self.there(place)
        index = self.index(path)
        for entry in entries_of(index):
            entry["digest"] = entry["digest"][:7] + entry["digest"][:6:-1]
        data = dump(index)
        if entries_of(index) and len(data) == os.path.getsize(f"{path}/index.json"):
            writers.slow_in_place(path, data, chunk=len(data) // 3 + 1, pause=PAUSE)

    @rule(place=places, cut=st.integers(0, 60))
    def tear(self, place: str, cut: int) -> None:
        path = self.there(place)
        writers.torn(path, dump(append(self.index(path), fake_descriptor("torn"))), cut)

    @rule(place=places)
    def unlink(self, place: str) -> None:
        path = self.there(place)
        if os.path.exists(f"{path}/index.json"):
            os.unlink(f"{path}/index.json")

    # --- places -------------------------------------------------------------------------------------------------

    @rule(place=places)
    def delete(self, place: str) -> None:
        shutil.rmtree(self.at(place), ignore_errors=True)

    @rule(place=places, image=images)
    def make_anew(self, place: str, image: int) -> None:
        shutil.rmtree(self.at(place), ignore_errors=True)
        path = self.there(place)
        WRITE_STYLES["skopeo"](
            path, dump(writers.empty_index(name_entry(fake_descriptor(str(image)), "tag", "", "new")))
        )

    @rule(place=places, to=places)
    def move(self, place: str, to: str) -> None:
        source, target = self.at(place), self.at(to)
        if os.path.exists(source) and not os.path.exists(target) and not target.startswith(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(source, target)

    @rule(place=places)
    def move_out_and_in(self, place: str) -> None:
        outside = self.catalog.path(f"outside-{self.example}")
        here, away = (self.at(place), outside) if os.path.exists(self.at(place)) else (outside, self.at(place))
        if os.path.exists(here) and not os.path.exists(away):
            os.makedirs(os.path.dirname(away), exist_ok=True)
            os.rename(here, away)

    @rule(image=images)
    def move_in_a_tree(self, image: int) -> None:
        built = self.catalog.path(f"built-{self.example}")
        path = make_layout(f"{built}/x/y")
        WRITE_STYLES["skopeo"](
            path, dump(writers.empty_index(name_entry(fake_descriptor(str(image)), "tag", "", "in")))
        )
        target = self.at("two/tree")
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(built, target)

    # --- what other processes do --------------------------------------------------------------------------------

    @precondition(lambda self: self.catalog.path("two") in self.catalog.roots)
    @rule()
    def remove_root(self) -> None:
        self.catalog.remove(self.catalog.path("two"))

    @precondition(lambda self: self.catalog.path("two") not in self.catalog.roots)
    @rule()
    def add_root(self) -> None:
        self.catalog.add_root("two")

    @rule(place=places)
    def leave_out_or_take_in(self, place: str) -> None:
        path = self.at(place)
        if path in {store.path for store in self.catalog.truth()}:
            self.catalog.remove(path)
        elif path in self.catalog.left_out and os.path.exists(f"{path}/index.json"):
            self.catalog.add_store(path)

    @rule()
    def hang_up(self) -> None:
        self.catalog.send(signal.SIGHUP)

    @invariant()
    def equals_the_oracle(self) -> None:
        if hasattr(self, "example"):
            self.catalog.settled()


def pause() -> None:
    """A writer that takes its time."""
    time.sleep(PAUSE)


def test_the_catalog_equals_the_oracle_after_every_step(tmp_path: Path) -> None:
    with followed(tmp_path, settle_ms=50) as catalog:
        catalog.add_root("one")
        catalog.add_root("two")
        catalog.start()
        LiveMachine.catalog = catalog
        run_state_machine_as_test(LiveMachine, settings=settings(max_examples=examples(12), stateful_step_count=15))
        assert catalog.stop() == 0
