"""Cold processes, timed in turn: A B A B, so that what the machine does meanwhile falls on both."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

WARM_UP = 3


class Times(NamedTuple):
    """Milliseconds of many runs of one command."""

    minimum: float
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, runs: Sequence[float]) -> Times:
        """From seconds; `low` and `high` are the quartiles."""
        low, median, high = statistics.quantiles(runs, n=4, method="inclusive") if len(runs) > 1 else [runs[0]] * 3
        return cls(min(runs) * 1e3, low * 1e3, median * 1e3, high * 1e3)


def once(command: list[str], environment: Mapping[str, str], *, status: int = 0) -> float:
    """Seconds from the start of the process to its end. Raises RuntimeError for another exit status than `status`."""
    silent = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, environment, file_actions=silent)
    _, result = os.waitpid(pid, 0)
    took = time.perf_counter() - began
    if os.waitstatus_to_exitcode(result) != status:
        raise RuntimeError(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(result)}, not {status}")
    return took


def in_turn(commands: Mapping[str, list[str]], environment: Mapping[str, str], runs: int) -> dict[str, Times]:
    """Each of `commands` run `runs` times, one after the other in every round."""
    seconds: dict[str, list[float]] = {label: [] for label in commands}
    for number in range(WARM_UP + runs):
        for label, command in commands.items():
            took = once(command, environment)
            if number >= WARM_UP:
                seconds[label].append(took)
    return {label: Times.of(each) for label, each in seconds.items()}
