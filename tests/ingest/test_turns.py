"""Turns of large stores: small ones come first, and yet the large one comes in although they never end."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.ingest.intake import Intake
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Settings
from catalog.ingest.store_state import Store
from catalog.ingest.turns import LARGE_BYTES, LONGEST_SECONDS, TurnRules, longest
from tests import writers
from tests.conftest import AT_ONCE, Catalogue
from tests.watch.harness import wait_for

ENTRIES = 6_000
"""So many make a store a large one."""


def listed(path: str, tag: str, count: int) -> None:
    entries = [writers.name_entry(writers.fake_descriptor(f"{tag}{n}"), "tag", "", f"{tag}{n}") for n in range(count)]
    writers.write_index(path, writers.empty_index(*entries))


def store(catalogue: Catalogue, name: str) -> Store:
    with catalogue.writer.snapshot() as connection:
        return next(each for each in Registry(connection).stores() if each.name == name)


def test_a_list_that_takes_longer_than_a_turn_comes_in_although_others_wait_all_the_time(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    large = writers.make_layout(str(tmp_path / "large"))
    hot = writers.make_layout(str(tmp_path / "hot"))
    catalogue.add(large)
    catalogue.add(hot)
    listed(large, "l", ENTRIES)
    assert Path(f"{large}/index.json").stat().st_size > LARGE_BYTES
    # The first turns are too short to read so much, let alone to write it.
    rules = TurnRules(patience=lambda _size: 0.0, longest=lambda ended: 0.01 * 4**ended, pause_share=0.0)
    told: list[str] = []
    intake = Intake(catalogue.writer, AT_ONCE, told.append, others_wait=lambda _path, _size: True, rules=rules)
    intake.offer(store(catalogue, "large"))
    number = 0

    def has_come() -> bool:
        nonlocal number
        number += 1
        listed(hot, f"h{number}-", 1)
        intake.offer(store(catalogue, "hot"))
        intake.look_again(0.05)
        return store(catalogue, "large").entries == ENTRIES

    wait_for(has_come, 120, what=lambda: [intake.put_off(0), *told])
    assert intake.ended > 0
    assert store(catalogue, "hot").entries == 1


def test_a_large_store_has_a_turn_although_small_ones_take_all_the_time(catalogue: Catalogue, tmp_path: Path) -> None:
    large = writers.make_layout(str(tmp_path / "large"))
    small = writers.make_layout(str(tmp_path / "small"))
    catalogue.add(large)
    catalogue.add(small)
    listed(large, "l", ENTRIES)
    intake = Intake(catalogue.writer, AT_ONCE, lambda _line: None, rules=TurnRules(large_every=0.0))
    intake.offer(store(catalogue, "large"))
    number = 0

    def has_come() -> bool:
        nonlocal number
        number += 1
        listed(small, f"s{number}-", 1)
        intake.offer(store(catalogue, "small"))
        intake.look_again(-1.0)  # there is no time for anything
        return store(catalogue, "large").entries == ENTRIES

    wait_for(has_come, 120)


@pytest.mark.parametrize(("others_wait", "longest_seconds"), [(True, 600.0), (False, 0.0)])
def test_a_turn_goes_on_until_its_time_is_up_and_others_wait(
    catalogue: Catalogue, tmp_path: Path, others_wait: bool, longest_seconds: float
) -> None:
    large = writers.make_layout(str(tmp_path / "large"))
    small = writers.make_layout(str(tmp_path / "small"))
    catalogue.add(large)
    catalogue.add(small)
    listed(small, "s", 1)
    listed(large, "l", ENTRIES)
    at_once = AT_ONCE
    rules = TurnRules(patience=lambda _size: 0.0, longest=lambda _ended: longest_seconds)
    intake = Intake(
        catalogue.writer, at_once, lambda _line: None, others_wait=lambda _path, _size: others_wait, rules=rules
    )
    intake.offer(store(catalogue, "large"))
    intake.use(Settings(settle_ms=600_000))
    intake.offer(store(catalogue, "small"))  # It is due in ten minutes, so the large one need not wait for it.
    intake.use(at_once)
    intake.look_again()
    assert intake.ended == 0
    assert [each.name for each in intake.waiting] == ["small"]
    assert store(catalogue, "large").entries == ENTRIES


def test_stores_that_come_before_all_others_are_taken_alone(catalogue: Catalogue, tmp_path: Path) -> None:
    known = writers.make_layout(str(tmp_path / "known"))
    catalogue.add(known)
    new = writers.make_layout(str(tmp_path / "new"))
    catalogue.add(new, index=False)
    listed(known, "k", 2)
    listed(new, "n", 1)
    intake = Intake(catalogue.writer, Settings(settle_ms=100), lambda _line: None)
    for name in ("known", "new"):
        intake.offer(store(catalogue, name))

    def is_taken(name: str, *, first_only: bool) -> bool:
        intake.look_again(first_only=first_only)
        return store(catalogue, name).entries > 0

    wait_for(lambda: is_taken("known", first_only=True))
    assert [each.name for each in intake.waiting] == ["new"]
    wait_for(lambda: is_taken("new", first_only=False))


def test_longer_turns_grow_and_have_an_end() -> None:
    assert longest(0) == LONGEST_SECONDS
    assert longest(1) == 2 * LONGEST_SECONDS
    assert longest(50) == longest(1000)
