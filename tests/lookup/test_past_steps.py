"""The cost of `--at` and `history`, in steps of SQLite's virtual machine, at two sizes of the past and of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from catalog.engine.interface import Reader
from catalog.engine.postgres.reader import PostgresReader
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
from tests import writers
from tests.conftest import Catalogue, file_of, stamp
from tests.stress.overtime import now_ms

FACTOR = 1.3
"""The allowed factor: a few more levels of a B-tree, but never ten times."""
REFS = (
    "app:1", ":1", "ap?:1", "{digest}", "{digest:.20}", "app@{digest}", "oci-layout://s:1", "oci-layout://s/app:1",
    "oci-layout://s@{digest}", "oci:{path}:docker.io/library/app:1", "ocidir://{path}:1",
)  # fmt: skip


class Past(NamedTuple):
    """A store whose tag `app:1` changed often among many others: its path, its second digest, and when it had that."""

    catalogue: Catalogue
    path: str
    at: int
    digest: str


class Counter:
    steps = 0


@contextmanager
def counted(reader: Reader) -> Iterator[Counter]:
    """Count the steps of SQLite meanwhile, in tens."""
    counter = Counter()

    def step() -> None:
        counter.steps += 1

    file_of(reader).set_progress_handler(step, 10)
    try:
        yield counter
    finally:
        file_of(reader).set_progress_handler(None, 0)


@contextmanager
def counted_rows(reader: PostgresReader) -> Iterator[Counter]:
    """Count the rows that the server reads from tables meanwhile."""
    counter = Counter()
    read = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
    reader.hold_state()
    try:
        reader._session.ask("SET LOCAL enable_indexonlyscan = off")  # Such a scan would not be counted.
        # Until the server adds them to its statistics, at most once a second, the rows of earlier transactions are in it, too.
        ((before,),) = reader._session.ask(read).fetchall()
        yield counter
        ((rows,),) = reader._session.ask(read).fetchall()
        counter.steps = int(rows) - int(before or 0)
    finally:
        reader.release_state()


def make(catalogue: Catalogue, path: str, names: int, changes: int) -> Past:
    """Make a store with this many entries besides `app:1` and this many changes of one of them; `app:1` changes second."""
    writers.make_layout(path)
    entries = [named("first 0", "app", "1"), *(named(f"{n}", f"r{n}", "t") for n in range(names))]
    at, digest = 0, ""
    for change in range(changes):
        if change == 1:
            entries[0] = named("second", "app", "1")
            digest = entries[0]["digest"]
        if change == 2:
            entries[0] = named("third", "app", "1")
        entries[names] = named(f"change {change}", "last", "t")
        del entries[names + 1 :]
        if change % 2:  # so that the store itself changes as well
            entries.append(named("sometimes", "sometimes", "t"))
        writers.write_recreate(path, writers.dump(writers.empty_index(*entries)))
        stamp(f"{path}/index.json")
        if change == 0:
            catalogue.add(path)
        else:
            catalogue.index()
        if change == 1:
            at = now_ms()
            while now_ms() <= at + 1:
                pass
    return Past(catalogue, path, at, digest)


def say_stepped(catalogue: Catalogue, stepped: bool) -> None:
    """Say whether the clock stepped back long ago, and was put right since."""
    with catalogue.writer.transaction() as connection:
        said = "1 = 1" if stepped else "1 = 0"
        connection.exec_driver_sql(f"UPDATE moment SET stepped = ({said}) WHERE id = (SELECT min(id) FROM moment)")


def named(seed: str, repository: str, tag: str) -> writers.Descriptor:
    return writers.name_entry(writers.fake_descriptor(seed), "canonical", f"docker.io/library/{repository}", tag)


@pytest.fixture(scope="module")
def pasts(tmp_path_factory: pytest.TempPathFactory, new_sqlite_catalogue: Callable[[str], Catalogue]) -> list[Past]:
    """A small one and a large one."""
    directories = [str(tmp_path_factory.mktemp(size)) for size in ("small", "large")]
    return [
        make(new_sqlite_catalogue(directory), f"{directory}/s", *numbers)
        for directory, numbers in zip(directories, ((20, 8), (400, 80)), strict=True)
    ]


@pytest.mark.parametrize("stepped", [False, True])
def test_at_costs_the_same_at_any_size(pasts: list[Past], stepped: bool) -> None:
    """Each statement is an index search, which visits neither the whole catalog nor the whole past."""
    costs: list[dict[str, int]] = []
    for past in pasts:
        say_stepped(past.catalogue, stepped)
        cost = {}
        for ref in REFS:
            text = ref.format(digest=past.digest, path=past.path)
            with counted(past.catalogue.reader) as counter:
                found = Asking(past.catalogue.reader.at(past.at), lambda _: None).resolve(parse_query(text))
            assert found.digest == past.digest, ref
            cost[ref] = counter.steps
        costs.append(cost)
    for ref in REFS:
        assert costs[1][ref] <= costs[0][ref] * FACTOR + 10, (ref, costs)


EVERYTHING = "*", "*:t", ":*"


@pytest.mark.parametrize("engine_", ["sqlite", "postgresql"])
def test_everything_at_a_moment_is_linear(tmp_path: Path, request: pytest.FixtureRequest, engine_: str) -> None:
    """Ten times as many names cost ten times as much: steps of SQLite, rows that PostgreSQL reads."""
    costs: list[dict[str, int]] = []
    for size in (100, 1_000):
        (tmp_path / f"{size}").mkdir()
        if engine_ == "sqlite":
            catalogue = request.getfixturevalue("new_sqlite_catalogue")(str(tmp_path / f"{size}"))
        else:
            catalogue = Catalogue(request.getfixturevalue("server").new_catalog())
        past = make(catalogue, f"{tmp_path}/{size}/s", size, 6)
        reader = past.catalogue.reader.at(past.at)
        cost = {}
        for ref in EVERYTHING:
            with (
                counted_rows(reader)
                if isinstance(reader, PostgresReader)
                else counted(past.catalogue.reader) as counter
            ):
                found = sum(1 for _ in Asking(reader, lambda _: None).matches(parse_query(ref)))
            assert found >= size
            cost[ref] = counter.steps
        costs.append(cost)
        if engine_ != "sqlite":
            catalogue.close()
    for ref in EVERYTHING:
        assert costs[1][ref] <= costs[0][ref] * 10 * FACTOR, (ref, costs)
