"""`ocicat changes` as a command: formats, filters, cursors, and following. What changed is tested in tests/lookup/test_changes.py."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from catalog.engine.postgres.connect import connect
from tests.cli.conftest import Own, Shelf, retag
from tests.cli.program import called, one_error
from tests.conftest import ON_POSTGRESQL, ON_SQLITE
from tests.forking import CLEAN, OCICAT

Layout = Callable[..., str]
SECONDS = 60.0


def objects(cli: Own, *arguments: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in cli.done("changes", *arguments, "--format", "jsonl").lines]


@pytest.fixture
def path(cli: Own, layout: Layout) -> str:
    """The store `one`, of which the tag 1 has moved once; `two` came at the same time as the first image."""
    made = layout("one", "1", style="short")
    cli.done("add", made, layout("two", "2"))
    moved = layout("one", "1", "3", style="short")
    cli.done("index")
    return moved


def test_what_changed_and_from_where_to_go_on(cli: Own, path: str) -> None:
    found = objects(cli)
    assert [(row["change"], row["store"], row["name"], row["tag"]) for row in found] == [
        ("added", "one", "docker.io/library/app:1", "1"),
        ("added", "two", None, "2"),
        ("added", "one", "docker.io/library/app:3", "3"),
    ]
    new = retag(path, "app:3", "new")
    cli.done("index")
    (moved,) = objects(cli, "--cursor", str(found[-1]["cursor"]))
    assert (moved["change"], moved["old"], moved["new"], moved["path"]) == ("moved", found[2]["new"], new, path)
    assert objects(cli, "--cursor", str(moved["cursor"])) == []
    assert objects(cli, "--since", str(found[-1]["at"])) == [moved]
    assert objects(cli, "--cursor", str(found[0]["cursor"])) == [*found[1:], moved]
    assert objects(cli, "--store", "two") == [found[1]]
    assert objects(cli, "--store", "o*", "--store", path) == [found[0], found[2], moved]
    tsv = cli.done("changes", "--since", str(found[-1]["at"])).out
    assert tsv == "\t".join(str(moved[key]) for key in ("at", "change", "store", "name", "tag", "old", "new")) + "\n"
    assert json.loads(cli.done("changes", "--format", "json").out) == [*found, moved]


def test_what_is_asked_wrongly(shelf: Shelf) -> None:
    one_error(shelf.ask("changes", "--since", "someday"), 2, "someday")
    one_error(shelf.ask("changes", "--cursor", "x"), 2, "not a cursor")
    one_error(shelf.ask("changes", "--cursor", "1.1.1"), 2, "not a cursor of this catalog")
    one_error(shelf.ask("changes", "--cursor", "1.1.1", "--since", "1h"), 2, "--since")
    one_error(shelf.ask("changes", "--follow", "--format", "json"), 2, "jsonl")
    one_error(shelf.ask("changes", "--follow", "--format", "{nosuch}"), 2, "nosuch")
    one_error(shelf.ask("changes", "--store", "nosuch"), 2, "nosuch")
    one_error(called("changes", db="/nowhere/catalog.db"), 4, "/nowhere/catalog.db")


# --- following --------------------------------------------------------------------------------------------------


class Follower:
    """`ocicat changes --follow` as a process."""

    def __init__(self, db: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [OCICAT, "changes", "--follow", *arguments],
            env=CLEAN | {"OCICAT_DB": db}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._seen = b""

    def line(self) -> dict[str, object]:
        """The next line, once it is there."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + SECONDS
        while b"\n" not in self._seen:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "nothing came"
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            assert piece, self.process.communicate()
            self._seen += piece
        line, _, self._seen = self._seen.partition(b"\n")
        found: dict[str, object] = json.loads(line)
        return found

    def end(self, by: int | None = None) -> tuple[int, str]:
        """The status and stderr, once it has ended, after a signal if there is one."""
        if by is not None:
            self.process.send_signal(by)
        _, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, err.decode()


@contextmanager
def following(db: str, *arguments: str) -> Iterator[Follower]:
    follower = Follower(db, *arguments)
    try:
        yield follower
    finally:
        follower.process.kill()
        follower.process.communicate()


def test_it_streams_what_changes_and_ends_by_a_signal(cli: Own, path: str) -> None:
    before = objects(cli)
    for by in (signal.SIGTERM, signal.SIGINT):
        with following(cli.db, "--cursor", str(before[0]["cursor"])) as follower:
            assert [follower.line() for _ in before[1:]] == before[1:]
            new = retag(path, "app:1", f"new {by}")
            cli.done("index")
            line = follower.line()
            assert (line["change"], line["store"], line["new"]) == ("moved", "one", new)
            before.append(line)
            assert follower.end(by) == (0, "")
    assert objects(cli) == before


def test_without_a_beginning_it_begins_with_what_comes(cli: Own, path: str) -> None:
    """It is not told when it has begun: so tags are moved until one is seen, which is the first that was not there before."""
    with following(cli.db, "--store", "one") as follower:
        assert follower.process.stdout is not None
        deadline, number = time.monotonic() + SECONDS, 0
        while not select.select([follower.process.stdout], [], [], 0.3)[0]:
            assert time.monotonic() < deadline
            retag(path, "app:1", f"new {number}")
            cli.done("index")
            number += 1
        first = follower.line()
        assert first["change"] == "moved"
        assert first in objects(cli)[3:]


def test_it_ends_when_nobody_reads(cli: Own, path: str) -> None:
    with following(cli.db, "--since", "1w") as follower:
        follower.line()
        assert follower.process.stdout is not None
        follower.process.stdout.close()
        assert follower.process.wait(SECONDS) == 141  # although nothing changes any more


def test_it_ends_by_a_signal_while_nobody_reads(cli: Own, layout: Layout) -> None:
    """More lines than a pipe holds."""
    cli.done("add", layout("many", *(f"tag-{n}" for n in range(400))))
    with following(cli.db, "--since", "1w") as follower:
        assert follower.process.stdout is not None
        assert select.select([follower.process.stdout], [], [], SECONDS)[0]
        follower.process.send_signal(signal.SIGTERM)
        assert follower.process.wait(SECONDS) == 0


@ON_POSTGRESQL
def test_it_ends_by_a_signal_while_the_server_does_not_answer(cli: Own, path: str) -> None:
    with following(cli.db, "--since", "1w") as follower:
        follower.line()
        with connect(cli.db) as session:
            found = session.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
        ((pid,),) = found
        os.kill(pid, signal.SIGSTOP)
        try:
            assert follower.end(signal.SIGTERM) == (0, "")
        finally:
            os.kill(pid, signal.SIGCONT)


@ON_SQLITE
def test_it_ends_when_the_catalog_is_replaced(cli: Own, path: str) -> None:
    with following(cli.db, "--since", "1w") as follower:
        follower.line()
        os.rename(cli.db, f"{cli.db}.old")
        status, err = follower.end()
        assert status == 4
        assert err.startswith("ocicat: error: ")


def test_it_ends_at_its_time_limit(cli: Own, path: str) -> None:
    with following(cli.db, "--timeout", "1") as follower:
        status, err = follower.end()
        assert status == 4
        assert err.startswith("ocicat: error: this took longer than 1 second,")
