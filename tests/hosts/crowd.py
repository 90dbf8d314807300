"""Hundreds of light hosts behind a pooler with few sessions, while the server ends, another one takes over, and a backup is restored.

A light host is a forked process, of which three hundred fit into memory. It does what a daemon does to the catalog: it looks once a second
whether somebody has committed, makes a pass over its stores, and keeps one connection. It also moves a tag, asks for it as its own
host, and asks for a name that every host has, which it has to answer by its own. What it asks is judged at once, the whole catalog by the oracle
at the end.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from catalog.engine.interface import Reader
from catalog.engine.open import open_reader, open_writer
from catalog.errors import CatalogLocked, CatalogUnreachable
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Settings, StoreSettings
from catalog.ingest.sweep import Sweep
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
from tests import writers
from tests.oracle import OracleStore
from tests.pooler import Pooler
from tests.postgres import Server
from tests.stress.truth import Difference
from tests.watch.harness import DEADLINE, wait_for

Say = Callable[[str], None]


class Size(NamedTuple):
    """So many hosts share so many sessions, and each moves its tag about every `seconds` seconds, in each of four quarters."""

    hosts: int
    sessions: int
    seconds: float
    quarter: float


FULL = Size(hosts=300, sessions=24, seconds=30.0, quarter=45.0)
SHORT = Size(hosts=5, sessions=2, seconds=1.0, quarter=2.0)


class _Host:
    """One host, in a process of its own, which ends when the file `over` exists."""

    def __init__(self, url: str, directory: str, number: int, seconds: float) -> None:
        self.name = f"host-{number:03}"
        self.path = writers.make_layout(f"{directory}/{self.name}")
        self._url, self._seconds, self._over = url, seconds, f"{directory}/over"
        self._rng = random.Random(number)
        self._own = writers.fake_descriptor(f"everybody of {self.name}")
        self._parent = os.getpid()
        self._moves = self._told = self._failed = 0
        self._digests: set[str] = set()
        self._next = time.monotonic() + self._rng.uniform(0, seconds)
        self._move()

    def run(self) -> None:
        """Follow the layout until the end; print what was done. Raises AssertionError if an answer was wrong."""
        os.environ["OCICAT_HOST"] = self.name
        while True:
            try:
                self._follow()
            except (CatalogLocked, CatalogUnreachable):
                self._failed += 1
                if os.getppid() != self._parent:
                    return  # The run was killed.
                time.sleep(1.0)
            else:
                break

    def _follow(self) -> None:
        with open_writer(self._url) as writer, contextlib.closing(open_reader(self._url)) as reader:
            with writer.transaction() as connection:
                if not Registry(connection).stores():
                    Registry(connection).add_store(self.path, StoreSettings("app"), 1)
            seen = -1
            while True:
                is_over = os.path.exists(self._over) or os.getppid() != self._parent
                if not is_over and time.monotonic() >= self._next:
                    self._move()
                    seen = -1
                if is_over or writer.data_version() != seen:
                    Sweep(writer, Settings(settle_ms=0), lambda _: None).run([], None)
                    seen = writer.data_version()
                self._ask(reader)
                if is_over:
                    return
                time.sleep(1.0)

    def _move(self) -> None:
        self._moves += 1
        self._next += self._seconds
        moved = writers.fake_descriptor(f"{self.name} {self._moves}")
        met = writers.fake_descriptor(f"met by all {self._moves}")
        self._digests.add(moved["digest"])
        entries = [
            writers.name_entry(moved, "canonical", f"docker.io/{self.name}/app", "t"),
            writers.name_entry(self._own, "canonical", "docker.io/library/everybody", "1"),
            {**met, "annotations": {f"key-{self._moves}": self.name}},
        ]
        writers.write_index(self.path, writers.empty_index(*entries), "umoci")

    def _ask(self, reader: Reader) -> None:
        asking = Asking(reader, lambda _: None)
        assert asking.resolve(parse_query(f"{self.name}/app:t")).digest in self._digests
        assert asking.resolve(parse_query("everybody:1")).digest == self._own["digest"]
        self._told += 2

    @property
    def did(self) -> tuple[int, int, int]:
        return self._moves, self._told, self._failed


class Crowd:
    """A run in `directory`; `say` gets what was measured."""

    def __init__(self, directory: Path, size: Size, say: Say) -> None:
        self._directory, self._size, self._say = f"{directory}/crowd", size, say
        self._servers = [Server()]
        self._pooler = Pooler(self._servers[0], size.sessions)
        direct = self._servers[0].new_catalog()
        self._database = direct.partition("@/")[2].partition("?")[0]
        self._url = self._pooler.url(direct)
        self._pids: dict[int, str] = {}
        os.makedirs(self._directory)

    def run(self) -> None:
        """Do all of it. Raises AssertionError with what was wrong."""
        try:
            self._start()
            self._interrupt()
            self._end()
            self._compare()
        finally:
            for pid in self._pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            self._pooler.close()
            for server in reversed(self._servers):
                server.close()

    def _start(self) -> None:
        for number in range(self._size.hosts):
            host = _Host(self._url, self._directory, number, self._size.seconds)
            pid = os.fork()
            if pid == 0:
                _in_child(host, f"{self._directory}/{host.name}.did")
            self._pids[pid] = host.name
        indexed = "SELECT count(*) FROM store WHERE entries > 0"
        wait_for(lambda: self._ask(indexed) == self._size.hosts, 10 * DEADLINE, what=lambda: self._ask(indexed))
        self._say(
            f"{self._size.hosts} hosts follow their layouts over {self._pooler.sessions()} sessions of the server"
        )

    def _interrupt(self) -> None:
        time.sleep(self._size.quarter)
        self._servers[0].stop("immediate")
        self._servers[0].start()
        self._say("the server ended as in a crash, and was started again")
        time.sleep(self._size.quarter)
        standby = Server(self._servers[0])
        self._servers.append(standby)
        self._servers[0].stop("immediate")
        standby.promote()
        self._pooler.turn_to(standby)
        self._say("a second server took over")
        time.sleep(self._size.quarter)
        standby.dump(self._database)
        time.sleep(self._size.quarter)
        standby.restore(self._database)
        self._say("a backup was restored")

    def _end(self) -> None:
        Path(self._directory, "over").touch()
        wrong = []
        total = [0, 0, 0]
        for pid, name in list(self._pids.items()):
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            del self._pids[pid]
            did = Path(self._directory, f"{name}.did").read_text(encoding="utf-8")
            if status:
                wrong.append(f"{name}: {did}")
                continue
            total = [before + int(more) for before, more in zip(total, did.split(), strict=True)]
        assert not wrong, "\n".join(wrong[:5])
        moves, told, failed = total
        self._say(f"{moves} tags moved, {told} answers were right, the server was away {failed} times")

    def _compare(self) -> None:
        reader = open_reader(self._servers[-1].url(self._database))
        names = [f"host-{number:03}" for number in range(self._size.hosts)]
        difference = Difference([OracleStore(f"{name}:app", f"{self._directory}/{name}") for name in names])
        try:
            wrong = difference.find(reader)
            assert not wrong, "\n".join(difference.explain(reader, name) for name in wrong[:5])
        finally:
            reader.close()
        with open(f"{self._servers[-1].directory}/log", encoding="utf-8", errors="replace") as file:
            assert "deadlock detected" not in file.read()
        self._say("the catalog equals the oracle")

    def _ask(self, statement: str) -> int:
        return int(str(self._servers[-1].ask(statement, self._database)[0][0]))


def _in_child(host: _Host, did: str) -> NoReturn:
    """Be that host, and never return to the parent's code."""
    status = 1
    try:
        host.run()
        Path(did).write_text(" ".join(map(str, host.did)), encoding="utf-8")
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the parent reports it
        Path(did).write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(status)
