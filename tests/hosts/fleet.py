"""Many hosts that write one catalog at once, while others ask it, and its server ends as in a crash and comes back.

Each host has layouts of its own and a daemon. A round changes each of its layouts once: the tag `t` moves to a digest that
tells host, layout and round, and the tag `shared` to an image that all hosts bring in the same round, with a signature of it:
so they meet at the same digests, words, edges and referrers. The next round begins when the catalog has taken the last one,
so that every change counts; what is asked meanwhile is never a digest that was not written yet, nor an older one than was
told before. At the end a second server takes over in the middle of a round, and a round is lost with a backup that is restored: then
an answer may be as old as the server's rows for a while, and the daemons bring back what is missing.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from catalog.engine.open import open_reader
from catalog.engine.postgres.connect import conninfo
from tests import writers
from tests.hosts.host import Host
from tests.oracle import Oracle, OracleStore
from tests.pooler import Pooler
from tests.postgres import Server
from tests.stress.truth import Difference
from tests.watch.harness import DEADLINE, wait_for

Say = Callable[[str], None]

_QUIET = ("duplicates", "shared", "usage", "drift")
"""Reports that are asked meanwhile."""
_COUNTED = "SELECT host.name, count(*) FROM snapshot JOIN store ON store.id = store_id JOIN host ON host.id = store.host_id GROUP BY 1"
"""How many changes of each host the catalog has."""
_DOWN = 3.0
"""How long the server stays away, in seconds."""


class Size(NamedTuple):
    """Each of `hosts` has `stores` layouts, and changes each of them `rounds` times; `readers` ask."""

    hosts: int
    stores: int
    rounds: int
    readers: int


FULL = Size(hosts=8, stores=20, rounds=50, readers=3)
SHORT = Size(hosts=4, stores=2, rounds=2, readers=1)


class Layout(NamedTuple):
    """A layout of the run."""

    host: str
    number: int
    path: str

    @property
    def name(self) -> str:
        """What the catalog calls it on its own host."""
        return f"images/s{self.number:03}"

    @property
    def repository(self) -> str:
        return f"docker.io/{self.host}/app-{self.number:03}"

    def state(self, number: int) -> writers.Descriptor:
        """What `t` is in that round."""
        return writers.fake_descriptor(f"{self.host} {self.number} {number}")

    def write(self, number: int) -> None:
        """The change of that round."""
        image = _shared_image(self.path, number)
        signature = writers.fake_descriptor(f"signature {number}")
        hexadecimal = image["digest"].partition(":")[2]
        entries = [
            writers.name_entry(self.state(number), "canonical", self.repository, "t"),
            writers.name_entry(image, "containerd", "docker.io/library/shared", "1"),
            writers.name_entry(signature, "tag", "", f"sha256-{hexadecimal}.sig"),
            {**writers.fake_descriptor(f"annotated {number}"), "annotations": {f"key-{number}": self.host}},
        ]
        writers.write_index(self.path, writers.empty_index(*entries), "umoci")


def _shared_image(path: str, number: int) -> writers.Descriptor:
    """An index over two platforms and what is attached to it, the same one in every layout."""
    children = [
        writers.make_image(path, f"shared {number} {arch}", arch=arch, labels={f"label-{number}": "x"})
        | {"platform": writers.platform("linux", arch)}
        for arch in ("amd64", "arm64")
    ]
    return writers.make_index_image(path, children)


class Fleet:
    """A run of that size in `directory`; `say` gets what was measured. If it is `pooled`, two hosts share one session of the server."""

    def __init__(self, directory: Path, size: Size, say: Say, *, pooled: bool = False) -> None:
        self._size = size
        self._say = say
        self._server = Server()
        self._servers = [self._server]
        direct = self._server.new_catalog()
        self._database = direct.partition("@/")[2].partition("?")[0]
        self._servers.append(Server(self._server))
        self._pooler = Pooler(self._server, max(2, size.hosts // 2)) if pooled else None
        if self._pooler is not None:
            self._url = self._pooler.url(direct)
        else:
            both = ",".join(each.directory for each in self._servers)
            self._url = f"{direct.partition('?')[0]}?host={both}&target_session_attrs=read-write"
        self._hosts = [Host(directory, f"host-{number}", self._url) for number in range(size.hosts)]
        self._outsider = Host(directory, "outsider", self._url)
        self._layouts = {
            host.name: [Layout(host.name, number, host.path(f"images/s{number:03}")) for number in range(size.stores)]
            for host in self._hosts
        }
        self._taken: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._written: Counter[str] = Counter()  # rounds begun, by host
        self._down = False
        self._outages = 0
        self._going_back = False
        self._over = threading.Event()
        self._told: Counter[str] = Counter()
        self._wrong: list[str] = []

    def run(self) -> None:
        """All of it; fails with what was wrong."""
        try:
            self._run()
        finally:
            self._over.set()
            for host in self._hosts:
                host.close()
            if self._pooler is not None:
                self._pooler.close()
            for server in reversed(self._servers):
                server.close()

    def _run(self) -> None:
        began = time.monotonic()
        for host in self._hosts:
            for layout in self._layouts[host.name]:
                writers.make_layout(layout.path)
                layout.write(0)
            host.done("add", host.path("images"), "--no-index")
        for host in self._hosts:
            host.start("--rescan", "10", ready=False)
        for host in self._hosts:
            wait_for(host.has_looked, 4 * DEADLINE, what=host.log)
        self._say(f"{self._size.hosts} daemons follow {self._size.stores} layouts each, after {_since(began)}")
        began = time.monotonic()
        threads = [threading.Thread(target=self._guarded, args=(self._write, host)) for host in self._hosts]
        threads += [threading.Thread(target=self._guarded, args=(self._ask, n)) for n in range(self._size.readers)]
        watching = threading.Thread(target=self._guarded, args=(self._count,))
        for thread in (*threads, watching):
            thread.start()
        self._interrupt()
        for thread in threads[: len(self._hosts)]:
            thread.join()
        self._say(
            f"{self._size.hosts} x {self._size.stores * self._size.rounds} changes written and taken in {_since(began)}"
        )
        self._take_over()
        self._restore()
        self._over.set()
        for thread in (*threads, watching):
            thread.join()
        assert not self._wrong, "\n".join(self._wrong[:20])
        self._say("asked meanwhile: " + ", ".join(f"{count} {what}" for what, count in sorted(self._told.items())))
        self._compare()
        self._logs()

    # --- what happens -------------------------------------------------------------------------------------------

    def _guarded(self, do: Callable[..., None], *arguments: object) -> None:
        try:
            do(*arguments)
        except Exception as error:  # noqa: BLE001 - the thread that waits for this one reports it
            self._fail(f"{do.__name__}: {type(error).__name__}: {error}")

    def _fail(self, what: str) -> None:
        self._wrong.append(what)
        self._over.set()
        with self._changed:
            self._changed.notify_all()

    def _write(self, host: Host) -> None:
        for number in range(1, self._size.rounds + 1):
            self._round(host, number)
            if not self._is_taken(host, number):
                return

    def _round(self, host: Host, number: int) -> None:
        self._written[host.name] = number
        for layout in self._layouts[host.name]:
            layout.write(number)

    def _is_taken(self, host: Host, number: int) -> bool:
        """Wait until the catalog has that round of the host; return whether it has, and nothing was wrong."""
        wanted = self._size.stores * (number + 1)
        deadline = time.monotonic() + 4 * DEADLINE
        with self._changed:
            while self._taken[host.name] < wanted:
                if self._over.is_set():
                    return False
                assert time.monotonic() < deadline, (host.name, number, self._taken, host.log()[-10:])
                self._changed.wait(1.0)
        return True

    def _count(self) -> None:
        """See how many changes of each host the catalog has."""
        while not self._over.is_set():
            try:
                rows = self._server.ask(_COUNTED, self._database)
            except psycopg.OperationalError:
                assert self._outages, "the server is away, and nobody stopped it"
                rows = []
            with self._changed:
                self._taken.update({str(name): int(str(count)) - self._taken[str(name)] for name, count in rows})
                self._changed.notify_all()
            time.sleep(0.1)

    def _interrupt(self) -> None:
        """Stop the server when half of it is done, as a crash does, and start it again."""
        half = self._size.hosts * self._size.stores * (self._size.rounds // 2 + 1)
        with self._changed:
            while sum(self._taken.values()) < half and not self._over.is_set():
                self._changed.wait(1.0)
        self._down, self._outages = True, 1
        self._server.stop("immediate")
        time.sleep(_DOWN)
        self._server.start()
        wait_for(self._answers)  # A pooler tries it again only once a second.
        self._down = False
        self._outages = 2
        self._say(f"the server was away for {_DOWN:g} seconds when {sum(self._taken.values())} changes were taken")

    def _take_over(self) -> None:
        """Let the second server take over while the layouts change. It may not have the last rows of the first one.

        It has those of all rounds before this one: it follows the first server again only some time after that was started again, and
        a state that was lost comes back only if the layout still has it.
        """
        number = self._size.rounds + 1
        standby, had = self._servers[-1], sorted(self._server.ask(_COUNTED, self._database))
        wait_for(lambda: sorted(standby.ask(_COUNTED, self._database)) == had)
        self._down, self._going_back = True, True
        for host in self._hosts[::2]:
            self._round(host, number)
        self._server.stop("immediate")
        for host in self._hosts[1::2]:
            self._round(host, number)
        self._server = self._servers[-1]
        self._server.promote()
        if self._pooler is not None:
            self._pooler.turn_to(self._server)
        wait_for(self._answers)
        self._down = False
        self._all_taken(number)
        self._say("a second server took over in the middle of a round")

    def _restore(self) -> None:
        """Go back to a backup that lacks a round, which the layouts still have."""
        number = self._size.rounds + 2
        self._server.dump(self._database)
        for host in self._hosts:
            self._round(host, number)
        self._all_taken(number)
        self._down, self._going_back = True, True
        self._server.restore(self._database)
        wait_for(self._answers)
        self._down = False
        with self._changed:
            self._taken.clear()
        self._all_taken(number)
        self._say("a backup was restored, and what it lacked was found again")

    def _all_taken(self, number: int) -> None:
        assert all(self._is_taken(host, number) for host in self._hosts), "\n".join(self._wrong[:20])
        self._outages += 1
        self._going_back = False

    def _answers(self) -> bool:
        try:
            with psycopg.connect(conninfo(self._url)) as connection:
                connection.execute("SELECT 1")  # A pooler lets in before it has a session.
        except psycopg.OperationalError:
            return False
        return True

    # --- what is asked meanwhile --------------------------------------------------------------------------------

    def _ask(self, number: int) -> None:
        rng = random.Random(number)
        latest: Counter[Layout] = Counter()
        while not self._over.is_set():
            layout = rng.choice(self._layouts[rng.choice(self._hosts).name])
            asker = rng.choice([self._outsider, *self._hosts])
            own = asker.name == layout.host
            place = layout.name if own else f"{layout.host}:{layout.name}"
            how = rng.choice(("resolve", "resolve", "query", "sql", "report"))
            outages, is_back = self._outages, self._going_back
            if how == "resolve":
                result = asker("resolve", f"{layout.host}/app-{layout.number:03}:t")
            elif how == "query":
                result = asker("query", f"oci-layout://{place}:t", "--format", "{digest}")
            elif how == "sql":
                asked = "SELECT digest FROM images WHERE store = :store AND tag = 't'"
                result = asker("sql", asked, "-p", f"store={place}", "--format", "{digest}")
            else:
                result = asker("report", rng.choice(_QUIET), "--format", "json")
            if is_back or self._going_back or outages != self._outages:
                latest.clear()
            if result.status == 4 and (self._down or self._going_back or outages != self._outages or outages == 1):
                assert "cannot reach" in result.err, result
                self._told["told that the server is away"] += 1
                self._over.wait(0.3)  # Otherwise most of what is asked is asked of nobody.
                continue
            assert result.status == 0, (how, place, result)
            assert "Traceback" not in result.err, result
            self._told[f"by {how}"] += 1
            if how != "report":
                self._judge(layout, result.out.strip(), latest)

    def _judge(self, layout: Layout, digest: str, latest: Counter[Layout]) -> None:
        known = {layout.state(number)["digest"]: number for number in range(self._written[layout.host] + 1)}
        assert digest in known, (layout, digest, "was not written")
        assert known[digest] >= latest[layout], (layout, known[digest], "after", latest[layout])
        latest[layout] = known[digest]

    # --- what has to hold ---------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """All that was written is there, once; the end equals the oracle, names and what is below them."""
        began = time.monotonic()
        database = self._database
        pending = "SELECT count(*) FROM store WHERE content_pending"
        wait_for(lambda: self._server.ask(pending, database) == [(0,)], 2 * DEADLINE, what=lambda: "content pending")
        rounds = self._size.rounds + 3  # with the first, and those of another server and of a backup
        each = self._size.stores * rounds
        assert self._taken == {host.name: each for host in self._hosts}, self._taken
        layouts = [layout for some in self._layouts.values() for layout in some]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OCICAT_HOST", self._outsider.name)
            reader = open_reader(self._url)
        difference = Difference([OracleStore(f"{each.host}:{each.name}", each.path) for each in layouts])
        try:
            wrong = difference.find(reader)
            assert not wrong, "\n".join(difference.explain(reader, name) for name in wrong[:5])
            spans = {
                (store, digest)
                for store, digest in reader.select("SELECT store, digest FROM history WHERE tag = 't'", {})
            }
        finally:
            reader.close()
        missing = [
            (layout, number)
            for layout in layouts
            for number in range(rounds)
            if (f"{layout.host}:{layout.name}", layout.state(number)["digest"]) not in spans
        ]
        assert not missing, missing[:5]
        for host in self._hosts:
            oracle = Oracle([OracleStore(each.name, each.path) for each in self._layouts[host.name][:3]])
            for platform in ("linux/amd64", "linux/arm64"):
                wanted = oracle.resolve("shared:1", platform=platform)
                said = host.done("resolve", "shared:1", "--platform", platform)
                assert said.out.strip() == wanted.digest, (host.name, said, wanted)
        self._whole(database)
        self._say(f"the catalog equals the oracle, and has every one of the changes ({_since(began)} to compare)")

    def _whole(self, database: str) -> None:
        """What was read of the shared digests is there as often as they say so, and no more."""
        kinds = (
            "SELECT count(*) FROM store_blob JOIN content ON content.id = content_id JOIN edge ON child_id = content.id"
        )
        assert self._server.ask(f"{kinds} WHERE kind = 0 AND role IN (0, 1)", database) == [(0,)]
        doubled = "SELECT count(*) FROM (SELECT 1 FROM entry GROUP BY store_id, sort HAVING count(*) > 1) AS twice"
        assert self._server.ask(doubled, database) == [(0,)]
        wrong = "SELECT count(*) FROM store WHERE entries <> (SELECT count(*) FROM entry WHERE store_id = store.id)"
        assert self._server.ask(wrong, database) == [(0,)]

    def _logs(self) -> None:
        """No daemon met anything but the server's absence."""
        waited = 0
        for host in self._hosts:
            host.alive()
            waited += sum("cannot reach" in line for line in host.log())
            assert not host.strange(), (host.name, host.strange()[:10])
            assert host.stop() == 0
        said = "".join(
            Path(each.directory, "log").read_text(encoding="utf-8", errors="replace") for each in self._servers
        )
        self._say(
            f"daemons waited for the server {waited} times; deadlocks that the server saw: {said.count('deadlock detected')}"
        )
        assert "deadlock detected" not in said


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"
