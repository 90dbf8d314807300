"""`ocicat changes`: played back, the changes are what plain scans say; a cursor continues exactly at its position."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.engine.interface import Reader
from catalog.errors import UsageError
from catalog.lookup.changes import Change, Followed, from_beginning, from_now, from_time, parsed
from tests import writers
from tests.conftest import Catalogue
from tests.effort import examples
from tests.lookup.test_compare import named, write
from tests.lookup.test_differential import SHM
from tests.lookup.test_past_steps import counted
from tests.lookup.turns import Turn, Turns
from tests.stress.overtime import now_ms

New = Callable[[str], Catalogue]
Row = tuple[str, str | None, str | None, str | None, str | None]
DAY_MS = 86_400_000


def row(change: Change) -> Row:
    return change.store, change.repository, change.tag, change.old, change.new


def all_of(reader: Reader, followed: Followed | None = None) -> list[Change]:
    return list((followed or from_beginning(reader)[0]).changes(reader))


def test_played_back_they_are_what_scans_say(new_catalogue: New, engine: str) -> None:
    @settings(max_examples=examples(20 if engine == "sqlite" else 8))
    @given(draw=st.data())
    def compare(draw: st.DataObject) -> None:
        with tempfile.TemporaryDirectory(dir=SHM) as made:
            directory, before = os.path.realpath(made), os.getcwd()
            os.chdir(directory)
            catalogue = new_catalogue(directory)
            try:
                turns = Turns(catalogue, directory)
                turns.begin(draw)
                followed = from_now(catalogue.reader)
                come: list[Change] = []
                for _ in range(4):
                    turns.turn(draw)
                    come += followed.changes(catalogue.reader)
                found = all_of(catalogue.reader)
                assert list(map(row, come)) == list(map(row, found))[len(found) - len(come) :]
                assert played_back(found, turns.turns) == []
                check_cursors(catalogue.reader, found, turns.turns)
            finally:
                catalogue.close()
                os.chdir(before)

    compare()


def played_back(found: list[Change], turns: list[Turn]) -> list[object]:
    """Where the state after the changes of a turn is not what the scans said, or `old` was not what stood.

    A name has one digest at a time. Without a tag, any number of entries of a store are told apart by their digests.
    """
    wrong: list[object] = []
    state: dict[tuple[str, str | None, str | None], str] = {}
    unnamed: set[tuple[str, str | None, str]] = set()
    ahead = iter(found)
    change = next(ahead, None)
    for turn in turns:
        while change is not None and change.at <= turn.at:
            key = change.store, change.repository, change.tag
            if change.tag is None:
                entry = change.store, change.repository, change.new or change.old or ""
                if (entry in unnamed) == (change.new is not None) or change.change == "moved":
                    wrong.append((row(change), unnamed))
                (unnamed.discard if change.new is None else unnamed.add)(entry)
            elif state.get(key) != change.old or change.old == change.new:
                wrong.append((row(change), state.get(key)))
            elif change.new is None:
                state.pop(key, None)
            else:
                state[key] = change.new
            change = next(ahead, None)
        said = {(name, *key): digest for name, scan in turn.stores.items() for key, digest in scan.answers.items()}
        others = {
            (name, key[0], digest)
            for name, scan in turn.stores.items()
            for key, digest in scan.others
            if key[1] is None
        }
        if (state, unnamed) != (said, others):
            wrong.append((turn.at, state, said, unnamed, others))
    return [*wrong, *([] if change is None else [change])]


def check_cursors(reader: Reader, found: list[Change], turns: list[Turn]) -> None:
    """From each cursor, and from the time of each turn, exactly what came after comes."""
    rows = list(map(row, found))
    assert len({change.cursor for change in found}) == len(found)
    for place, change in enumerate(found, 1):
        if place % 3 == 0 or place == len(found):
            again = all_of(reader, parsed(change.cursor))
            assert list(map(row, again)) == rows[place:], change.cursor
            assert [each.cursor for each in again] == [each.cursor for each in found[place:]]
    for turn in turns:
        later = [row(change) for change in found if change.at > turn.at]
        assert list(map(row, all_of(reader, from_time(reader, turn.at)))) == later
    assert all_of(reader, from_now(reader)) == []
    assert all_of(reader, from_time(reader, now_ms() + 1000)) == []


def test_a_store_that_is_renamed_removed_and_added_again(catalogue: Catalogue, tmp_path: Path) -> None:
    path, digest = f"{tmp_path}/a", str(writers.fake_descriptor("x")["digest"])
    write(path, named("x", 1), writers.fake_descriptor("x"))
    catalogue.add(path)
    catalogue.add(path, name="b")
    catalogue.remove("b")
    catalogue.add(path, name="b")
    repository = "docker.io/library/app"
    added = [(name, repository, "1", None, digest) for name in "abb"]
    removed = [(name, repository, "1", digest, None) for name in "ab"]
    expected = [added[0], removed[0], added[1], removed[1], added[2]]
    found = list(map(row, all_of(catalogue.reader)))
    assert [each for each in found if each[2] is not None] == expected
    unnamed = [(store, None, None, old, new) for store, _, _, old, new in expected]
    assert [each for each in found if each[2] is None] == unnamed


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "a.b.c", "1.2.3.4.5", "-1.2.3", "1.2.3-", f"1.2.{'9' * 19}", "\uff11.2.3"]
)
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(UsageError, match="is not a cursor"):
        parsed(text)


def test_a_cursor_of_another_catalog(catalogue: Catalogue, tmp_path: Path) -> None:
    write(f"{tmp_path}/a", named("x", 1))
    catalogue.add(f"{tmp_path}/a")
    (change,) = all_of(catalogue.reader)
    host, moment, at = map(int, change.cursor.split("."))
    for other in (f"{host}.{moment}.{at + 1}", f"{host}.{moment + 5}.{at}", f"{host + 1}.{moment}.{at}"):
        with pytest.raises(UsageError, match="not a cursor of this catalog"):
            all_of(catalogue.reader, parsed(other))


def test_what_retention_has_dropped_is_said(catalogue: Catalogue, tmp_path: Path) -> None:
    """Whatever was not delivered before it was dropped is an error; what was delivered makes none."""
    path = f"{tmp_path}/a"
    for number in range(4):
        write(path, named(f"{number}", 1), named(f"{number}", 2))
        catalogue.add(path) if number == 0 else catalogue.index()
    before = all_of(catalogue.reader)
    assert len(before) == 8
    last = catalogue.sql("SELECT max(id) FROM moment")[0][0]
    ages = catalogue.settings.history_ms + 2 * DAY_MS
    with catalogue.writer.transaction() as connection:  # all but the last change was long ago
        connection.exec_driver_sql(f"UPDATE moment SET label = label - {ages}, at = at - {ages} WHERE id < {last}")
    aged = [change.cursor for change in all_of(catalogue.reader)]
    catalogue.retire(now_ms())
    followed, since = from_beginning(catalogue.reader)
    assert since is not None
    kept = all_of(catalogue.reader, followed)
    assert list(map(row, kept)) == list(map(row, before))[6:]
    for place, cursor in enumerate(aged):
        if place < 5:  # after the sixth change nothing is lost
            with pytest.raises(UsageError, match="some changes since then are no longer kept"):
                all_of(catalogue.reader, parsed(cursor))
        else:
            assert list(map(row, all_of(catalogue.reader, parsed(cursor)))) == list(map(row, before))[place + 1 :]
    with pytest.raises(UsageError, match="kept"):
        from_time(catalogue.reader, since - 1)
    assert list(map(row, all_of(catalogue.reader, from_time(catalogue.reader, since)))) == list(map(row, kept))


def test_an_empty_catalog(catalogue: Catalogue) -> None:
    assert all_of(catalogue.reader) == []
    assert from_now(catalogue.reader).cursor == ""


def test_hosts_are_followed_each_by_itself(catalogue: Catalogue, tmp_path: Path) -> None:
    """A moment that another host commits late, with a lower number and an earlier time, is not missed."""
    write(f"{tmp_path}/a", named("x", 1))
    catalogue.add(f"{tmp_path}/a")
    columns = ("moment.id", "store.born", "entry.born", "name.born", "name.answers_from", "store_span.born")
    with catalogue.writer.transaction() as connection:  # the other host has taken the numbers below
        for table, column in (each.split(".") for each in columns):
            connection.exec_driver_sql(f"UPDATE {table} SET {column} = {column} + 100")
    (here,) = all_of(catalogue.reader)
    with catalogue.writer.transaction() as connection:
        connection.exec_driver_sql("INSERT INTO host (id, name) VALUES (77, 'elsewhere')")
        connection.exec_driver_sql("INSERT INTO moment (id, host_id, at, label) VALUES (5, 77, 9, 9)")
        connection.exec_driver_sql(
            "INSERT INTO store_span (store_id, host_id, name, path, priority, since, born)"
            " VALUES (500, 77, 'b', '/b', 0, 9, 5)"
        )
        connection.exec_driver_sql(
            "INSERT INTO answer_span (store_id, tag, content_id, since, until, born, gone)"
            " SELECT 500, 't', min(id), 9, 9, 5, 6 FROM content"
        )
    (there,) = all_of(catalogue.reader, parsed(here.cursor))
    assert (there.store.rpartition(":")[2], there.tag, there.at) == ("b", "t", 9)
    assert there.cursor.startswith(f"{here.cursor}-77.5.9")
    assert all_of(catalogue.reader, parsed(there.cursor)) == []
    assert [change.store for change in all_of(catalogue.reader)] == [there.store, here.store]  # by their times


def test_entries_without_a_tag_come_and_go_by_their_digests(catalogue: Catalogue, tmp_path: Path) -> None:
    """Twice the same is one, a place in the list is nothing, and a name that an entry gets or loses is two changes."""
    path = f"{tmp_path}/a"
    bare = {seed: writers.fake_descriptor(seed) for seed in "xyz"}
    x, y, z = (str(bare[seed]["digest"]) for seed in "xyz")
    pinned = {**bare["z"], "annotations": {writers.IMAGE_NAME: f"docker.io/library/app@{z}"}}
    arm = {**bare["x"], "platform": writers.platform("linux", "arm64")}
    turns: list[tuple[list[writers.Descriptor], set[Row]]] = [
        ([bare["x"]], {("a", None, None, None, x)}),
        ([arm, bare["y"], bare["x"]], {("a", None, None, None, y)}),
        ([bare["x"], bare["y"]], set()),
        ([bare["y"], bare["x"]], set()),
        ([bare["y"], arm], set()),
        (
            [writers.name_entry(bare["y"], "tag", "", "1"), arm, pinned],
            {
                ("a", None, None, y, None),
                ("a", None, "1", None, y),
                ("a", "docker.io/library/app", None, None, z),
            },
        ),
        ([pinned], {("a", None, None, x, None), ("a", None, "1", y, None)}),
        ([bare["z"]], {("a", "docker.io/library/app", None, z, None), ("a", None, None, None, z)}),
    ]
    for number, (entries, expected) in enumerate(turns):
        followed = from_now(catalogue.reader)
        write(path, *entries)
        catalogue.index() if number else catalogue.add(path)
        assert {row(change) for change in followed.changes(catalogue.reader)} == expected, number
    for naming, expected in (
        ("annotation=nosuch", set()),
        ("fixed=app", set()),
        ("annotations", set()),
    ):
        followed = from_now(catalogue.reader)
        catalogue.add(path, naming=naming)
        assert {row(change) for change in followed.changes(catalogue.reader)} == expected, naming


def test_a_naming_policy_names_an_entry_and_takes_the_name_away(catalogue: Catalogue, tmp_path: Path) -> None:
    """The entry itself does not change, so only its keys show that it now has a tag."""
    bare = writers.fake_descriptor("x")
    digest = str(bare["digest"])
    entry = {**bare, "annotations": {"title": "app:1"}}
    write(f"{tmp_path}/a", entry)
    catalogue.add(f"{tmp_path}/a")
    expected: list[set[Row]] = [
        {("a", None, None, digest, None), ("a", "docker.io/library/app", "1", None, digest)},
        {("a", None, None, None, digest), ("a", "docker.io/library/app", "1", digest, None)},
    ]
    for naming, rows in zip(("annotation=title", "annotations"), expected, strict=True):
        followed = from_now(catalogue.reader)
        catalogue.add(f"{tmp_path}/a", naming=naming)
        assert {row(change) for change in followed.changes(catalogue.reader)} == rows


def test_its_cost_is_in_proportion_to_what_changed(
    tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue]
) -> None:
    """One entry that changes is found by a few searches, however large the store, the past and the catalog are."""
    for has_tag in (True, False):
        steps: list[int] = []
        for entries, turns, others in ((50, 4, 1), (400, 40, 10)):
            steps.append(_steps_of_one(new_sqlite_catalogue, f"{tmp_path}/{has_tag}", entries, turns, others, has_tag))
        assert steps[1] <= 1.5 * steps[0] + 20, (has_tag, steps)


def _steps_of_one(
    new: Callable[[str], Catalogue], parent: str, entries: int, turns: int, others: int, has_tag: bool
) -> int:
    """The steps for one entry that changes among others, after some turns in which it changed as well."""

    def all_but(first: str) -> list[writers.Descriptor]:
        made = [named(seed, n) for n, seed in enumerate([first, *(f"{n}" for n in range(1, entries))])]
        return made if has_tag else [bare(entry) for entry in made]

    directory = f"{parent}/{entries}"
    os.makedirs(directory)
    catalogue = new(directory)
    for name in ("a", *(f"other{n}" for n in range(others))):
        write(f"{directory}/{name}", *(all_but("0")[: entries if name == "a" else 20]))
        catalogue.add(f"{directory}/{name}", index=False)
    catalogue.index()
    for turn in range(turns):
        followed = from_now(catalogue.reader)
        write(f"{directory}/a", *all_but(f"turn {turn}"))
        catalogue.index()
    with counted(catalogue.reader) as counter:
        assert len(all_of(catalogue.reader, followed)) == (1 if has_tag else 2)
    return counter.steps


def bare(entry: writers.Descriptor) -> writers.Descriptor:
    return {key: value for key, value in entry.items() if key != "annotations"}


def test_a_digest_that_comes_and_goes_again_and_again_is_read_in_proportion(
    tmp_path: Path, new_sqlite_catalogue: Callable[[str], Catalogue]
) -> None:
    """With and without a second entry of that digest, which stays; and while a named one changes its place each time."""
    steps: list[int] = []
    for turns in (30, 120):
        directory = f"{tmp_path}/{turns}"
        os.makedirs(directory)
        catalogue = new_sqlite_catalogue(directory)
        x, y = (writers.fake_descriptor(seed) for seed in "xy")
        stays = {**y, "platform": writers.platform("linux", "arm64")}
        two = [writers.name_entry(x, "tag", "", "1"), writers.name_entry(y, "tag", "", "1")]
        for turn in range(turns):
            write(f"{directory}/a", *([x, y, stays, *two] if turn % 2 else [stays, *two[::-1]]))
            catalogue.index() if turn else catalogue.add(f"{directory}/a")
        with counted(catalogue.reader) as counter:
            found = all_of(catalogue.reader)
        assert sum(change.tag is None for change in found) == turns
        steps.append(counter.steps)
    assert steps[1] <= 4.5 * steps[0], steps
