"""On a server the answerer holds the session: a question costs a fixed, small number of round trips, and no login."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.answerer.conftest import Answerer, Launcher
from tests.answerer.test_faults import begin, request
from tests.cli.conftest import Own
from tests.cli.program import SECONDS
from tests.conftest import ON_POSTGRESQL
from tests.postgres import Server

Start = Callable[..., Answerer]
Make = Callable[..., str]
_ENDS_A_TRIP = (b"Q", b"S")
"""Query and Sync: after these messages a client waits for the server (PostgreSQL, "Message Flow")."""


class Counting:
    """A socket before a server's, at `directory`. It counts logins, and how often clients wait for the server."""

    def __init__(self, directory: str, server: str) -> None:
        self.logins = self.trips = 0
        self._server = server
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(f"{directory}/.s.PGSQL.5432")
        self._listening.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listening.accept()[0]
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self.logins += 1
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
                threading.Thread(target=_copy, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Copy what a client sends, message by message."""
        with client, server, contextlib.suppress(OSError):
            began = False
            held = b""
            while data := client.recv(65536):
                held += data
                while True:
                    head = 5 if began else 4
                    if len(held) < head:
                        break
                    length = struct.unpack("!I", held[head - 4 : head])[0] + head - 4
                    if len(held) < length:
                        break
                    if began:
                        self.trips += held[:1] in _ENDS_A_TRIP
                    else:
                        began = struct.unpack("!I", held[4:8])[0] == 3 << 16  # not a request for encryption
                    held = held[length:]
                server.sendall(data)


def _copy(server: socket.socket, client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := server.recv(65536):
            client.sendall(data)


@pytest.fixture
def counting(server: Server, tmp_path: Path) -> Iterator[Counting]:
    place = tmp_path / "before"
    place.mkdir()
    made = Counting(str(place), f"{server.directory}/.s.PGSQL.5432")
    yield made
    made.close()


@ON_POSTGRESQL
def test_a_question_takes_as_many_round_trips_of_many_entries_as_of_few(
    cli: Own, layout: Make, answerer: Start, launcher: Launcher, counting: Counting, server: Server, tmp_path: Path
) -> None:
    own = Own(tmp_path, cli.db.replace(server.directory, str(tmp_path / "before")))
    running, _ = begin(own, layout, answerer, launcher)

    def trips(*words: str) -> int:
        """Return the fewest of several times: each of the answerer's processes prepares a statement once, which takes one more."""
        found = []
        for _ in range(12):
            logins, before = counting.logins, counting.trips
            with socket.socket(socket.AF_UNIX) as asking:  # the launcher would give up on a busy machine
                asking.settimeout(SECONDS)
                asking.connect(running.path)
                asking.sendall(request(own.db, *words))
                with asking.makefile("rb") as answer:
                    assert b"sha256:" in answer.read()
            assert counting.logins == logins
            found.append(counting.trips - before)
        return min(found)

    few = {words: trips(*words) for words in (("resolve", ":1"), ("query", ":1"), ("query", "--limit", "1"))}
    cli.done("add", *(layout(f"more{number}", f"t{number}") for number in range(30)))
    assert {words: trips(*words) for words in few} == few
    assert few["resolve", ":1"] <= 3
