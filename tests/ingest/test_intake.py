"""In which order the intake takes stores, when it waits for one, and what it tells its caller."""

from __future__ import annotations

import io
import math
import os
import resource
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from catalog.engine.interface import Writer, Written
from catalog.errors import CatalogLocked, Exhausted
from catalog.exhausted import TOO_LARGE
from catalog.ingest.intake import Intake
from catalog.ingest.listener import Listener
from catalog.ingest.notice import Notice
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Settings
from catalog.ingest.store_state import Store
from catalog.ingest.turns import GRACE_SECONDS, LARGE_BYTES, LARGE_ENTRIES, TurnRules
from catalog.layout.files import FileState
from catalog.layout.list_limits import ListLimits
from tests import writers
from tests.cli.program import needs_root, ran_as_nobody, reachable
from tests.conftest import AT_ONCE, Catalogue, stamp
from tests.watch.harness import wait_for

LATER = Settings(settle_ms=600_000, held_ms=0)


class Looks(Listener):
    """Records what an intake looks at, and does something at each look."""

    def __init__(self, at_look: Callable[[Store], None] = lambda _store: None) -> None:
        self.seen: list[tuple[str, bool]] = []
        self.notices: list[Notice] = []
        self.lags: list[list[float]] = []
        self.sooner: float | None = None
        self._at_look = at_look

    def looked(self, store: Store, file: FileState | None) -> None:
        self.seen.append((store.name, file is not None))
        self._at_look(store)

    def heard(self, notice: Notice) -> None:
        self.notices.append(notice)

    def committed(self, seconds: float, lags: list[float]) -> None:
        assert seconds > 0
        self.lags.append(lags)

    def shares(self, store: Store) -> bool:
        return store.name.startswith("shared")

    def may_read_sooner(self, store: Store, file: FileState, age: float) -> float | None:  # noqa: ARG002
        return self.sooner


class Tight:
    """The writer of a process whose memory suffices for transactions with so many new entries.

    After `locked_after` transactions it finds the catalog locked.
    """

    def __init__(self, writer: Writer, most: int) -> None:
        self._writer = writer
        self.most = most
        self.locked_after = 1_000

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def write(self, work: Callable[[Connection], Written], **how: bool) -> Written:
        def tight(connection: Connection) -> Written:
            if not self.locked_after:
                raise CatalogLocked("another process writes")
            before = count(connection)
            found = work(connection)
            if count(connection) > before + self.most:
                raise MemoryError
            self.locked_after -= 1
            return found

        def count(connection: Connection) -> int:
            return int(connection.exec_driver_sql("SELECT count(*) FROM entry").scalar_one())

        return self._writer.write(tight, **how)


def tightly(catalogue: Catalogue, tmp_path: Path, **counts: int) -> tuple[Tight, Intake]:
    """Stores with so many new entries each, offered to an intake whose memory suffices for two new ones in a transaction."""
    for path, count in zip(stores(catalogue, tmp_path, *counts), counts.values(), strict=True):
        listed(path, "new", count)
    writer = Tight(catalogue.writer, 2)
    intake = Intake(cast("Writer", writer), AT_ONCE, catalogue.lines.append)
    for name in counts:
        intake.offer(known(catalogue, name))
    return writer, intake


def listed(path: str, seed: str, count: int = 1) -> None:
    """An index.json of so many entries, which changes if the seed does."""
    entries = [writers.name_entry(writers.fake_descriptor(f"{seed}{n}"), "tag", "", f"t{n}") for n in range(count)]
    writers.write_recreate(path, writers.dump(writers.empty_index(*entries)))


def archived(path: Path, count: int, *, members: int) -> None:
    """An archive of a layout with so many entries, after so many blobs."""
    layout = writers.make_layout(f"{path}.layout")
    listed(layout, "archived", count)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(layout, ".")
    shutil.rmtree(layout)
    blobs = (tarfile.TarInfo(f"blobs/sha256/{number:064x}").tobuf() for number in range(members))
    path.write_bytes(b"".join(blobs) + data.getvalue())


def stores(catalogue: Catalogue, tmp_path: Path, *names: str) -> list[str]:
    """The paths of layouts in the catalog, which have an entry each."""
    paths = [writers.make_layout(str(tmp_path / name)) for name in names]
    for path in paths:
        listed(path, "old")
        stamp(f"{path}/index.json")
        catalogue.add(path)
    return paths


