"""Turns among threads: one thread at a time works on files in memory, all of them on files from a disk."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from catalog.ingest.one_at_a_time import OneAtATime


def test_threads_take_turns_with_files_in_memory() -> None:
    turns = OneAtATime()
    inside: list[int] = []
    counts: list[int] = []
    both = threading.Barrier(4)

    def work(number: int) -> None:
        both.wait()
        for _ in range(200):
            begun = turns.begin()
            inside.append(number)
            counts.append(len(inside))
            inside.pop()
            turns.end(begun, 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert counts == [1] * 800


def test_after_files_from_a_disk_nobody_waits_for_a_while() -> None:
    turns = OneAtATime()
    turns.end(turns.begin(), 0)  # at least as many blocks as files were read
    assert [turns.begin() for _ in range(32)] == [None] * 32  # a turn would wait for that of the first
    begun = turns.begin()
    assert begun is not None
    turns.end(begun, 1)
