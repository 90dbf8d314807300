"""The diff and the order of entries, pure: what stands stays, sort keys stay apart, and order follows where it matters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from catalog.ingest.diff import GAP, Diff, Old
from catalog.ingest.order import mend
from tests.effort import examples


class Stored(NamedTuple):
    id: int
    sort: int
    element: int


def printed(element: int) -> bytes:
    """A fingerprint of 16 bytes. Elements that differ share the first half: all 128 bits have to count."""
    return element.to_bytes(16, "big")


class Model:
    """A store's entries as rows: an element is a number, and elements that are equal modulo `groups` share a name."""

    def __init__(self, groups: int, pending: int = 10_000, run: int = 0) -> None:
        self.rows: list[Stored] = []
        self.groups = groups
        self.pending = pending
        self.run = run
        """How many elements are compared in one step where nothing differs; 0 for one by one."""
        self.written = 0
        self.next_id = 1
        self.unordered = False

    def apply(self, elements: Sequence[int]) -> None:
        """As catalog.ingest.names does it."""
        old = Old([(row.id, row.sort, printed(row.element)) for row in self.rows])
        diff = Diff(old)
        listed: list[Stored] = []
        waiting: list[int] = []

        def place(sorts: Sequence[int]) -> None:
            for element, sort in zip(waiting, sorts, strict=True):
                listed.append(Stored(self.next_id, sort, element))
                self.next_id += 1
            waiting.clear()

        added = 0
        left = list(elements)
        while left:
            some = left[: self.run]
            begin = diff.run([printed(element) for element in some]) if self.run and not waiting else None
            if begin is not None:
                listed += self.rows[begin : begin + len(some)]
                left = left[len(some) :]
                continue
            element = left.pop(0)
            at = diff.match(printed(element))
            if at is None:
                added += 1
                waiting.append(element)
                if len(waiting) >= self.pending:
                    place(diff.flush(len(waiting)))
            else:
                place(diff.before(at, len(waiting)))
                listed.append(self.rows[at])
        place(diff.end(len(waiting)))
        removed = diff.removed()
        self.written = added + len(removed)
        self.unordered = diff.unordered
        if diff.unordered:
            moved = mend([row.sort for row in listed], ([row.element % self.groups] for row in listed))
            self.written += len(moved)
            listed = [row._replace(sort=moved.get(place, row.sort)) for place, row in enumerate(listed)]
        before = Counter(row.element for row in self.rows)
        assert added == sum((Counter(elements) - before).values())
        assert len(removed) == sum((before - Counter(elements)).values())
        assert [row.element for row in listed] == list(elements)
        for group in {element % self.groups for element in elements}:
            sorts = [row.sort for row in listed if row.element % self.groups == group]
            assert sorts == sorted(sorts), "entries that share a name stand in the list's order"
        assert len({row.sort for row in listed}) == len(listed), "sort keys are apart"
        if not diff.unordered:
            assert [row.sort for row in listed] == sorted(row.sort for row in listed)
        self.rows = sorted(listed, key=lambda row: row.sort)


def test_descriptors_that_share_half_of_a_fingerprint_are_two() -> None:
    old, new = bytes(8) + b"\1" * 8, bytes(8) + b"\2" * 8
    for stored in ([old], [old, old]):
        diff = Diff(Old([(number, number * GAP, print_) for number, print_ in enumerate(stored)]))
        assert diff.match(new) is None
        assert diff.match(old) == 0
        assert Diff(Old([(number, number * GAP, print_) for number, print_ in enumerate(stored)])).run([new]) is None
    assert Diff(Old([(1, GAP, None)])).match(old) is None, "an entry of an upgraded catalog equals nothing"
    assert Diff(Old([(1, GAP, None)])).run([old]) is None


def test_a_run_is_all_or_nothing() -> None:
    diff = Diff(Old([(number, number * GAP, printed(number)) for number in range(6)]))
    assert diff.run([printed(0), printed(1)]) == 0
    assert diff.run([printed(2), printed(4)]) is None
    assert diff.run([printed(3), printed(4)]) is None, "the next one is 2"
    assert diff.match(printed(4)) == 4
    assert diff.before(4, 0) == []
    assert diff.run([printed(5), printed(6)]) is None, "it ends with the old list"
    assert diff.run([printed(5)]) == 5
    assert diff.run([printed(5)]) is None
    assert diff.removed() == [2, 3]
    assert not diff.unordered