def known(catalogue: Catalogue, name: str) -> Store:
    with catalogue.writer.snapshot() as connection:
        return next(each for each in Registry(connection).stores() if each.name == name)


def entries(catalogue: Catalogue, name: str) -> int:
    return known(catalogue, name).entries


def put_off(intake: Intake, store: Store) -> None:
    """Offer a store that the intake puts off for a moment, because its file is open for writing."""
    with open(f"{store.path}/index.json", "ab") as file:
        file.write(b" ")
        file.flush()
        assert not intake.offer(store)
    assert store.path in [each.path for each in intake.waiting]


def wait_until_due(intake: Intake) -> None:
    """Wait until the intake would look at each store that waits."""
    everyone = intake.due_before(math.inf)
    wait_for(lambda: intake.due_before(time.monotonic()) == everyone)


def test_what_an_offer_tells(catalogue: Catalogue, tmp_path: Path) -> None:
    _same, new, gone = stores(catalogue, tmp_path, "same", "new", "gone")
    listed(new, "new", 2)
    os.unlink(f"{gone}/index.json")
    intake = Intake(catalogue.writer, AT_ONCE, catalogue.lines.append)
    assert [intake.offer(known(catalogue, name)) for name in ("same", "new", "gone")] == [True, False, False]
    intake.commit()
    assert (intake.done, intake.changed, intake.waiting) == (3, 1, [])
    # Now the catalog says of each what the disk says.
    assert [intake.offer(known(catalogue, name)) for name in ("same", "new", "gone")] == [True, True, True]
    assert (intake.done, intake.changed, intake.waiting) == (6, 1, [])
    assert entries(catalogue, "new") == 2
    assert catalogue.sql("SELECT name, state FROM stores WHERE state <> 'ok'") == [("gone", "invalid")]


def test_a_listener_hears_what_is_there_and_what_became_of_it(catalogue: Catalogue, tmp_path: Path) -> None:
    (path,) = stores(catalogue, tmp_path, "s")
    looks = Looks()
    intake = Intake(catalogue.writer, AT_ONCE, catalogue.lines.append, looks)
    os.rename(f"{path}/index.json", f"{path}/away")
    intake.offer(known(catalogue, "s"))
    intake.commit()
    os.rename(f"{path}/away", f"{path}/index.json")
    intake.offer(known(catalogue, "s"))
    intake.commit()
    listed(path, "new")
    intake.offer(known(catalogue, "s"))
    intake.commit()
    assert looks.seen == [("s", False), ("s", True), ("s", True)]
    assert [each.event for each in looks.notices] == ["store-recovered", "store-changed"]
    assert looks.notices[1] == f"s: 1 entry added, 1 removed, 0 moved ({path})"
    (line,) = catalogue.lines
    assert isinstance(line, Notice)
    assert line.event == "store-state"


def test_a_listener_hears_how_late_changes_are_but_not_first_readings(catalogue: Catalogue, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "s"))
    listed(path, "first")
    catalogue.add(path, index=False)
    looks = Looks()
    intake = Intake(catalogue.writer, AT_ONCE, catalogue.lines.append, looks)
    for seed in ("first", "second"):
        listed(path, seed)
        intake.offer(known(catalogue, "s"))
        intake.commit()
    assert [len(each) for each in looks.lags] == [0, 1]
    assert looks.lags[1][0] > 0


def test_only_a_small_store_is_read_sooner_because_a_listener_says_so(catalogue: Catalogue, tmp_path: Path) -> None:
    large, small = stores(catalogue, tmp_path, "large", "small")
    listed(large, "l", LARGE_ENTRIES + 1_000)
    listed(small, "s", 2)
    looks = Looks()
    looks.sooner = 0
    intake = Intake(catalogue.writer, LATER, catalogue.lines.append, looks)
    assert [intake.offer(known(catalogue, name)) for name in ("large", "small")] == [False, False]
    intake.commit()
    assert [each.name for each in intake.waiting] == ["large"]
    assert [entries(catalogue, name) for name in ("large", "small")] == [1, 2]


