"""A stress run: layouts, their writers, readers, and a daemon that is let live, and then killed again and again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from catalog.engine.locks import WRITER, is_held
from tests.conftest import file_of
from tests.forking import CLEAN, Code
from tests.oracle import OracleStore
from tests.stress.truth import Answers, Difference, Notes, Past, answers, past, share
from tests.stress.world import WRITERS, Place, first, places, roots
from tests.watch.harness import DEADLINE, SETTLE_MS, Followed, wait_for

_REPOSITORY = str(Path(__file__).parents[2])
_SAMPLE = 100
"""Of so many references, chosen at random, the oracle is asked as a user would ask."""

Say = Callable[[str], None]


class Size(NamedTuple):
    """How much of everything: `seconds` of load with a daemon that is let live, then `kills`; `pause` is a writer's, in seconds,
    between two writes on average, and `waits` that of a reader by the program between two questions; after every `rest` kills all is
    compared."""

    stores: int
    seconds: float
    kills: int
    rest: int
    pause: float
    readers: int
    waits: float


FULL = Size(stores=2000, seconds=60.0, kills=50, rest=10, pause=0.06, readers=2, waits=0.0)
SHORT = Size(stores=40, seconds=2.0, kills=4, rest=4, pause=0.2, readers=1, waits=0.2)


class Stress:
    """A run of that size in `directory`. `say` gets what was measured, line by line."""

    def __init__(self, directory: Path, size: Size, say: Say) -> None:
        self.catalog = Followed(directory, settle_ms=SETTLE_MS)
        self._size = size
        self._say = say
        self._directory = str(directory)
        self._places = places(size.stores)
        self._random = random.Random(5)
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self) -> None:
        """All of it; fails with what was wrong."""
        try:
            self._run()
        finally:
            for process in self._processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
            self.catalog.close()

    def _run(self) -> None:
        began = time.monotonic()
        at_first = {place.number: first(place, place.path(self._directory)) for place in self._places}
        for root in roots():
            self.catalog.add_root(root)
        self._say(f"{len(self._places)} stores made and added in {time.monotonic() - began:.1f} s")
        self.catalog.start("--rescan", "5")
        for writer in range(WRITERS):
            self._start("writer", str(writer), str(self._size.stores), str(self._size.pause))
        for kind in ("inside", "processes"):
            for number in range(self._size.readers):
                self._start("reader", self.catalog.db, str(self._size.stores), kind, str(number), str(self._size.waits))
        self._live()
        lived_until = time.monotonic()
        self._be_killed()
        Path(f"{self._directory}/stop").touch()
        for process in self._processes:
            assert process.wait(DEADLINE) == 0, process.args
        self._compare()
        self._check_rows()
        assert self.catalog.stop() == 0
        self._sound()
        notes = Notes(self._directory, at_first, SETTLE_MS / 1000)
        numbers = {place.name: place.number for place in self._places}
        self._tell(notes, answers(self._directory, notes), past(self.catalog, notes, numbers, lived_until))

    def _start(self, module: str, *arguments: str) -> None:
        command = Code(f"from tests.stress.{module} import main; main()", self._directory, *arguments)
        self._processes.append(subprocess.Popen(command, env=CLEAN, cwd=_REPOSITORY, stdin=subprocess.DEVNULL))

    # --- what happens -------------------------------------------------------------------------------------------

    def _live(self) -> None:
        """Let all of them do their work for a while, and compare once in the middle of it."""
        until = time.monotonic() + self._size.seconds
        while time.monotonic() < until:
            time.sleep(0.1)
            self._alive()
        with self._still():
            self._compare()

    def _be_killed(self) -> None:
        """SIGKILL at random moments: while it starts, while it works, with the lock of a writer and without."""
        writing = 0
        for kill in range(1, self._size.kills + 1):
            if kill > 1 or self.catalog.daemon is None:
                self.catalog.start("--rescan", "1", ready=self._random.random() < 0.6)
            time.sleep(self._random.uniform(0.0, 1.0))
            writing += self._is_writing(0.5 if kill % 2 else 0.0)
            self.catalog.stop(signal.SIGKILL)
            self._sound()
            self._alive()
            if kill % self._size.rest == 0:
                self.catalog.start("--rescan", "5")
                with self._still():
                    self._compare()
                if kill < self._size.kills:
                    self.catalog.stop(signal.SIGKILL)
        self._say(f"killed {self._size.kills} times, {writing} of them while it wrote; sound and complete after each")

    def _is_writing(self, seconds: float) -> bool:
        """Whether a transaction is running; waits that long for one."""
        until = time.monotonic() + seconds
        while not (held := is_held(self.catalog.db + WRITER)) and time.monotonic() < until:
            time.sleep(0.001)
        return held

    def _alive(self) -> None:
        """Nobody has ended: a writer or a reader would only do so where it fails."""
        for process in self._processes:
            assert process.poll() is None, process.args

    @contextlib.contextmanager
    def _still(self) -> Iterator[None]:
        """Let the writers pause."""
        Path(f"{self._directory}/pause").touch()
        threads = [f"{writer}-quick" for writer in range(WRITERS)]
        threads += sorted({f"{place.writer}-slow" for place in self._places if place.is_slow})
        paused = [f"{self._directory}/paused-{thread}" for thread in threads]
        wait_for(lambda: all(map(os.path.exists, paused)), what=lambda: paused)
        yield
        os.unlink(f"{self._directory}/pause")
        wait_for(lambda: not any(map(os.path.exists, paused)), what=lambda: paused)

    # --- what has to hold ---------------------------------------------------------------------------------------

    def _sound(self) -> None:
        said = self.catalog("db", "check")  # integrity_check and foreign_key_check
        assert said.status == 0, said

    def _compare(self) -> None:
        """The catalog comes to equal the oracle, whatever the daemon had left to do."""
        began = time.monotonic()
        there = [place for place in self._places if os.path.isdir(place.path(self._directory))]
        difference = Difference([OracleStore(place.name, place.path(self._directory)) for place in there])
        reader = self.catalog.reader
        wait_for(
            lambda: not difference.find(reader),
            4 * DEADLINE,
            what=lambda: "\n".join(
                [*(difference.explain(reader, name) for name in difference.find(reader)[:5]), *self.catalog.log()[-20:]]
            ),
        )
        self._say(f"the catalog equals the oracle {time.monotonic() - began:.1f} s after the last write")
        for place in self._random.sample(there, min(_SAMPLE, len(there))):
            ref = self._random.choice(place.refs)
            assert self.catalog.ask(ref) == difference.oracle.resolve(ref), ref
        self._content(there)

    def _content(self, there: list[Place]) -> None:
        """And what digests are is read as well: that of a platform's image, below an index, is found."""
        pending = "SELECT count(*) FROM stores WHERE pending AND state <> 'missing'"
        execute = file_of(self.catalog.reader).execute
        wait_for(lambda: execute(pending).fetchone() == (0,), 4 * DEADLINE, what=self.catalog.log)
        for place in [each for each in there if each.is_real][:20]:
            said = self.catalog("resolve", "--platform", "linux/arm64", place.refs[1])
            assert said.status == 0, said

    def _check_rows(self) -> None:
        """What a store counts is there; and a pass over everything finds nothing to do."""
        before = self.catalog.spans()
        self.catalog.done("index")
        assert self.catalog.spans() == before
        for table, column in (("entry", "entries"), ("snapshot", "generation")):
            wrong = (
                file_of(self.catalog.reader)
                .execute(
                    f"SELECT name FROM store WHERE {column} <> (SELECT count(*) FROM {table} WHERE store_id = store.id)"
                )
                .fetchall()
            )
            assert wrong == [], (table, wrong)

    def _tell(self, notes: Notes, told: Answers, known: Past) -> None:
        lags, behind = known.lags, told.behind
        self._say(f"{notes.writes} states written, {known.states} of them stood still long enough to be answered")
        self._say(
            f"{told.told} questions, some by {told.processes} processes of resolve and query; {told.found} answers"
        )
        self._say(f"{len(told.wrong) + len(known.wrong)} were wrong")
        for name, values in (("lag from write to commit", lags), ("an answer behind what had settled", behind)):
            quantiles = ", ".join(f"{word} {share(values, part):.2f}" for word, part in (("p50", 0.5), ("p99", 0.99)))
            self._say(f"{name}, in seconds: {quantiles}, max {share(values, 1.0):.2f} (of {len(values)})")
        assert told.wrong == [], told.wrong[:10]
        assert known.wrong == [], known.wrong[:10]
        assert told.found
        assert lags
        assert not any("locked" in line for line in self.catalog.log()), self.catalog.log()
