"""A writer of a stress run: `python -m tests.stress.writer DIRECTORY NUMBER STORES PAUSE`.

Two threads: one writes in every quick way there is, and the other slowly, pausing in the middle for longer than the settling
time. Each notes every state that it wrote in a file of its own. A file `pause` in the directory lets them pause, once their
last write is whole; `stop` ends them.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tests.stress.world import Place, first, following, places, same_length
from tests.writers import RENAMING, WRITE_STYLES, Index, dump, read_index, write_skopeo

HOT = 3
"""How many stores at a time get most of a writer's writes, so that they never stand still for long."""
_SLOW_PAUSE = 0.35


class Notes:
    """What a thread wrote. Times are those of the monotonic clock, which all processes share: from `last`, at the latest,
    until after the next one's `first` the state stood; `begin` and `end` are around all of the write. `renamed` says that a whole
    file was renamed into place.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def close(self) -> None:
        self._file.close()

    def write(
        self,
        place: Place,
        state: int,
        digest: str | None,
        begin: float,
        first_: float,
        last: float,
        *,
        renamed: bool = False,
    ) -> None:
        end = time.monotonic()
        note = [place.number, state, digest, begin, min(first_, end), last, end, time.time(), renamed]
        self._file.write(json.dumps(note) + "\n")
        self._file.flush()


class Thread:
    """Writes some of the layouts until it is told to stop; `name` is for its notes."""

    def __init__(self, directory: str, name: str, mine: list[Place], pause: float) -> None:
        self._directory = directory
        self._name = name
        self._mine = mine
        self._pause = pause
        self._random = random.Random(name)
        self._notes = Notes(open(f"{directory}/notes-{name}", "a", encoding="utf-8"))
        self._states = dict.fromkeys(mine, 0)
        self._styles = [*sorted(WRITE_STYLES), "twice", "touched"]

    def close(self) -> None:
        self._notes.close()

    def run(self, write: Callable[[Place, str], None]) -> None:
        number = 0
        hot = self._mine
        while self._may_go_on():
            if number % 40 == 0:
                hot = self._random.sample(self._mine, min(HOT, len(self._mine)))
            number += 1
            place = self._random.choice(hot if self._random.random() < 0.7 else self._mine)
            write(place, place.path(self._directory))
            time.sleep(self._random.expovariate(1 / self._pause))

    def _may_go_on(self) -> bool:
        told = f"{self._directory}/paused-{self._name}"
        while not os.path.exists(f"{self._directory}/stop"):
            if not os.path.exists(f"{self._directory}/pause"):
                if os.path.exists(told):
                    os.unlink(told)
                return True
            Path(told).touch()
            time.sleep(0.02)
        return False

    def _next(self, place: Place) -> int:
        self._states[place] += 1
        return self._states[place]

    # --- ways of writing ----------------------------------------------------------------------------------------

    def quick(self, place: Place, path: str) -> None:
        """In one of the styles, or the whole directory deleted, or made again."""
        begin = time.monotonic()
        if not os.path.exists(f"{path}/oci-layout"):
            state = self._next(place)
            made = f"{self._directory}/made-{self._name}"
            first(place, made)
            index, digest = following(self._random, place, made, read_index(made), state)
            write_skopeo(made, dump(index))
            os.rename(made, path)
            self._notes.write(place, state, digest, begin, time.monotonic(), begin)
            return
        if place.comes_and_goes and self._random.random() < 0.3:
            shutil.rmtree(path)
            self._notes.write(place, self._next(place), None, begin, time.monotonic(), begin)
            return
        style = self._random.choice(self._styles)
        index = self._rewrite(place, path, read_index(path), "skopeo" if style == "twice" else style)
        if style == "twice":
            self._rewrite(place, path, index, "buildkit")

    def _rewrite(self, place: Place, path: str, before: Index, style: str) -> Index:
        state = self._next(place)
        if style == "touched" and not place.is_real:
            index, digest = same_length(place, before, state)
        else:
            index, digest = following(self._random, place, path, before, state)
        data = dump(index)
        begin = time.monotonic()
        if style == "touched":  # the same size, in place, and the time of before: only the kernel's own time tells
            times = os.stat(f"{path}/index.json")
            WRITE_STYLES["buildkit"](path, data)
            os.utime(f"{path}/index.json", ns=(times.st_atime_ns, times.st_mtime_ns))
        else:
            WRITE_STYLES[style](path, data)
        self._notes.write(place, state, digest, begin, time.monotonic(), begin, renamed=style in RENAMING)
        return index

    def slow(self, place: Place, path: str) -> None:
        """In place, with the same length, where each state between is valid JSON; or truncated first."""
        state = self._next(place)
        before = read_index(path)
        if self._random.random() < 0.5:
            index, digest = same_length(place, before, state)
            flags = "r+b"
        else:
            index, digest = following(self._random, place, path, before, state)
            flags = "wb"
        data = dump(index)
        # Inside the digest that changes, so that the states between have digests that never were.
        middle = data.index(digest.encode()) + 30
        begin = time.monotonic()
        with open(f"{path}/index.json", flags, buffering=0) as file:
            file.write(data[:middle])
            first_ = time.monotonic()
            time.sleep(_SLOW_PAUSE)
            file.write(data[middle : middle + 10])
            time.sleep(_SLOW_PAUSE)
            last = time.monotonic()
            file.write(data[middle + 10 :])
        self._notes.write(place, state, digest, begin, first_, last)


def main() -> None:
    directory, writer, stores, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    mine = [place for place in places(stores) if place.writer == writer]
    quick = Thread(directory, f"{writer}-quick", [each for each in mine if not each.is_slow], pause)
    slow = Thread(directory, f"{writer}-slow", [each for each in mine if each.is_slow] or [], pause)
    threads = [threading.Thread(target=quick.run, args=[quick.quick])]
    if any(each.is_slow for each in mine):
        threads.append(threading.Thread(target=slow.run, args=[slow.slow]))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in (quick, slow):
        each.close()


if __name__ == "__main__":
    main()