def test_a_problem_counts_once_the_same_one_has_lasted_for_the_settling_time(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    (path,) = stores(catalogue, tmp_path, "s")
    intake = Intake(catalogue.writer, LATER, catalogue.lines.append)
    dues: list[float] = []

    def look() -> None:
        assert not intake.offer(known(catalogue, "s"))
        due = intake.next_due()
        assert due is not None
        dues.append(due)

    os.unlink(f"{path}/index.json")
    look()
    look()
    os.mkdir(f"{path}/index.json")
    look()
    assert dues[0] == dues[1] < dues[2]
    assert catalogue.sql("SELECT state FROM store") == [("ok",)]


def test_a_file_that_somebody_has_open_for_writing_is_read_once_it_is_closed(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    (path,) = stores(catalogue, tmp_path, "s")
    listed(path, "new", 2)
    intake = Intake(catalogue.writer, Settings(settle_ms=0), catalogue.lines.append)
    with open(f"{path}/index.json", "ab"):
        assert not intake.offer(known(catalogue, "s"))
        assert [each.why for each in intake.put_off(-1.0)] == ["somebody has its index.json open for writing"]
        wait_until_due(intake)
        intake.look_again()
        assert entries(catalogue, "s") == 1
    wait_until_due(intake)
    intake.look_again()
    assert (entries(catalogue, "s"), intake.waiting) == (2, [])


def test_small_stores_are_committed_before_a_large_one_has_its_turn(catalogue: Catalogue, tmp_path: Path) -> None:
    large, small = stores(catalogue, tmp_path, "large", "small")
    listed(large, "l", LARGE_ENTRIES + 1_000)
    assert os.stat(f"{large}/index.json").st_size > LARGE_BYTES
    listed(small, "s", 2)
    seen: list[int] = []
    looks = Looks(lambda store: seen.append(entries(catalogue, "small")) if store.name == "large" else None)
    intake = Intake(catalogue.writer, Settings(settle_ms=0), catalogue.lines.append, looks)
    for name in ("large", "small"):
        put_off(intake, known(catalogue, name))
    wait_until_due(intake)
    intake.look_again()
    assert seen == [1, 2]
    assert entries(catalogue, "large") == LARGE_ENTRIES + 1_000


def test_in_which_order_stores_are_looked_at(catalogue: Catalogue, tmp_path: Path) -> None:
    """Known stores first, those that had a turn lately after others; then new ones; then those that share a file; then large ones."""
    names = "large", "shared", "lately", "seldom"
    for path in stores(catalogue, tmp_path, *names):
        listed(path, "new", 2)
    listed(str(tmp_path / "large"), "new", LARGE_ENTRIES + 1_000)
    listed(writers.make_layout(str(tmp_path / "never")), "first", 2)
    catalogue.add(str(tmp_path / "never"), index=False)
    written: dict[str, list[str]] = {}

    def look(store: Store) -> None:
        changed = "SELECT name FROM stores WHERE entries = 2 ORDER BY name"
        written[store.name] = [name for (name,) in catalogue.sql(changed)]

    intake = Intake(catalogue.writer, Settings(settle_ms=0), catalogue.lines.append, Looks(look))
    intake.offer(known(catalogue, "lately"))
    intake.commit()
    listed(str(tmp_path / "lately"), "newer", 3)
    for name in (*names, "never"):
        put_off(intake, known(catalogue, name))
    wait_until_due(intake)
    written.clear()
    intake.look_again()
    assert list(written) == ["seldom", "lately", "never", "shared", "large"]
    assert [entries(catalogue, name) for name in written] == [2, 3, 2, 2, LARGE_ENTRIES + 1_000]
    # Those before it are committed before one that shares its file, and before a large one.
    assert written["never"] == ["lately"]
    assert written["shared"] == ["never", "seldom"]
    assert written["large"] == ["never", "seldom", "shared"]


def test_a_store_is_put_off_while_no_file_can_be_opened(catalogue: Catalogue, tmp_path: Path) -> None:
    (path,) = stores(catalogue, tmp_path, "s")
    listed(path, "new", 2)
    store = known(catalogue, "s")
    intake = Intake(catalogue.writer, AT_ONCE, catalogue.lines.append)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(Exhausted):
            intake.offer(store)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [each.name for each in intake.waiting] == ["s"]
    wait_until_due(intake)
    intake.look_again()
    assert (entries(catalogue, "s"), intake.waiting) == (2, [])


@needs_root
def test_a_file_that_this_user_may_not_read_is_reported_once(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    reachable(directory)
    db, path = f"{directory}/c.db", writers.make_layout(f"{directory}/s")
    listed(path, "old")
    os.chmod(f"{path}/index.json", 0)
    for each in (directory, *directory.rglob("*")):
        os.chown(each, 65534, 65534)
    added = ran_as_nobody("add", path, db=db)
    assert "unreadable" in added.err
    assert ran_as_nobody("index", db=db).err == ""
    os.chmod(f"{path}/index.json", 0o600)
    assert ran_as_nobody("index", db=db).status == 0
    assert ran_as_nobody("query", "--count", db=db).out == "1\n"


@pytest.mark.parametrize("who", ["a store that the intake knows", "one that it does not know"])
@pytest.mark.parametrize("name", ["list", "archive.tar"])
def test_a_turn_is_ended_for_a_smaller_store_and_goes_on_later(
    catalogue: Catalogue, tmp_path: Path, name: str, who: str
) -> None:
    """It ends while a long list is written, or while an archive of many files is read."""
    is_archive = name == "archive.tar"
    count = 2 if is_archive else LARGE_ENTRIES + 1_000
    (small,) = stores(catalogue, tmp_path, "small")
    if is_archive:
        archived(tmp_path / name, count, members=15_000)
    else:
        listed(writers.make_layout(str(tmp_path / name)), "l", count)
    catalogue.add(str(tmp_path / name), index=False)
    is_slow = others_wait = False

    def look(store: Store) -> None:
        if is_slow and store.name == name:
            time.sleep(2 * GRACE_SECONDS)
            wait_until_due(intake)

    intake = Intake(
        catalogue.writer, Settings(settle_ms=0), catalogue.lines.append, Looks(look), others_wait=lambda _path, _size: others_wait,
        rules=TurnRules(patience=lambda _size: 600.0),
    )  # fmt: skip
    intake.offer(known(catalogue, name))
    assert [each.name for each in intake.waiting] == [name]
    assert intake.give_up(0) == []  # Whoever gives up on files that keep changing does not give up on it.
    if who == "a store that the intake knows":
        listed(small, "s", 2)
        put_off(intake, known(catalogue, "small"))  # It is due again while the large one is looked at.
    else:
        others_wait = True
    is_slow = True
    intake.look_again()
    assert intake.ended == 1
    assert entries(catalogue, name) == 0
    why = "its turn was ended 1 time for other stores"
    assert [(each.store.name, each.why.partition(": ")[2]) for each in intake.put_off(math.inf)] == [(name, why)]
    is_slow = others_wait = False

    def is_taken() -> bool:
        intake.look_again()
        return entries(catalogue, name) == count

    wait_for(is_taken)
    assert intake.waiting == []
    assert entries(catalogue, "small") == (2 if who == "a store that the intake knows" else 1)


def test_a_turn_goes_on_if_only_a_larger_store_and_one_that_is_not_due_wait(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    large, larger, small = stores(catalogue, tmp_path, "large", "larger", "small")
    for path, count in ((large, LARGE_ENTRIES + 1_000), (larger, LARGE_ENTRIES + 2_000), (small, 2)):
        listed(path, "new", count)

    def look(store: Store) -> None:
        if is_slow and store.name == "large":
            time.sleep(2 * GRACE_SECONDS)

    is_slow = False
    intake = Intake(catalogue.writer, AT_ONCE, catalogue.lines.append, Looks(look))
    for name in ("larger", "large"):
        intake.offer(known(catalogue, name))
    intake.use(LATER)
    intake.offer(known(catalogue, "small"))
    intake.use(AT_ONCE)
    is_slow = True
    intake.look_again()
    assert intake.ended == 0
    assert [entries(catalogue, name) for name in ("large", "larger", "small")] == [6_000, 7_000, 1]


def test_an_archive_of_a_thousand_files_is_read_without_a_turn(catalogue: Catalogue, tmp_path: Path) -> None:
    archived(tmp_path / "s.tar", 2, members=1_000)
    catalogue.add(str(tmp_path / "s.tar"), index=False)
    intake = Intake(catalogue.writer, AT_ONCE, catalogue.lines.append)
    intake.offer(known(catalogue, "s.tar"))
    intake.commit()
    assert (intake.waiting, entries(catalogue, "s.tar")) == ([], 2)


@pytest.mark.parametrize(("longest", "ended"), [(600.0, 0), (0.0, 1)])
def test_a_longer_turn_goes_on_while_others_wait_until_its_time_is_up(
    catalogue: Catalogue, tmp_path: Path, longest: float, ended: int
) -> None:
    (path,) = stores(catalogue, tmp_path, "large")
    listed(path, "l", LARGE_ENTRIES + 1_000)
    rules = TurnRules(patience=lambda _size: 0.0, longest=lambda _ended: longest)
    looks = Looks(lambda _store: time.sleep(2 * GRACE_SECONDS))
    intake = Intake(
        catalogue.writer, AT_ONCE, catalogue.lines.append, looks, others_wait=lambda _path, _size: True, rules=rules
    )
    intake.offer(known(catalogue, "large"))
    intake.look_again()
    assert intake.ended == ended
    assert entries(catalogue, "large") == (1 if ended else LARGE_ENTRIES + 1_000)


def test_without_time_only_a_large_store_has_a_turn_that_is_overdue(catalogue: Catalogue, tmp_path: Path) -> None:
    names = "large", "small", "smaller"
    paths = stores(catalogue, tmp_path, *names)

    def taken(large_every: float) -> list[int]:
        for path, count in zip(paths, (LARGE_ENTRIES + 1_000, 3, 2), strict=True):
            listed(path, f"{large_every}", count)
        # Its turn is a long one, which the small ones, which go on waiting, do not end.
        rules = TurnRules(patience=lambda _size: 0.0, longest=lambda _ended: 600.0, large_every=large_every)
        intake = Intake(catalogue.writer, Settings(settle_ms=0), catalogue.lines.append, rules=rules)
        for name in names:
            put_off(intake, known(catalogue, name))
        wait_until_due(intake)
        intake.look_again(-1.0)
        return [entries(catalogue, name) for name in names]

    assert taken(600.0) == [1, 1, 1]
    assert taken(0.0) == [LARGE_ENTRIES + 1_000, 1, 1]


def test_who_has_waited_for_long(catalogue: Catalogue, tmp_path: Path) -> None:
    first, second = stores(catalogue, tmp_path, "first", "second")
    intake = Intake(catalogue.writer, LATER, catalogue.lines.append)
    assert (intake.next_due(), intake.oldest(), intake.put_off(0), intake.late(0)) == (None, None, [], [])
    for path in (second, first):
        listed(path, "new", 2)
        assert not intake.offer(known(catalogue, os.path.basename(path)))
    assert [each.store.name for each in intake.put_off(0)] == ["second", "first"]
    assert [each.store.name for each in intake.late(0)] == ["second", "first"]
    assert {each.why for each in intake.late(0)} == {"its file keeps changing"}
    assert (intake.put_off(600), intake.late(600), intake.give_up(600)) == ([], [], [])
    assert intake.oldest() == intake.put_off(0)[0].since
    shutil.rmtree(second)
    assert [each.name for each in intake.give_up(0)] == ["second", "first"]
    assert (intake.done, intake.waiting, entries(catalogue, "first")) == (2, [], 1)


def test_a_streamed_list_that_is_torn_at_its_end_is_not_taken(catalogue: Catalogue, tmp_path: Path) -> None:
    (path,) = stores(catalogue, tmp_path, "s")
    listed(path, "new", 20)
    whole = Path(f"{path}/index.json").read_bytes()
    settings = AT_ONCE._replace(limits=ListLimits(in_memory_bytes=1_000))
    intake = Intake(catalogue.writer, settings, catalogue.lines.append)
    writers.write_recreate(path, whole[:-2])
    intake.offer(known(catalogue, "s"))
    assert [each.why for each in intake.put_off(-1.0)] == ["reading it takes long, and other stores are read first"]
    for _ in range(2):
        intake.offer(known(catalogue, "s"))
        intake.look_again()
        assert (intake.waiting, intake.changed) == ([], 0)
        assert catalogue.sql("SELECT state, entries FROM stores") == [("invalid", 1)]
    assert len(catalogue.lines) == 1  # The second time, it has not changed.
    writers.write_recreate(path, whole)
    stamp(f"{path}/index.json")
    intake.offer(known(catalogue, "s"))
    intake.look_again()
    assert catalogue.sql("SELECT state, entries FROM stores") == [("ok", 20)]


def test_a_streamed_list_that_changes_while_it_is_written_is_read_again(catalogue: Catalogue, tmp_path: Path) -> None:
    (path,) = stores(catalogue, tmp_path, "large")
    listed(path, "l", LARGE_ENTRIES + 1_000)
    states = iter([b"[", writers.dump(writers.empty_index(*map(writers.fake_descriptor, "ab")))])

    def write(_path: str, _size: int) -> bool:
        """Write the next state in place."""
        if (data := next(states, None)) is not None:
            Path(f"{path}/index.json").write_bytes(data)
        return False

    settings = AT_ONCE._replace(limits=ListLimits(in_memory_bytes=1_000))
    looks = Looks(lambda _store: time.sleep(2 * GRACE_SECONDS))
    intake = Intake(catalogue.writer, settings, catalogue.lines.append, looks, others_wait=write)
    intake.offer(known(catalogue, "large"))
    intake.look_again()
    assert [each.why for each in intake.put_off(-1.0)] == ["it changes while it is read"]
    assert entries(catalogue, "large") == 1
    for data in states:
        Path(f"{path}/index.json").write_bytes(data)
    stamp(f"{path}/index.json")

    def is_taken() -> bool:
        intake.look_again()
        return entries(catalogue, "large") == 2

    wait_for(is_taken)
    assert intake.waiting == []


def test_an_archive_that_becomes_something_else_keeps_its_entries(catalogue: Catalogue, tmp_path: Path) -> None:
    archive = tmp_path / "s.tar"
    archived(archive, 1, members=0)
    catalogue.add(str(archive))
    archive.write_bytes(b"plain text" * 100)
    catalogue.index()
    reason = "the archive has become a file, which is not a tar archive"
    assert catalogue.sql("SELECT state, error, entries FROM stores") == [("invalid", reason, 1)]


def test_stores_for_whose_transaction_memory_does_not_suffice_are_written_one_by_one(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    _, intake = tightly(catalogue, tmp_path, a=3, b=3, c=3)
    intake.commit()
    assert [entries(catalogue, name) for name in "abc"] == [3, 3, 3]
    assert (intake.done, intake.changed, intake.waiting) == (3, 3, [])


def test_a_small_list_for_which_memory_does_not_suffice_is_read_later_and_others_at_once(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """A store with a small file is not to blame, so the process has run out of memory."""
    writer, intake = tightly(catalogue, tmp_path, a=2, b=9, c=2)
    with pytest.raises(Exhausted):
        intake.commit()
    assert [entries(catalogue, name) for name in "abc"] == [2, 1, 2]
    assert [each.name for each in intake.waiting] == ["b"]
    writer.most = 100
    wait_until_due(intake)
    intake.look_again()
    assert [entries(catalogue, name) for name in "abc"] == [2, 9, 2]
    assert (intake.done, intake.waiting) == (3, [])


def test_no_store_is_forgotten_if_the_catalog_is_locked_meanwhile(catalogue: Catalogue, tmp_path: Path) -> None:
    """They are written one by one, because memory does not suffice for all, and another process writes after the first."""
    writer, intake = tightly(catalogue, tmp_path, a=3, b=3, c=3)
    writer.locked_after = 1
    with pytest.raises(CatalogLocked):
        intake.commit()
    assert [entries(catalogue, name) for name in "abc"] == [3, 1, 1]
    assert {each.name for each in intake.waiting} == {"b", "c"}
    writer.locked_after = 3
    wait_until_due(intake)
    intake.look_again()
    assert [entries(catalogue, name) for name in "abc"] == [3, 3, 3]
    assert (intake.done, intake.waiting) == (3, [])


def test_a_large_list_for_which_memory_does_not_suffice_is_to_blame(catalogue: Catalogue, tmp_path: Path) -> None:
    (path,) = stores(catalogue, tmp_path, "s")
    listed(path, "new", LARGE_ENTRIES + 1_000)
    size = os.stat(f"{path}/index.json").st_size
    intake = Intake(cast("Writer", Tight(catalogue.writer, 2)), AT_ONCE, catalogue.lines.append)
    intake.offer(known(catalogue, "s"))
    intake.look_again()
    assert catalogue.sql("SELECT state, error, entries FROM stores") == [
        ("invalid", f"its {size} bytes {TOO_LARGE}", 1)
    ]
    assert (intake.done, intake.waiting) == (1, [])
