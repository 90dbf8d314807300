"""A connection that is lost, a server that is away, and hosts in each other's way: no change is lost, and all of them continue."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection

from catalog.engine.open import open_reader, open_writer
from catalog.engine.postgres.connect import EDGES_SHARED, OF_HOST, TOGETHER, conninfo
from catalog.errors import CatalogConflict, CatalogUnreachable
from tests import writers
from tests.cli.program import one_error
from tests.hosts.conftest import NewHost, layout
from tests.hosts.host import Host
from tests.postgres import Server
from tests.watch.harness import DEADLINE, wait_for

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'ocicat'"
SNAPSHOTS = "SELECT count(*) FROM snapshot"


@contextmanager
def held(url: str, statement: str, *values: object) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A transaction of somebody else's that has run a statement, and ends with the block at the latest."""
    with psycopg.connect(conninfo(url)) as session:
        session.execute(statement, values)
        yield session


def waiting(server: Server) -> int:
    """The process of the server that waits for a lock, once one does."""
    wait_for(lambda: server.ask(WAITING), what=lambda: server.ask("SELECT query, state FROM pg_stat_activity"))
    return int(str(server.ask(WAITING)[0][0]))


def database(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


def answers(host: Host, ref: str, digest: str) -> None:
    wait_for(lambda: host.call("resolve", ref).out == f"{digest}\n", what=host.log)


def follows(new_host: NewHost) -> Host:
    """A host whose daemon follows a layout."""
    here = new_host("here")
    layout(here.path("images/app"))
    here.done("add", here.path("images"))
    here.start()
    return here


def test_a_connection_that_is_killed_in_a_transaction_loses_no_change(
    mortal: Server, url: str, new_host: NewHost
) -> None:
    here = follows(new_host)
    for seed in ("second", "third"):
        with held(url, "SELECT id FROM store FOR UPDATE"):  # the entries are written by then, the store is not
            digest = layout(here.path("images/app"), seed=seed)
            assert mortal.ask(f"SELECT pg_terminate_backend({waiting(mortal)})") == [(True,)]
            wait_for(lambda: "cannot reach" in here.log()[-1], what=here.log)
        answers(here, "app:1", digest)
        wait_for(lambda: "is followed again" in here.log()[-1], what=here.log)
    assert mortal.ask(SNAPSHOTS, database(url)) == [(3,)]
    assert here.strange() == []


def test_every_connection_is_killed_between_two_changes(mortal: Server, url: str, new_host: NewHost) -> None:
    here = follows(new_host)
    mortal.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ocicat'")
    answers(here, "app:1", layout(here.path("images/app"), seed="second"))
    layout(here.path("images/other"), "docker.io/library/other:1", "other")
    wait_for(lambda: here.call("resolve", "other:1").status == 0, what=here.log)


def _relay(listening: socket.socket, address: str) -> None:
    """Copy between one client after the other and a server, until one sends ROLLBACK; answer that as a pooler does whose server has ended."""
    with listening:
        while True:
            with listening.accept()[0] as client, socket.socket(socket.AF_UNIX) as server:
                server.connect(address)
                data = b"begin"
                while data:
                    for each in select.select([client, server], [], [])[0]:
                        data = each.recv(65536)
                        if b"ROLLBACK" in data:
                            client.sendall(
                                _error(b"57P01", b"terminating connection") + _error(b"08P01", b"server conn crashed?")
                            )
                            return
                        if not data:
                            break
                        (client if each is server else server).sendall(data)


def _error(state: bytes, text: bytes) -> bytes:
    """An ErrorResponse (PostgreSQL, "Message Formats")."""
    fields = b"SFATAL\0C%b\0M%b\0\0" % (state, text)
    return b"E" + struct.pack("!I", 4 + len(fields)) + fields


@pytest.mark.parametrize("number", [0, 1])
def test_a_connection_that_ends_while_a_transaction_is_undone_is_a_lost_one(
    mortal: Server, url: str, tmp_path: Path, number: int
) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{tmp_path}/.s.PGSQL.5432")
    listening.listen(1)
    relay = threading.Thread(target=_relay, args=(listening, f"{mortal.directory}/.s.PGSQL.5432"), daemon=True)
    relay.start()
    with pytest.raises(CatalogUnreachable, match="cannot reach"):
        (_write, _read)[number](url.replace(mortal.directory, str(tmp_path)))
    relay.join(DEADLINE)


def _write(url: str) -> None:
    with open_writer(url) as writer, writer.transaction():
        raise KeyError


def _read(url: str) -> None:
    with contextlib.closing(open_reader(url)) as reader:
        reader.hold_state()
        reader.release_state()


def test_a_server_that_is_away_is_waited_for_and_what_changed_meanwhile_is_taken(
    mortal: Server, url: str, new_host: NewHost
) -> None:
    here = follows(new_host)
    mortal.stop("immediate")
    try:
        digest = layout(here.path("images/app"), seed="meanwhile")
        late = new_host("late")
        late.start(ready=False)  # it begins without one
        wait_for(lambda: any("cannot reach" in line for line in late.log()), what=late.log)
        wait_for(lambda: any("cannot reach" in line for line in here.log()), what=here.log)
        for arguments in (
            ["index"],
            ["resolve", "--fresh", "app:1"],
            ["add", here.path("images")],
            ["status"],
            ["verify"],
        ):
            one_error(here.call(*arguments), 4, "cannot reach")
    finally:
        mortal.start()
    assert here.call("resolve", "--fresh", "app:1").out == f"{digest}\n"
    answers(here, "app:1", digest)
    wait_for(late.has_looked, what=late.log)
    wait_for(lambda: "is followed again" in here.log()[-1], what=here.log)
    assert mortal.ask(SNAPSHOTS, database(url)) == [(2,)]
    assert here.stop() == late.stop() == 0
    assert here.strange() == []
    assert [line for line in late.strange() if "nothing to follow yet" not in line] == []  # when it began


def test_what_the_server_undid_since_hosts_were_in_each_others_way_is_run_again(
    mortal: Server, url: str, new_host: NewHost
) -> None:
    """A deadlock as there is none between hosts of ours: somebody takes the locks in another order."""
    here = new_host("here")
    layout(here.path("images/app"))
    here.done("add", here.path("images"), "--no-index")
    here.done("index")
    digest = layout(here.path("images/app"), seed="second")
    said = []
    with held(url, "SELECT id FROM store FOR UPDATE") as session:
        session.execute("SET LOCAL deadlock_timeout = '10min'")  # so it is the other one that notices, and is undone
        thread = threading.Thread(target=lambda: said.append(here.call("index")))
        thread.start()
        waiting(mortal)
        session.execute(OF_HOST, ("here",))
    thread.join()
    assert [(each.status, each.err) for each in said] == [(0, "")]
    assert here.call("resolve", "app:1").out == f"{digest}\n"
    with open(f"{mortal.directory}/log", encoding="utf-8") as file:
        assert "deadlock detected" in file.read()


def test_a_host_that_writes_for_long_holds_up_no_index_of_another_and_only_its_pruning(
    mortal: Server, url: str, new_host: NewHost
) -> None:
    here = new_host("here")
    digest = layout(here.path("images/app"))
    here.done("add", here.path("images"), "--no-index")
    pruned = "SELECT count(*) FROM meta WHERE key = 'pruned_ms'"
    with held(url, TOGETHER):
        assert here("index") == (0, "", "")
        assert here.call("resolve", "app:1").out == f"{digest}\n"
        assert mortal.ask(pruned, database(url)) == [(0,)]
    assert here("index") == (0, "", "")
    assert mortal.ask(pruned, database(url)) == [(1,)]
    with held(url, TOGETHER):
        assert here("index", "--full") == (0, "", "")  # it is not due, and nobody is kept out


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_it_is_run_again_a_few_times_and_then_told(url: str, state: str) -> None:
    runs = 0

    def fail(connection: Connection) -> str:
        nonlocal runs
        runs += 1
        connection.exec_driver_sql(f"INSERT INTO meta VALUES ('run', '{runs}')")
        if runs < succeeds:
            connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")
        return "done"

    with open_writer(url) as writer:
        succeeds = 4
        assert writer.write(fail) == "done"
        with writer.snapshot() as connection:
            assert connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'run'").scalar() == "4"
        runs, succeeds = 4, 1000
        with writer.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM meta WHERE key = 'run'")
        with pytest.raises(CatalogConflict, match="try again"):
            writer.write(fail)
        assert 6 <= runs < 20
        with writer.snapshot() as connection:
            assert connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'run'").scalar() is None


def as_layer(path: str, image: writers.Descriptor) -> str:
    """List an image as a layer, so that nobody reads it as a manifest; its digest."""
    leaf = image | {"mediaType": writers.LAYER_TYPE}
    writers.write_index(path, writers.empty_index(leaf, writers.make_image(path, "beside it")))
    return str(image["digest"])


def test_a_manifest_that_two_hosts_come_to_know_at_the_same_time_is_read_by_one_of_them(
    mortal: Server, url: str, new_host: NewHost
) -> None:
    """One writes that a blob is a child while the other, who has that blob alone, finds that nothing is left to read."""
    near, far = new_host("near"), new_host("far")
    path = writers.make_layout(near.path("images/app"))
    child = writers.make_image(path, "child") | {"platform": writers.platform("linux", "arm64")}
    index = writers.make_index_image(path, [child])
    writers.write_index(path, writers.empty_index(writers.name_entry(index, "short", "docker.io/library/app", "1")))
    other = writers.make_layout(far.path("images/app"))
    as_layer(other, writers.make_image(other, "child"))
    os.unlink(f"{path}/blobs/{child['digest'].replace(':', '/')}")
    far.done("add", far.path("images"))
    near.done("add", near.path("images"))
    pending = "SELECT content_pending FROM store JOIN host ON host.id = host_id ORDER BY host.name"
    assert mortal.ask(pending, database(url)) == [(True,), (False,)]
    far.start()
    wait_for(lambda: mortal.ask(pending, database(url)) == [(False,), (False,)], what=far.log)
    kinds = f"SELECT kind FROM content WHERE digest = '{child['digest']}'"
    assert mortal.ask(kinds, database(url)) == [(1,)]


def test_nobody_finds_that_all_is_read_while_another_writes_what_is_a_child(
    mortal: Server, url: str, new_host: NewHost
) -> None:
    """Neither sees the other's rows before they are committed: one would wake nobody, and the other look too early."""
    here = new_host("here")
    layout(here.path("images/app"))
    child = as_layer(here.path("images/app"), writers.make_image(here.path("images/app"), "child"))
    here.done("add", here.path("images"))
    kind = f"SELECT kind FROM content WHERE digest = '{child}'"
    assert mortal.ask(kind, database(url)) == [(0,)]  # nobody refers to it
    said = []
    with held(url, EDGES_SHARED) as session:
        session.execute("INSERT INTO content (digest, kind) VALUES ('sha256:parent', 2)")
        session.execute(
            "INSERT INTO edge (parent_id, role, position, child_id, media_type_id) SELECT parent.id, 0, 0, child.id, media_type.id"
            " FROM content AS parent, content AS child, media_type WHERE parent.digest = 'sha256:parent' AND child.digest = %s"
            " AND NOT media_type.is_leaf"
            " LIMIT 1",
            (child,),
        )
        thread = threading.Thread(target=lambda: said.append(here.call("index", "--full")))
        thread.start()
        waiting(mortal)
    thread.join()
    assert [(each.status, each.err) for each in said] == [(0, "")]
    assert mortal.ask(kind, database(url)) == [(1,)]


def test_a_daemon_hears_that_another_host_found_more_to_read_in_its_stores(
    mortal: Server, url: str, new_host: NewHost
) -> None:
    far = follows(new_host)
    wait_for(lambda: mortal.ask("SELECT content_pending FROM store", database(url)) == [(False,)], what=far.log)
    with open_writer(url) as writer, writer.transaction() as connection:
        connection.exec_driver_sql("UPDATE store SET content_pending = TRUE")
    wait_for(lambda: mortal.ask("SELECT content_pending FROM store", database(url)) == [(False,)], what=far.log)


def test_ctrl_c_in_a_statement_is_not_taken_for_a_server_that_is_away(url: str) -> None:
    """A statement that still runs makes the end of the transaction fail, too."""
    with open_writer(url, upgrade=True) as writer:

        def interrupted(connection: Connection) -> None:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            driver.pgconn.send_query(b"SELECT pg_sleep(60)")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            writer.write(interrupted)
        with pytest.raises(KeyboardInterrupt), writer.snapshot() as connection:
            interrupted(connection)
