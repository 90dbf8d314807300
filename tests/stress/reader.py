"""A reader of a stress run: `python -m tests.stress.reader DIRECTORY DB STORES KIND NUMBER WAITS`.

It resolves the tags of random stores until the file `stop` exists, and records each answer with its time. With the KIND `inside`
it asks in this process. With `processes` it starts `ocicat resolve` and `ocicat query`, and pauses for WAITS seconds between two
of them.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO

from catalog.engine.sqlite.reader import SqliteReader
from catalog.errors import OcicatError
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
from tests.forking import CLEAN, OCICAT
from tests.stress.world import Place, places

_AT_ONCE = 8
_PAUSE = 0.004

Note = Callable[[Place, float, int, str | None, str], None]


class Inside:
    """Asks in this process, with one connection, and now and then with a new one."""

    def __init__(self, db: str, note: Note) -> None:
        self._db = db
        self._note = note
        self._reader = SqliteReader(db)
        self._asked = 0

    def ask(self, wanted: list[tuple[Place, str]]) -> None:
        for place, ref in wanted:
            self._asked += 1
            began = time.monotonic()
            try:
                if self._asked % 50 == 0:
                    self._reader.close()
                    self._reader = SqliteReader(self._db)
                found = Asking(self._reader, lambda _note: None).resolve(parse_query(ref))
                self._note(place, began, 0, found.digest, "")
            except OcicatError as error:
                self._note(place, began, error.status, None, str(error))
            time.sleep(_PAUSE)


class Processes:
    """Asks by the program."""

    def __init__(self, db: str, note: Note, waits: float) -> None:
        self._waits = waits
        self._environment = CLEAN | {"OCICAT_DB": db}
        self._note = note
        self._asked = 0

    def ask(self, wanted: list[tuple[Place, str]]) -> None:
        time.sleep(self._waits)
        self._asked += 1
        if self._asked % 4 == 0:
            wanted = wanted[:1]
            command = ["query", "--format", "{digest}", wanted[0][1]]
        else:
            command = ["resolve", *(ref for _, ref in wanted)]
        began = time.monotonic()
        done = subprocess.run([OCICAT, *command], capture_output=True, text=True, env=self._environment, check=False)
        lines = done.stdout.split("\n")[:-1]
        if done.returncode > 1 or (len(lines) != len(wanted) and command[0] == "resolve"):
            self._note(wanted[0][0], began, 9, None, f"{done.returncode} {lines} {done.stderr}")
            return
        for (place, _), line in zip(wanted, [*lines, ""], strict=False):
            self._note(place, began, 0 if line else 1, line or None, "")


def _written(directory: str, rng: random.Random) -> Place | None:
    """One of the stores that were written last, half of the times: there answers are put to the test."""
    notes = [name for name in os.listdir(directory) if name.startswith("notes-")]
    if not notes or rng.random() < 0.5:
        return None
    with open(f"{directory}/{rng.choice(notes)}", "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 1000))
        whole = file.read().split(b"\n")[1:-1]
    return Place(json.loads(rng.choice(whole))[0]) if whole else None


def main() -> None:
    directory, db, stores, kind, number, waits = sys.argv[1:]
    rng = random.Random(f"{kind}-{number}")
    all_ = places(int(stores))

    def note(place: Place, began: float, status: int, digest: str | None, said: str) -> None:
        file.write(json.dumps([place.number, began, time.monotonic(), status, digest, said]) + "\n")

    file: IO[str]
    with open(f"{directory}/told-{kind}-{number}", "w", encoding="utf-8") as file:
        asking = Inside(db, note) if kind == "inside" else Processes(db, note, float(waits))
        while not os.path.exists(f"{directory}/stop"):
            chosen = [_written(directory, rng) or rng.choice(all_) for _ in range(_AT_ONCE)]
            asking.ask([(place, rng.choice(place.refs)) for place in chosen])


if __name__ == "__main__":
    main()
