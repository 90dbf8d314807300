"""Shared fixtures: a catalog in process, used as `ocicat add`, `index`, `remove`, `query` and `resolve` use it.

A file counts at once (AT_ONCE). Tests that write a file twice set its times (`stamp`), because the clock of the file system
may be too coarse to distinguish the two.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from catalog.db.schema import metadata
from catalog.engine.interface import Reader, Writer
from catalog.engine.open import open_reader, open_writer
from catalog.engine.postgres.reader import PostgresReader
from catalog.engine.postgres.writer import PostgresWriter
from catalog.engine.sqlite.reader import SqliteReader
from catalog.engine.sqlite.writer import SqliteWriter
from catalog.errors import Ambiguous, CatalogUnavailable, NotInTime, OcicatError
from catalog.ingest.registry import Registry
from catalog.ingest.retention import drop_missing, prune
from catalog.ingest.rows import Rows
from catalog.ingest.settings import Settings, StoreSettings
from catalog.ingest.sweep import Summary, Sweep
from catalog.layout.discover import is_layout
from catalog.lookup.match import Match
from catalog.lookup.resolve import Asking
from catalog.lookup.stores import store_ids
from catalog.names.keys import Naming
from catalog.names.query import parse_query
from tests import compiled, effort, forking, order, programs
from tests.postgres import Server

if TYPE_CHECKING:
    from tests.lookup.sizes import Sized

# A shell starts background programs with SIGINT ignored, and every program that the suite starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

subprocess.Popen = forking.Popen  # type: ignore[misc]

# The tests are a million objects, and more come all the time: the collector would look at them again and again.
gc.set_threshold(100_000, 50, 100)

# With it, pytest would rewrite all tests in every process, and the thousand programs that tests start would compile all modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# Making files is a sixth of what the tests take of the processor, and a fraction of that in memory. With TMPDIR they are made there.
if "TMPDIR" not in os.environ and (memory := programs.in_memory()):
    os.environ["TMPDIR"] = memory
    tempfile.tempdir = None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only what needs no daemon, no server and no browser")
    parser.addoption(
        "--record-slow", action="store_true", help="write which tests --quick leaves out to tests/slow.txt"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes longer than a second; `make quick` leaves it out")
    config.addinivalue_line(
        "markers", "deep: repeats on other data what another test shows; only `make stress` runs it"
    )
    config.addinivalue_line("markers", "whole_start: starts ocicat in full, not as a fork (tests/forking.py)")
    config.addinivalue_line("markers", "without_catalog: the fixture `cli` has no catalog yet, instead of an empty one")
    if config.option.record_slow and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_SlowTests())
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # tests/order.py sorts files by time, not by their number of tests


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what `--quick` leaves out by its directory."""
    parts = collection_path.relative_to(config.rootpath).parts
    return True if config.option.quick and len(parts) == 2 and parts[1] not in order.QUICK_ROOMS else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Import another part of the tests first in each process.

    Every process imports all tests, in the same order, and what pytest makes of a file it keeps for the next one who imports it. On
    a fresh clone all processes would make the same of each file at the same moment.
    """
    given = getattr(session.config, "workerinput", None)
    if given is None or session.config.option.quick:
        return
    files = sorted(Path(__file__).parent.rglob("test_*.py"))
    for path in files[int(given["workerid"].removeprefix("gw")) :: given["workercount"]]:
        with contextlib.suppress(Exception, pytest.skip.Exception):  # collecting it meets that again, and reports it
            importlib.import_module(".".join(path.relative_to(session.config.rootpath).with_suffix("").parts))


class _SlowTests:
    """Records how long tests take, and writes tests/slow.txt."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the time of a call; setting up is often for other tests too."""
        if report.when == "call":
            self._seconds[report.nodeid] = report.duration

    def pytest_sessionfinish(self) -> None:
        """Write the list."""
        order.SLOW_LIST.write_text("".join(f"{name}\n" for name in order.slow(self._seconds)), encoding="utf-8")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def keep(runs: Callable[[pytest.Item], bool]) -> None:
        if left_out := [item for item in items if not runs(item)]:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if runs(item)]

    if config.option.quick:
        keep(order.is_quick)
    if effort.is_short():
        repeated = order.repeats_on_server(items)
        keep(lambda item: item.get_closest_marker("deep") is None and item not in repeated)
    order.sort(items)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep the collector from looking at the tests at all: that takes a twentieth of the time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return order.processes()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    return order.ByFileAndEngine(config, log) if config.option.dist == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    forking.Popen.is_whole = not effort.is_short() or item.get_closest_marker("whole_start") is not None
    return (yield)


