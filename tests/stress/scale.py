"""One daemon over many stores: what it takes, what it costs while nothing happens, and while blobs are written."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from catalog.ingest.clock import now_ms
from catalog.watch.status import read_daemon
from tests.conftest import file_of
from tests.oracle import OracleStore
from tests.stress.truth import Difference, share
from tests.stress.world import first, places, roots
from tests.watch.harness import SETTLE_MS, Followed, wait_for

MOST_INSTANCES, MOST_THREADS, MOST_RSS_MIB = 2, 12, 200
"""The most that is allowed."""

_SECONDS = 240.0
"""No sweep of any of these sizes takes so long unless something is broken."""
_HERTZ = os.sysconf("SC_CLK_TCK")


class Size(NamedTuple):
    """How many stores, how many idle seconds with a sweep every `rescan` seconds, and how many blobs in a burst."""

    stores: int
    idle: float
    rescan: float
    blobs: int


FULL = Size(stores=10_000, idle=120.0, rescan=30.0, blobs=20_000)
SHORT = Size(stores=120, idle=0.0, rescan=1.0, blobs=500)


class Scale:
    """A run of that size in `directory`. `say` gets what was measured, line by line."""

    def __init__(self, directory: Path, size: Size, say: Callable[[str], None]) -> None:
        self.catalog = Followed(directory, settle_ms=SETTLE_MS)
        self._size = size
        self._say = say
        self._paths = [place.path(str(directory)) for place in places(size.stores)]

    def run(self) -> None:
        """All of it; fails where a limit is not kept."""
        try:
            self._run()
        finally:
            self.catalog.close()

    def _run(self) -> None:
        for place, path in zip(places(self._size.stores), self._paths, strict=True):
            first(place, path)
        self._say(f"{len(self._paths)} stores, a rescan every {self._size.rescan:g} s")
        for root in roots():
            self.catalog.roots[self.catalog.path(root)] = root
        with open(self.catalog.config, "a", encoding="utf-8") as file:
            for root in roots():
                file.write(f'[[roots]]\npath = "{self.catalog.path(root)}"\n')
        self._say(f"set-up from nothing, all indexed and watched: {self._started():.1f} s")
        wait_for(self._has_read_content, _SECONDS, what=self.catalog.log)
        self._equals_the_oracle()
        assert self.catalog.stop() == 0
        self._say(f"set-up with a catalog that is there: {self._started():.1f} s")
        self._limits()
        self._idle()
        self._burst()
        self._limits()
        self._equals_the_oracle()
        assert self.catalog.stop() == 0

    def _started(self) -> float:
        began = time.monotonic()
        options = ("--rescan", str(self._size.rescan), "--verbose", "--log-format", "json")
        self.catalog.start(*options, ready=False)
        wait_for(self.catalog._has_looked, _SECONDS, what=self.catalog.log)
        return time.monotonic() - began

    def _has_read_content(self) -> bool:
        pending = "SELECT count(*) FROM stores WHERE pending"
        return bool(file_of(self.catalog.reader).execute(pending).fetchone() == (0,))

    def _equals_the_oracle(self) -> None:
        all_ = zip(places(self._size.stores), self._paths, strict=True)
        difference = Difference([OracleStore(place.name, path) for place, path in all_])
        wait_for(lambda: not difference.find(self.catalog.reader), _SECONDS, what=self.catalog.log)

    # --- what it takes ------------------------------------------------------------------------------------------

    @property
    def _process(self) -> str:
        assert self.catalog.daemon is not None
        return f"/proc/{self.catalog.daemon.pid}"

    def _limits(self) -> None:
        with open(f"{self._process}/status", encoding="utf-8") as file:
            status = dict(line.split(":", 1) for line in file.read().splitlines())
        threads, rss, peak = (int(status[key].split()[0]) for key in ("Threads", "VmRSS", "VmHWM"))
        instances = list(self._instances())
        watched = {inode for inodes in instances for inode in inodes}
        blobs = {os.stat(f"{path}/blobs{end}").st_ino for path in self._paths for end in ("", "/sha256")}
        stores = {os.stat(path).st_ino for path in self._paths}
        self._say(
            f"threads {threads}, inotify instances {len(instances)}, watches {sum(map(len, instances))}, "
            f"RSS {rss / 1024:.0f} MiB (at most {peak / 1024:.0f})"
        )
        assert threads <= MOST_THREADS
        assert len(instances) <= MOST_INSTANCES
        assert stores <= watched
        assert not blobs & watched
        assert rss < MOST_RSS_MIB * 1024

    def _instances(self) -> Iterator[list[int]]:
        """The inodes that each inotify descriptor of the daemon watches."""
        for name in os.listdir(f"{self._process}/fd"):
            try:
                target = os.readlink(f"{self._process}/fd/{name}")
            except FileNotFoundError:
                continue  # closed since the directory was listed
            if target == "anon_inode:inotify":
                with open(f"{self._process}/fdinfo/{name}", encoding="utf-8") as file:
                    yield [
                        int(inode, 16) for inode in re.findall(r"^inotify wd:\w+ ino:(\w+)", file.read(), re.MULTILINE)
                    ]

    # --- what it costs ------------------------------------------------------------------------------------------

    def _cpu(self) -> float:
        """Seconds of processor time so far."""
        with open(f"{self._process}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _HERTZ

    def _sweeps(self) -> list[float]:
        """Seconds that each sweep took so far."""
        return [json.loads(line)["seconds"] for line in self.catalog.log() if '"event":"swept"' in line]

    def _next_sweep(self) -> None:
        count = len(self._sweeps())
        wait_for(lambda: len(self._sweeps()) > count, _SECONDS, what=self.catalog.log)

    def _idle(self) -> None:
        self._next_sweep()
        before, count, began = self._cpu(), len(self._sweeps()), time.monotonic()
        time.sleep(self._size.idle)
        self._next_sweep()
        seconds, sweeps = time.monotonic() - began, sorted(self._sweeps()[count:])
        used = self._cpu() - before
        bare = min(self._bare() for _ in range(3))
        self._say(
            f"idle: {60 * used / seconds:.2f} s of CPU a minute, {100 * used / seconds:.2f} % of a core "
            f"(over {seconds:.0f} s, {len(sweeps)} sweeps)"
        )
        self._say(
            f"a sweep: {1000 * sweeps[0]:.0f} ms at least, {1000 * share(sweeps, 0.5):.0f} in the middle; a bare loop of "
            f"os.stat over the same files: {1000 * bare:.0f} ms at least; {sweeps[0] / bare:.1f} times that"
        )

    def _has_beaten_since(self, moment: int) -> None:
        """Wait until the daemon has said how it is: what it said before may be old."""
        wait_for(lambda: (read_daemon(self.catalog.db) or {}).get("beat", 0) > moment, what=self.catalog.log)

    def _bare(self) -> float:
        files = [f"{path}/index.json" for path in self._paths]
        began = time.perf_counter()
        for file in files:
            os.stat(file)
        return time.perf_counter() - began

    def _burst(self) -> None:
        """Blobs written into the stores: no event comes of them, so all they cost is a listing when it is over."""
        self._next_sweep()
        self._has_beaten_since(now_ms())
        before, event = self._cpu(), self.catalog.state()["daemon_last_event"]
        began = time.monotonic()
        for number in range(self._size.blobs):
            path = self._paths[number % len(self._paths)]
            with open(f"{path}/blobs/sha256/{number:064x}", "wb") as file:
                file.write(b"a blob")
        seconds, used = time.monotonic() - began, self._cpu() - before
        self._has_beaten_since(now_ms())
        assert self.catalog.state()["daemon_last_event"] == event
        self._say(f"a burst of {self._size.blobs} blobs in {seconds:.1f} s: {used:.2f} s of CPU, and no event")
        before = self._cpu()
        self._next_sweep()
        statement = "SELECT count(*) FROM blobs WHERE digest BETWEEN ? AND ?"
        bounds = f"sha256:{0:064x}", f"sha256:{self._size.blobs - 1:064x}"
        execute = file_of(self.catalog.reader).execute
        wait_for(lambda: execute(statement, bounds).fetchone() == (self._size.blobs,), _SECONDS, what=self.catalog.log)
        self._say(f"and {self._cpu() - before:.2f} s of CPU until all of them are listed, sweeps and all")
