"""`wait` on a catalog that hosts share: it asks again only after somebody commits, and outlives the server for as long as it may wait."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.program import Ran
from tests.forking import CLEAN, OCICAT
from tests.hosts.conftest import NewHost, layout
from tests.hosts.host import Host
from tests.postgres import Server
from tests.watch.harness import DEADLINE, wait_for

SESSIONS = "SELECT query, state FROM pg_stat_activity WHERE application_name = 'ocicat'"
SEARCHES = "SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE relname = 'name'"


class Waiting:
    """A process that waits; it has asked in vain when `waiting` gives it."""

    def __init__(self, host: Host, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [OCICAT, "wait", *arguments],
            env={**CLEAN, **host.env, "OCICAT_DB": host.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self) -> Ran:
        out, err = self.process.communicate(timeout=DEADLINE)
        return Ran(self.process.returncode, out, err)


@contextmanager
def waiting(server: Server, host: Host, *arguments: str) -> Iterator[Waiting]:
    made = Waiting(host, *arguments)
    try:
        wait_for(lambda: is_idle(server), what=lambda: server.ask(SESSIONS))
        assert made.process.poll() is None, made.ended()
        yield made
    finally:
        made.process.kill()
        made.process.communicate()  # which closes the pipes, whatever failed


def is_idle(server: Server) -> bool:
    """Whether there is one session, and what it has asked last is whether somebody has committed."""
    found = server.ask(SESSIONS)
    return [state for _, state in found] == ["idle"] and "pg_current_snapshot" in str(found[0][0])


def test_it_asks_again_only_after_somebody_commits(mortal: Server, url: str, new_host: NewHost) -> None:
    here, asker = new_host("here"), new_host("asker")
    layout(here.path("images/app"))
    here.done("add", here.path("images"))
    database = url.partition("@/")[2].partition("?")[0]
    with waiting(mortal, asker, "other:1", "--timeout", "30") as process:
        mortal.ask("SELECT pg_sleep(3)")  # A session counts what it did once a second.
        before = mortal.ask(SEARCHES, database)
        assert before != [(0,)]
        mortal.ask("SELECT pg_sleep(3)")
        assert mortal.ask(SEARCHES, database) == before
        here.done("index")  # a commit, and not what is waited for
        wait_for(lambda: mortal.ask(SEARCHES, database) != before)
        assert process.process.poll() is None
        layout(here.path("images/other"), "docker.io/library/other:1", "other")
        here.done("index")
        assert process.ended() == Ran(
            0, "", "ocicat: no daemon runs, so only 'ocicat index' brings changes: start 'ocicat watch'\n"
        )


def test_it_waits_for_a_digest(mortal: Server, new_host: NewHost) -> None:
    here = new_host("here")
    layout(here.path("images/app"))
    digest = layout(here.path("elsewhere"), seed="second")
    here.done("add", here.path("images"))
    here.start()
    with subprocess.Popen(
        [OCICAT, "wait", "app:1", "--digest", digest], env={**CLEAN, **here.env, "OCICAT_DB": here.url}
    ) as process:
        layout(here.path("images/app"), seed="second")
        assert process.wait(DEADLINE) == 0


def test_it_outlives_a_server_that_is_started_again(mortal: Server, new_host: NewHost) -> None:
    here = new_host("here")
    layout(here.path("images/app"))
    here.done("add", here.path("images"))
    with waiting(mortal, here, "other:1", "--timeout", "30") as process:
        mortal.stop("immediate")
        mortal.start()
        layout(here.path("images/other"), "docker.io/library/other:1", "other")
        here.done("index")
        ended = process.ended()
        assert (ended.status, ended.out) == (0, ""), ended
        assert ended.said[1].endswith("; waiting for it to come back"), ended


def test_it_ends_with_status_4_where_the_server_is_away_when_the_time_is_over(
    mortal: Server, new_host: NewHost
) -> None:
    here = new_host("here")
    layout(here.path("images/app"))
    here.done("add", here.path("images"))
    with waiting(mortal, here, "other:1", "--timeout", "10") as process:
        mortal.stop("immediate")
        try:
            ended = process.ended()
            assert (ended.status, ended.out) == (4, ""), ended
            assert ended.said[-1].startswith("ocicat: error: cannot reach "), ended
        finally:
            mortal.start()


def test_it_ends_with_status_1_when_the_time_is_over(new_host: NewHost) -> None:
    here = new_host("here")
    layout(here.path("images/app"))
    here.done("add", here.path("images"))
    ended = here.call("wait", "other:1", "--timeout", "0.3")
    assert ended.status == 1
    assert ended.said[-1].startswith("ocicat: error: gave up after 0.3 seconds: no image docker.io/library/other:1")