def pytest_sessionfinish() -> None:
    if forking.Popen.server is not None:
        forking.Popen.server.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what to install for the tests that were skipped."""
    reports = terminalreporter.stats.get("skipped", [])
    lines = programs.summary(each.longrepr[2] for each in reports if isinstance(each.longrepr, tuple))
    if lines:
        terminalreporter.section("not tested on this machine")
        for line in lines:
            terminalreporter.write_line(line)


effort.load()
compiled.share()

AT_ONCE = Settings(settle_ms=0, held_ms=0)
"""A file need not stand still, and nobody is looked for who has it open for writing: with hundreds of processes, that look would take
longer than everything else that a test does. tests/watch is about both."""

_ticks = itertools.count(1)


def stamp(path: str) -> None:
    """Give a file a time that no file had before."""
    at = 1_700_000_000_000_000_000 + next(_ticks) * 1_000_000
    os.utime(path, ns=(at, at), follow_symlinks=False)


class Said(NamedTuple):
    """The result of `resolve`: the exit status, and the answer, or the candidates, with "..." if not all are listed."""

    status: int
    digest: str | None = None
    store: str | None = None
    fallback: bool = False
    candidates: frozenset[str] = frozenset()


def file_of(reader: Reader) -> sqlite3.Connection:
    """Return the connection of a reader of a catalog in a file, for tests that only SQLite supports."""
    assert isinstance(reader, SqliteReader)
    return reader.connection


def driver_of_file(writer: Writer) -> sqlite3.Connection:
    """Return the connection of a writer of a catalog in a file."""
    assert isinstance(writer, SqliteWriter)
    assert writer._driver is not None
    return writer._driver


class Catalogue:
    """A catalog at `path`. `lines` are the messages, the newest last; `now` is the time for retention only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.settings = AT_ONCE
        self.lines: list[str] = []
        self.kept: list[Catalogue] | None = None
        self._open()

    def close(self) -> None:
        """Close it, or keep it for the next test."""
        if self.kept is not None:
            self.kept.append(self)
            return
        self.reader.close()
        self.writer.close()

    def reopen(self) -> None:
        """Close it and open it again, as after a restart."""
        self.reader.close()
        self.writer.close()
        self._open()

    def _open(self) -> None:
        self.writer = open_writer(self.path)
        self.reader = open_reader(self.path)
        if effort.is_short() and isinstance(self.reader, PostgresReader):
            # To plan a lookup takes ten times as long as to run it on a small catalog. So a statement that the session has prepared is
            # planned once, and not each time anew. tests/lookup/test_plans.py looks at both kinds of plans.
            self.reader._session.connection.execute("SET plan_cache_mode = force_generic_plan")

    def empty(self) -> None:
        """Empty a catalog on a server so that it can be used again, because a new one takes half a second longer.

        TRUNCATE gives each table and index a new file, after which every session has to read about all of them anew and plan its
        statements again. So small tables are emptied row by row. To the planner they are as new: it takes a table that was never vacuumed
        for one of ten pages, if it has fewer.
        """
        tables = [table for table in metadata.tables if table not in ("meta", "turn")]
        largest = "SELECT max(pg_relation_size(oid)) FROM pg_class WHERE relkind IN ('r', 't') AND oid >= 16384"  # without the server's
        with self.writer.transaction() as connection:
            if connection.exec_driver_sql(largest).scalar_one() > 10 * 8192:
                connection.exec_driver_sql(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")
            else:
                unchecked = "SET LOCAL session_replication_role = replica"  # no foreign key is looked at
                connection.exec_driver_sql("; ".join([unchecked, *(f"DELETE FROM {table}" for table in tables)]))
                connection.exec_driver_sql("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'")
            connection.exec_driver_sql("DELETE FROM meta WHERE key <> 'schema'")
        self.settings = AT_ONCE
        self.lines = []

    # --- what changes it ----------------------------------------------------------------------------------------

    def add(
        self,
        path: str,
        *,
        name: str | None = None,
        naming: str | None = None,
        prefix: str | None = None,
        priority: int | None = None,
        index: bool = True,
    ) -> None:
        """Do what `ocicat add PATH` does."""
        given = StoreSettings(name, None if naming is None else Naming.parse(naming), prefix, priority)
        real = os.path.realpath(path)
        with self.writer.transaction() as connection:
            registry = Registry(connection)
            root_id = store_id = None
            if registry.is_root(real) or not is_layout(real, archives=True):
                root_id = registry.add_root(real, given)
            else:
                store_id = registry.add_store(real, given, 1)
            roots = [each for each in registry.roots() if each.id == root_id]
            stores = [s for s in registry.stores() if s.id == store_id or (roots and s.root_id == root_id)]
        if index:
            self.sweep().run(roots, stores)

    def index(self, *names: str, full: bool = False) -> Summary:
        """Do what `ocicat index [NAME...]` does, without retention."""
        with self.writer.transaction() as connection:
            registry = Registry(connection)
            roots, stores = registry.roots(), None
            if names:
                found = [registry.find(text) for text in names]
                roots = [root for some, _ in found for root in some]
                below = {root.id for root in roots}
                stores = [store for _, some in found for store in some]
                stores += [store for store in registry.stores() if store.root_id in below]
        return self.sweep().run(roots, stores, full=full)

    def sweep(self) -> Sweep:
        return Sweep(self.writer, self.settings, self.lines.append)

    def retire(self, now: int) -> list[str]:
        """Do what `ocicat index` does at its end, at time `now`. Returns the names of the stores that lost their rows."""
        with self.writer.transaction(alone=True) as connection:
            names = drop_missing(Registry(connection), Rows(connection), self.settings, now)
            prune(connection, self.settings, now)
        return names

    def remove(self, text: str) -> None:
        """Do what `ocicat remove NAME|PATH` does."""
        with self.writer.transaction() as connection:
            registry = Registry(connection)
            roots, stores = registry.find(text)
            for root in roots:
                registry.remove_root(root)
            for store in stores:
                registry.remove_store(store)

    # --- what asks it -------------------------------------------------------------------------------------------

    def asking(self, stores: Sequence[str] = (), *, strict: bool = False) -> Asking:
        scope = store_ids(self.reader, tuple(stores)) if stores else None
        return Asking(self.reader, self.lines.append, stores=scope, strict=strict)

    def matches(self, ref: str, stores: Sequence[str] = ()) -> list[Match]:
        """Do what `ocicat query REF` does."""
        return list(self.asking(stores).matches(parse_query(ref)))

    def query(self, ref: str, stores: Sequence[str] = ()) -> list[tuple[str, str]] | int:
        """Return the store and digest of each match, or the exit status."""
        try:
            return [(match.store, match.digest) for match in self.matches(ref, stores)]
        except OcicatError as error:
            return error.status

    def resolve(self, ref: str, *, store: str | None = None, first: bool = False, strict: bool = False) -> Said:
        """Do what `ocicat resolve REF` does."""
        try:
            asking = self.asking(() if store is None else (store,), strict=strict)
            found = asking.resolve(parse_query(ref), first=first)
        except Ambiguous as error:
            candidates = {line.rpartition("\t")[2] for line in error.candidates}
            return Said(
                3, candidates=frozenset(candidates | ({"..."} if error.total > len(error.candidates) else set()))
            )
        except NotInTime as error:
            return Said(error.status)
        except CatalogUnavailable:
            raise
        except OcicatError as error:
            return Said(error.status)
        return Said(0, found.digest, found.store, found.fallback)

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of any statement over the tables and views."""
        names = [f"p{number}" for number in range(len(parameters))]
        for each in names:
            statement = statement.replace("?", f":{each}", 1)
        return list(self.reader.select(statement, dict(zip(names, parameters, strict=True))))

    def writes(self, do: Callable[[], object]) -> int:
        """Return how many rows `do` inserts, updates and deletes."""
        before = self._written()
        do()
        return self._written() - before

    def _written(self) -> int:
        if isinstance(self.writer, PostgresWriter):
            with self.writer.snapshot() as connection:
                connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
            counted = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"
            return int(self.sql(counted)[0][0])
        return driver_of_file(self.writer).total_changes


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An empty catalog to copy."""
    path = str(tmp_path_factory.mktemp("empty") / "catalog.db")
    SqliteWriter(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server for this test session."""
    programs.skip_without("initdb")
    made = Server()
    yield made
    made.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    """Both engines, one after the other."""
    found: str = request.param
    return found


ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True, scope="session")
ON_POSTGRESQL = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")
"""For tests that count or damage something in a way that only SQLite supports, and name the one for PostgreSQL; and for tests of what is
the same whatever the engine."""

Place = Callable[[str], str]
"""Makes an empty catalog for a directory, and gives its path or URL."""


@pytest.fixture(scope="session")
def sqlite_place(empty_catalog: str) -> Place:
    def make(directory: str) -> str:
        path = os.path.join(directory, "catalog.db")
        shutil.copyfile(empty_catalog, path)
        return path

    return make


@pytest.fixture(scope="session")
def place(engine: str, request: pytest.FixtureRequest) -> Place:
    if engine == "sqlite":
        made: Place = request.getfixturevalue("sqlite_place")
        return made
    server: Server = request.getfixturevalue("server")
    return lambda _directory: server.new_catalog()


class Catalogues:
    """Makes catalogs and closes them at the end. With `keep`, a catalog that a test has closed is emptied and reused."""

    def __init__(self, *, keep: bool = False) -> None:
        self._made: list[Catalogue] = []
        self._kept: list[Catalogue] | None = [] if keep else None

    def new(self, place: Place, directory: str) -> Catalogue:
        """An empty catalog: a kept one, or one at `place`."""
        if self._kept:
            found = self._kept.pop()
            found.empty()
            return found
        made = Catalogue(place(directory))
        made.kept = self._kept
        self._made.append(made)
        return made

    def close(self) -> None:
        for each in self._made:
            each.kept = None
            each.close()


@pytest.fixture(scope="session")
def sqlite_catalogues() -> Iterator[Catalogues]:
    """Catalogs in files. This fixture does not depend on `engine`, because pytest would discard its value with each test file."""
    made = Catalogues()
    yield made
    made.close()


@pytest.fixture(scope="session")
def server_catalogues() -> Iterator[Catalogues]:
    """Catalogs on the server, each of which is emptied and used again."""
    made = Catalogues(keep=True)
    yield made
    made.close()


@pytest.fixture(scope="session")
def new_catalogue(place: Place, engine: str, request: pytest.FixtureRequest) -> Callable[[str], Catalogue]:
    """Make a catalog for a directory, on either engine. It is closed at the end, if not before."""
    made: Catalogues = request.getfixturevalue("sqlite_catalogues" if engine == "sqlite" else "server_catalogues")
    return functools.partial(made.new, place)


@pytest.fixture
def catalogue_in(new_catalogue: Callable[[str], Catalogue]) -> Callable[[Path], Catalogue]:
    """Make a directory and a catalog in it, on either engine."""

    def make(directory: Path) -> Catalogue:
        directory.mkdir()
        return new_catalogue(str(directory))

    return make


@pytest.fixture(scope="session")
def new_sqlite_catalogue(sqlite_place: Place, sqlite_catalogues: Catalogues) -> Callable[[str], Catalogue]:
    """Make a SQLite catalog in a directory. It is closed at the end, if not before."""
    return functools.partial(sqlite_catalogues.new, sqlite_place)


@pytest.fixture
def catalogue(tmp_path: Path, new_catalogue: Callable[[str], Catalogue]) -> Iterator[Catalogue]:
    """An empty catalog for this test; the working directory is beside it."""
    made = new_catalogue(str(tmp_path))
    before = os.getcwd()
    os.chdir(tmp_path)
    yield made
    os.chdir(before)
    made.close()


@pytest.fixture(scope="session")
def sized(
    tmp_path_factory: pytest.TempPathFactory, new_sqlite_catalogue: Callable[[str], Catalogue]
) -> Callable[[int], Sized]:
    """A SQLite catalog of tests/lookup/sizes.py of a given size, made once. Tests only read it."""
    from tests.lookup import sizes

    @functools.cache
    def make(size: int) -> Sized:
        directory = str(tmp_path_factory.mktemp(f"size-{size}"))
        return sizes.build(new_sqlite_catalogue(directory), directory, size)

    return make


@pytest.fixture
def unreadable_link(tmp_path: Path) -> Iterator[str]:
    """The path of a link that nobody can read, as most users cannot read `/proc/1/root`: the kernel has no path for its target."""
    at = os.open(tmp_path, os.O_PATH)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=at)
        below = os.open("d" * 250, os.O_PATH, dir_fd=at)
        os.close(at)
        at = below
    link = f"{tmp_path}/link"
    os.symlink(f"/proc/{os.getpid()}/fd/{at}", link)
    yield link
    os.close(at)
    os.remove(link)
