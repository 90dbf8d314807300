"""Measure the times of commands in turn (A B A B), so that other load on the machine affects all of them equally."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

WARM_UP = 2

Take = Callable[[], float]
"""A function that does something once and returns the seconds that this took."""


class Spread(NamedTuple):
    """The minimum, quartiles and median of some numbers."""

    minimum: float
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Return the spread of one or more numbers."""
        single = numbers[0]
        quartiles = statistics.quantiles(numbers, n=4, method="inclusive") if len(numbers) > 1 else [single] * 3
        low, median, high = quartiles
        return cls(min(numbers), low, median, high)


def in_turn(takes: Mapping[str, Take], runs: int, *, warm_up: int = WARM_UP) -> dict[str, list[float]]:
    """Return the seconds of `runs` runs of each action, taken in turn. The first `warm_up` rounds do not count."""
    os.sync()  # Otherwise the kernel would write data of earlier rows to disk meanwhile, and actions that write would wait.
    seconds: dict[str, list[float]] = {label: [] for label in takes}
    for number in range(warm_up + runs):
        for label, take in takes.items():
            took = take()
            if number >= warm_up:
                seconds[label].append(took)
    return seconds


def cold(command: list[str], environment: Mapping[str, str], *, status: int = 0, stdin: str = os.devnull) -> Take:
    """Return an action that runs a process from start to end. It raises RuntimeError if the exit status is not `status`."""

    def take() -> float:
        began = time.perf_counter()
        _run(command, environment, status, stdin)
        return time.perf_counter() - began

    return take


def processor(command: list[str], environment: Mapping[str, str]) -> Take:
    """Return an action that runs a process and returns the processor time, in seconds, of the process and its children.

    It raises RuntimeError if the exit status is not 0.
    """

    def take() -> float:
        used = _run(command, environment, 0, os.devnull)
        return used.ru_utime + used.ru_stime

    return take


def _run(command: list[str], environment: Mapping[str, str], status: int, stdin: str) -> resource.struct_rusage:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    pid = os.posix_spawnp(command[0], command, environment, file_actions=actions)
    _, result, used = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(result) != status:
        raise RuntimeError(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(result)}, not {status}")
    return used


def driven(command: Sequence[str], environment: Mapping[str, str]) -> list[float]:
    """Run one of benchmarks/drivers and return the numbers that it prints, such as the seconds that it measured itself.

    Raises RuntimeError if it fails.
    """
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return [float(word) for word in done.stdout.split()]
