"""A catalog behind a pooler with a single session of the server, which every host and command gets in turn."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from catalog.engine.open import open_reader, open_writer
from catalog.engine.postgres.connect import conninfo
from catalog.engine.postgres.reader import PostgresReader
from catalog.ingest import new_words, rows
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
from tests import writers
from tests.hosts.conftest import NewHost, layout
from tests.oracle import OracleStore
from tests.pooler import Pooler
from tests.postgres import Server
from tests.programs import needs
from tests.stress.truth import Difference

pytestmark = needs("pgbouncer")

LEFT = {
    "SELECT coalesce(current_setting('ocicat.host', true), '')": "",
    "SHOW default_transaction_read_only": "off",
    "SHOW enable_seqscan": "on",
    "SHOW statement_timeout": "0",
    "SHOW lock_timeout": "0",
    "SHOW search_path": '"$user", public',
    "SELECT count(*) FROM pg_prepared_statements": 0,
    "SELECT count(*) FROM pg_cursors": 0,
    "SELECT count(*) FROM pg_listening_channels()": 0,
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'": 0,
}
"""What a session is asked after ocicat has used it, and what it answers if nothing is left there."""


@pytest.fixture(scope="module")
def pooler(mortal: Server) -> Iterator[Pooler]:
    made = Pooler(mortal, 1)
    yield made
    made.close()


@pytest.fixture
def url(mortal: Server, pooler: Pooler) -> Iterator[str]:
    """A catalog through the pooler, for `new_host` too."""
    made = mortal.new_catalog()
    yield pooler.url(made)
    mortal.drop(made)


def left(url: str) -> dict[str, object]:
    found = {}
    with psycopg.connect(conninfo(url), autocommit=True, prepare_threshold=None) as session:
        for statement in LEFT:
            ((found[statement],),) = session.execute(statement).fetchall()
    return found


def test_commands_leave_nothing_in_the_session(url: str, new_host: NewHost) -> None:
    here = new_host("here")
    path = here.path("images/app")
    layout(path)
    for arguments in (
        ("add", here.path("images")), ("index", "--full"), ("query",), ("resolve", "app:1"), ("verify",), ("status",),
        ("wait", "app:1"), ("report", "duplicates"), ("check",), ("inspect", "app:1"), ("changes",), ("db", "vacuum"),
        ("sql", "SELECT pg_advisory_lock(7), set_config('ocicat.host', 'x', false), set_config('enable_seqscan', 'off', false)"),
    ):  # fmt: skip
        here.done(*arguments)
        assert left(url) == LEFT, arguments


def test_each_host_gets_its_own_answers(url: str, new_host: NewHost, monkeypatch: pytest.MonkeyPatch) -> None:
    digests, askers = {}, {}
    for name in ("one", "two"):
        host = new_host(name)
        digests[name] = layout(host.path("images/app"), seed=name)
        host.done("add", host.path("images"))
    for name in digests:
        monkeypatch.setenv("OCICAT_HOST", name)
        askers[name] = open_reader(url)
    for _ in range(8):  # longer than it takes psycopg to prepare a statement
        for name, reader in askers.items():
            assert Asking(reader, print).resolve(parse_query("app:1")).digest == digests[name]
            assert len(list(Asking(reader, print).matches(parse_query("*")))) == 2
    for reader in askers.values():
        reader.close()


def test_rows_that_come_little_by_little_may_be_read_between_other_questions(url: str) -> None:
    reader = PostgresReader(url)
    counting = "SELECT generate_series(1, 5000), current_setting('ocicat.host')"
    first, second = (reader._session.stream(counting, {}, freely=True) for _ in range(2))
    for number in range(1, 4001):
        assert next(first)[0] == next(second)[0] == number
        assert number % 1000 or next(reader.select("SELECT count(*) FROM meta", {}))
    del first
    assert len(list(second)) == 1000
    reader.close()
    assert left(url) == LEFT


def test_a_first_load_in_many_pieces_takes_one_session_and_equals_the_oracle(
    url: str, new_host: NewHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits are those of millions of entries; without these lines the test would take minutes."""
    monkeypatch.setattr(rows, "FLUSH_ROWS", 50)
    monkeypatch.setattr(new_words, "MOST_DIGESTS", 70)
    here = new_host("here")
    path = writers.big_layout(here.path("images/big"), 300)
    assert here.call("add", here.path("images")).status == 0
    monkeypatch.setenv("OCICAT_HOST", "here")
    reader = open_reader(url)
    difference = Difference([OracleStore("images/big", path)])
    assert not difference.find(reader)
    reader.close()
    with open_writer(url) as writer, writer.snapshot() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM entry").scalar() == 300
        assert connection.exec_driver_sql("SELECT count(*) FROM content WHERE id = 0").scalar() == 0
