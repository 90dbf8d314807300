"""`ocicat db copy`: a catalog in a file and its copy on a server give the same answers, row by row."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from catalog.db.schema import metadata
from catalog.db.views import VIEWS
from catalog.engine.copy import copy
from catalog.engine.open import open_writer
from catalog.engine.postgres.connect import conninfo
from catalog.reports.reports import REPORTS
from tests import writers
from tests.cli.conftest import Own, Shelf, no_settling, retag
from tests.cli.program import Ran, called, one_error, ran
from tests.conftest import ON_SQLITE
from tests.effort import some
from tests.forking import CLEAN, OCICAT
from tests.postgres import Server
from tests.reports import worlds
from tests.reports.conftest import FIXTURES, fixtures
from tests.watch.harness import wait_for

Layout = Callable[..., str]
Rows = list[tuple[Any, ...]]


class Moved(NamedTuple):
    """A catalog in a file, its copy at a URL, and settings for both."""

    db: str
    url: str
    config: str

    def both(self, *arguments: str) -> Ran:
        """Run a command on the file and on the copy; check that both print the same, and return that."""
        old, new = (called("--config", self.config, *arguments, db=place) for place in (self.db, self.url))
        assert new == old, arguments
        assert old.status in (0, 1, 3), old
        return old


def ask(place: str, statement: str, **env: str) -> Rows:
    """The rows that `ocicat sql` prints, sorted."""
    result = called("sql", "--format", "jsonl", statement, db=place, env=env)
    assert (result.status, result.err) == (0, ""), result
    return sorted((tuple(json.loads(line).items()) for line in result.lines), key=repr)


def tables(url: str) -> dict[str, Rows]:
    """All rows of all tables, with the transaction that wrote each."""
    with psycopg.connect(conninfo(url)) as connection:
        return {
            table: connection.execute(f"SELECT xmin::text, * FROM {table} ORDER BY 1, 2, 3, 4").fetchall()
            for table in metadata.tables
            if len(metadata.tables[table].columns) > 2
        }


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory, shelf: Shelf, server: Server) -> Moved:
    """A catalog with everything that one can hold: the fixtures, odd paths, a past, and stores in bad states."""
    base = tmp_path_factory.mktemp("moved")
    found = Moved(str(base / "catalog.db"), server.new_catalog(), no_settling(base))

    def do(*arguments: str, status: int = 0) -> None:
        assert called("--config", found.config, *arguments, db=found.db).status == status

    paths = worlds.by_hand(str(base / "by-hand"))
    for seed in (1, 2):
        below = worlds.at_random(str(base / f"random-{seed}"), random.Random(seed))
        paths |= {f"{name}-{seed}": path for name, path in below.items()}
    if FIXTURES.exists():
        paths |= fixtures()
    shutil.copytree(shelf.root, base / "kept" / "images", symlinks=True)
    for directory, _, _ in os.walk(base):
        os.utime(directory, (1_700_000_000, 1_700_000_000))  # a file that has just changed is looked at again
    for number, (name, path) in enumerate(paths.items()):
        do("add", path, "--name", name, "--priority", str(number % 3))
    kept = base / "kept"
    told = {"told": [{"time": "2020-01-01T00:00:00Z", "descriptor": writers.fake_descriptor("told")}]}
    busybox = str(kept / "images" / "busybox")
    writers.write_index(busybox, writers.read_index(busybox) | {"org.olareg.history": told})
    linked = writers.make_layout(str(kept / "images" / "linked"))  # whose blobs are those of busybox
    shutil.rmtree(f"{linked}/blobs")
    os.symlink("../busybox/blobs", f"{linked}/blobs")
    do("add", str(kept))
    alpine = str(kept / "images" / "alpine")
    for round_ in range(3):
        for tag in ("3.16", "3.17"):
            retag(alpine, tag, f"{tag} {round_}")
        do("index")
    writers.write_index(alpine, writers.remove(writers.read_index(alpine), 0))
    shutil.rmtree(kept / "images" / "ctr")
    with open(kept / "images" / "hurt" / "index.json", "a") as file:
        file.write("{")
    blob = next((kept / "images" / "busybox" / "blobs" / "sha256").iterdir())
    blob.write_bytes(b"x" * blob.stat().st_size)
    do("remove", "kept/images/none")
    do("remove", "kept/images/linked")
    do("index")
    do("verify", "kept/images/busybox", "base", status=1)
    assert called("db", "copy", "--to", found.url, db=found.db) == (0, "", "")
    return found


@ON_SQLITE
def test_the_copied_catalog_has_rows_in_every_table(moved: Moved) -> None:
    connection = sqlite3.connect(moved.db)
    for table in set(metadata.tables) - {"turn"}:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 0, table
    for rare in ("store WHERE path_bytes IS NOT NULL", "store WHERE state = 'missing'", "store_blob WHERE NOT is_good",
                 "problem WHERE entry_id IS NOT NULL", "referrer WHERE entry_id IS NOT NULL",
                 "referrer WHERE content_id IS NOT NULL", "name WHERE shadowed"):  # fmt: skip
        assert connection.execute(f"SELECT count(*) FROM {rare}").fetchone()[0] > 0, rare
    connection.close()


@ON_SQLITE
def test_every_table_has_as_many_rows(moved: Moved, server: Server) -> None:
    connection = sqlite3.connect(moved.db)
    copied = tables(moved.url)
    for table, rows in copied.items():
        assert len(rows) == connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0], table
    connection.close()


@ON_SQLITE
def test_the_past_is_equal(moved: Moved) -> None:
    moved.both("history", ":*", "--format", "json")
    times = moved.both("history", ":3.*", "--format", "{since}").lines
    assert len(times) > 4
    for at in ("2021-01-01", *times[-4:]):
        moved.both("query", "--at", at, "--format", "json")
        moved.both("resolve", "--at", at, ":told", ":3.16", "oci-layout://kept/images/alpine:3.17")


@ON_SQLITE
@pytest.mark.parametrize("view", [view.name for view in VIEWS])
def test_every_view_is_equal(moved: Moved, view: str) -> None:
    rows = ask(moved.db, f"SELECT * FROM {view}")
    assert rows
    assert ask(moved.url, f"SELECT * FROM {view}") == rows


@ON_SQLITE
@pytest.mark.parametrize("report", [report.name for report in REPORTS])
def test_every_report_is_equal(moved: Moved, report: str) -> None:
    moved.both("--quiet", "report", report, "--format", "jsonl")


@ON_SQLITE
def test_every_answer_is_equal(moved: Moved) -> None:
    assert len(moved.both("query", "--format", "jsonl").lines) > 50
    moved.both("stores", "--format", "json")
    moved.both("check", "--format", "jsonl")
    names = {dict(row)["name"] for row in ask(moved.db, "SELECT DISTINCT name FROM images")} - {None}
    tags = {dict(row)["tag"] for row in ask(moved.db, "SELECT DISTINCT tag FROM images")} - {None}
    digests = {dict(row)["digest"] for row in ask(moved.db, "SELECT DISTINCT digest FROM manifests")}
    told = [name for name in sorted(names) if called("resolve", name, db=moved.db).status != 2]
    assert len(told) > 20
    for name in some(told[:40]):
        moved.both("query", name, "--format", "jsonl")
        moved.both("resolve", name)
        moved.both("resolve", name, "--first", "--platform", "linux/amd64")
        moved.both("history", name, "--format", "jsonl")
    for tag in some(sorted(tags)[:20]):
        moved.both("query", f":{tag}", "--format", "jsonl")
        moved.both("history", f":{tag}", "--format", "jsonl")
    for digest in some(sorted(digests)[:20]):
        moved.both("query", "--referrers-of", digest, "--format", "jsonl")
        moved.both("query", "--contains", digest, "--format", "jsonl")
        moved.both("resolve", digest)


@ON_SQLITE
def test_the_past_was_copied_too(moved: Moved) -> None:
    spans = [json.loads(line) for line in moved.both("history", ":3.17", "--format", "jsonl").lines]
    ended = [span for span in spans if span["until"] is not None and span["store"] == "kept/images/alpine"]
    assert len(ended) == 3
    for span in ended:
        moved.both("query", "oci-layout://kept/images/alpine:3.17", "--at", span["since"], "--format", "jsonl")


@ON_SQLITE
def test_a_pass_over_the_copy_finds_nothing_to_do(moved: Moved) -> None:
    before = tables(moved.url)
    assert called("--config", moved.config, "index", db=moved.url) == (0, "", "")
    assert tables(moved.url) == before


@ON_SQLITE
def test_later_changes_come_into_the_copy(cli: Own, layout: Layout, server: Server) -> None:
    """New ids continue after those that were copied."""
    path, url = layout("a", "1", "2"), server.new_catalog()
    cli.done("add", path)
    cli.done("db", "copy", "--to", url)
    digest = retag(path, "1", "other")
    layout("b", "3")
    for db in (cli.db, url):
        assert called("--config", cli.config, "index", db=db) == (0, "", "")
        assert called("--config", cli.config, "add", str(Path(path).parent / "b"), db=db) == (0, "", "")
        assert called("resolve", ":1", db=db).out == f"{digest}\n"
    for view in ("images", "manifests", "layers", "blobs"):
        dropped = [{key: value for key, value in row if key != "since"} for row in ask(url, f"SELECT * FROM {view}")]
        assert dropped == [
            {key: value for key, value in row if key != "since"} for row in ask(cli.db, f"SELECT * FROM {view}")
        ]


@ON_SQLITE
def test_beside_another_host_each_has_its_own(moved: Moved, server: Server) -> None:
    """The same catalog copied as two hosts has every row of a store twice, and every row about a digest once."""
    url = server.new_catalog()
    for host in ("one", "two"):
        env = {"OCICAT_HOST": host}
        assert called("db", "copy", "--to", url, db=moved.db, env=env) == (0, "", "")
    for view in VIEWS:
        if view.name == "stores":
            continue
        rows = ask(moved.db, f"SELECT * FROM {view.name}")
        copied = ask(url, f"SELECT * FROM {view.name}", OCICAT_HOST="two")
        if "store" not in [column for column, _, _ in view.columns]:
            assert copied == rows
            continue
        of_one = [row for row in copied if str(dict(row)["store"]).startswith("one:")]
        assert [row for row in copied if row not in of_one] == rows, view.name
        plain = [tuple((key, value.removeprefix("one:") if key == "store" else value) for key, value in row)
                 for row in of_one]  # fmt: skip
        assert sorted(plain, key=repr) == rows, view.name
    before = tables(url)
    for host in ("one", "two"):
        assert called("--config", moved.config, "index", db=url, env={"OCICAT_HOST": host}) == (0, "", "")
    assert tables(url) == before


@ON_SQLITE
def test_the_copy_adds_what_another_host_has_not_read(cli: Own, layout: Layout, server: Server) -> None:
    """One host has only the name of an image, and the other has the image as well."""
    here, url = layout("here", "1"), server.new_catalog()
    there = writers.make_layout(f"{cli.directory}/there")
    writers.write_index(there, writers.read_index(here))
    env = {"OCICAT_HOST": "other"}
    assert called("--config", cli.config, "add", there, db=url, env=env) == (0, "", "")
    assert ask(url, "SELECT * FROM manifests") == []
    cli.done("add", here)
    cli.done("db", "copy", "--to", url)
    for view in ("manifests", "layers", "labels", "blobs"):
        rows = [row for row in ask(url, f"SELECT * FROM {view}") if not str(row).count("other:")]
        assert rows == ask(cli.db, f"SELECT * FROM {view}")
    assert called("resolve", ":1", "--platform", "linux/amd64", db=url).status == 0


@ON_SQLITE
def test_progress_reaches_its_total(moved: Moved, server: Server) -> None:
    told: list[tuple[str, int, int]] = []
    with open_writer(moved.db) as old, open_writer(server.new_catalog()) as new:
        rows = copy(old, new, lambda *step: told.append(step))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1] == ("copying", 2 * rows, 2 * rows)
    assert len(told) > len(metadata.tables)


@ON_SQLITE
def test_a_second_time_is_refused(cli: Own, layout: Layout, server: Server) -> None:
    cli.done("add", layout("a", "1"))
    url = server.new_catalog()
    cli.done("db", "copy", "--to", url)
    before = tables(url)
    one_error(cli("db", "copy", "--to", url), 2, "already", "OCICAT_HOST")
    assert tables(url) == before


@ON_SQLITE
@pytest.mark.without_catalog
def test_what_cannot_be_copied_or_copied_to(cli: Own, layout: Layout, server: Server) -> None:
    empty = server.new_database()
    one_error(cli("db", "copy", "--to", empty), 4, "no catalog", "add")
    assert not os.path.exists(cli.db)
    cli.done("add", layout("a", "1"))
    one_error(cli("db", "copy", "--to", empty), 4, "'ocicat db upgrade'")
    one_error(cli("db", "copy", "--to", f"{cli.directory}/b.db"), 2, "postgresql+psycopg://")
    one_error(called("db", "copy", "--to", empty, db=empty), 2, "--db")


@ON_SQLITE
def test_no_password_is_repeated(cli: Own, layout: Layout) -> None:
    cli.done("add", layout("a", "1"))
    for url in (
        "postgresql+psycopg://user:secret@127.0.0.1:1/db",
        "postgresql+psycopg://u@127.0.0.1:1/d?password=secret",
    ):
        for options in ((), ("--verbose",), ("--debug",)):
            result = cli(*options, "db", "copy", "--to", url)
            assert result.status == 4
            assert "secret" not in result.err + result.out
    mysql = one_error(cli("db", "copy", "--to", "mysql://user:secret@host/db"), 4, "postgresql+psycopg://")
    assert "secret" not in mysql


@pytest.fixture
def held(server: Server) -> Iterator[Callable[[str], psycopg.Connection[tuple[Any, ...]]]]:
    """Sessions that prevent others from writing problems, which are copied last."""
    sessions = []

    def hold(url: str) -> psycopg.Connection[tuple[Any, ...]]:
        session = psycopg.connect(conninfo(url))
        sessions.append(session)
        session.execute("LOCK TABLE problem IN SHARE MODE")
        return session

    yield hold
    for session in sessions:
        session.close()


@ON_SQLITE
def test_a_copy_that_is_killed_leaves_nothing(
    moved: Moved, server: Server, held: Callable[[str], psycopg.Connection[tuple[Any, ...]]], layout: Layout, cli: Own
) -> None:
    url = server.new_catalog()
    assert called("--config", cli.config, "add", layout("a", "1"), db=url, env={"OCICAT_HOST": "other"}).status == 0
    before = tables(url)
    session = held(url)
    arguments = [OCICAT, "db", "copy", "--to", url]
    with subprocess.Popen(arguments, env={**CLEAN, "OCICAT_DB": moved.db}, stderr=subprocess.PIPE) as process:
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'relation' AND query LIKE 'INSERT INTO \"problem\"%'"
        )
        while not server.ask(waiting):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        assert len(called("query", "--format", "{tag}", db=url).lines) == 1  # readers need not wait
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    session.rollback()
    still = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'INSERT INTO \"problem\"%' AND state = 'active'"
    wait_for(lambda: not server.ask(still))
    assert tables(url) == before
    assert ran("db", "copy", "--to", url, db=moved.db) == (0, "", "")
    assert len(ask(url, "SELECT * FROM images")) == len(ask(moved.db, "SELECT * FROM images")) + 1