def test_a_run_after_a_later_entry_is_out_of_order() -> None:
    diff = Diff(Old([(number, number * GAP, printed(number)) for number in range(4)]))
    for number in (3, 0):
        assert diff.match(printed(number)) == number
        assert diff.before(number, 0) == []
    assert diff.run([printed(1), printed(2)]) is None
    assert diff.unordered


LISTS = st.lists(st.integers(0, 9), max_size=10)


@settings(max_examples=examples(300))
@given(st.lists(LISTS, min_size=1, max_size=5), st.integers(1, 5), st.sampled_from([1, 2, 10_000]))
@example([[0, 1, 2], [0, 4, 2, 1]], 3, 10_000)  # between two that stand, where another one stands that comes later
@example([[0, 1, 2], [4, 1, 0]], 4, 10_000)  # before the first that stands, where another one stands
def test_any_lists_one_after_the_other(lists: list[list[int]], groups: int, pending: int) -> None:
    model = Model(groups, pending)
    in_runs = [Model(groups, pending, run) for run in (1, 2, 3)]
    for each in lists:
        model.apply(each)
        for other in in_runs:
            other.apply(each)
            assert (other.rows, other.unordered) == (model.rows, model.unordered)


@settings(max_examples=examples(100))
@given(st.lists(st.integers(0, 30), min_size=1, max_size=30, unique=True), st.data())
def test_small_edits_one_after_the_other(elements: list[int], data: st.DataObject) -> None:
    """Removed, inserted, replaced, moved: never more rows than those, unless order matters and was turned round."""
    model = Model(1000)
    model.apply(elements)
    for number in range(6):
        new = list(elements)
        change = data.draw(st.sampled_from(["remove", "insert", "replace", "move"]))
        at = data.draw(st.integers(0, max(len(new) - 1, 0)))
        if change in ("remove", "replace", "move") and new:
            taken = new.pop(at)
            if change == "move":
                new.insert(data.draw(st.integers(0, len(new))), taken)
        if change in ("insert", "replace"):
            new.insert(at, 100 + number)
        model.apply(new)
        assert change == "move" or model.written <= 2
        elements = new


@pytest.mark.parametrize("place", [0, 1, 50, 98, 99])
def test_an_element_replaced_in_place_again_and_again_needs_no_other_row(place: int) -> None:
    """umoci and BuildKit without a name: the gap between two neighbours never runs out."""
    model = Model(1000)
    elements = list(range(100))
    model.apply(elements)
    for number in range(200):
        elements[place] = 1_000 + number
        model.apply(elements)
        assert model.written == 2
        assert not model.unordered


def test_a_gap_that_runs_out_moves_only_what_shares_a_name() -> None:
    model = Model(10**9)
    elements = [0, 1]
    model.apply(elements)
    for number in range(2, 100):
        elements.insert(1, number)
        model.apply(elements)
        assert model.written == 1
    assert model.unordered


def test_an_empty_store_is_numbered_with_gaps() -> None:
    model = Model(10)
    model.apply([5, 6, 7])
    assert [row.sort for row in model.rows] == [0, GAP, 2 * GAP]
    model.apply([])
    assert model.rows == []
    model.apply([8])
    assert [row.sort for row in model.rows] == [0]


def test_a_shuffled_list_of_what_shares_nothing_writes_nothing() -> None:
    model = Model(10**9)
    model.apply(range(1000))
    model.apply([(7 * number) % 1000 for number in range(1000)])
    assert model.unordered
    assert model.written == 0


@given(st.lists(st.integers(0, 20), unique=True), st.data())
def test_mending_deals_out_the_same_sort_keys(sorts: list[int], data: st.DataObject) -> None:
    things = st.lists(st.sampled_from("abcde"), max_size=2)
    shares = [data.draw(things) for _ in sorts]
    changed = mend(sorts, shares)
    mended = [changed.get(place, sort) for place, sort in enumerate(sorts)]
    assert sorted(mended) == sorted(sorts)
    assert all(mended[place] != sorts[place] for place in changed)
    for thing in "abcde":
        own = [mended[place] for place in range(len(sorts)) if thing in shares[place]]
        assert own == sorted(own)
    if sorts == sorted(sorts):
        assert not changed
