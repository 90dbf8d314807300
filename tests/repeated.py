"""Find the tests that ask a server nothing that another test does not ask it too: `python -m tests.repeated` takes half an hour.

All tests that run on both engines are run on the server, and the texts of their statements are recorded. Then tests are chosen, those
that ask the most in the least time first, until each text is asked by one; the rest is written to repeated_on_server.txt. Chosen in any
case are the tests of ALWAYS, whose subject is the server itself, and one of each file. A new test is not on the list, so it runs on both.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

HERE = Path(__file__).parent
LIST = HERE / "repeated_on_server.txt"
ROOMS = ("cli", "content", "ingest", "lookup", "plans", "reports")
ALWAYS = (
    "cli/test_db", "cli/test_first_contact", "cli/test_formats", "cli/test_fresh.py", "cli/test_hostile.py", "cli/test_in_process",
    "cli/test_operators", "cli/test_program", "cli/test_schemas", "cli/test_sql", "cli/test_status", "cli/test_stores", "cli/test_timeouts",
    "cli/test_two_ways", "cli/test_wait", "cli/test_watch", "cli/test_windows", "ingest/test_overtaken", "ingest/test_retention",
    "ingest/test_transactions", "ingest/test_turns", "lookup/", "reports/test_gate", "reports/test_limits", "reports/test_views",
)  # fmt: skip


def shape(text: object) -> str:
    """Return a statement without its numbers and texts, and without the length of its lists."""
    found = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    found = re.sub(r"'(?:[^']|'')*'", "''", found)
    found = re.sub(r"\b(catalog_)?\d+\b", r"\g<1>0", found)  # each test has a database of its own
    found = re.sub(r"(%s|%\(\w+\)s|\$0)(::\w+)?(, *(%s|%\(\w+\)s|\$0)(::\w+)?)+", "%s, ..", found)
    found = re.sub(r"(\(%s, \.\.\)(, *)?)+", "(%s, ..)", found)
    return re.sub(r"\s+", " ", found)


class Recorder:
    """A plugin of pytest: what each test asks a server in this process, and how long it takes."""

    def __init__(self) -> None:
        self.asked: defaultdict[str, set[str]] = defaultdict(set)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._texts: set[str] = set()
        for kind in (psycopg.Cursor, psycopg.ServerCursor, psycopg.ClientCursor):
            for name in ("execute", "executemany", "stream"):
                if name in vars(kind):
                    setattr(kind, name, self._recording(getattr(kind, name)))

    def _recording(self, execute: Callable[..., object]) -> Callable[..., object]:
        def run(cursor: object, query: object, *arguments: object, **options: object) -> object:
            self._texts.add(shape(query))
            return execute(cursor, query, *arguments, **options)

        return run

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Record one test."""
        self._texts.clear()
        began = time.monotonic()
        result = yield
        name = item.nodeid.partition("[")[0].removeprefix("tests/")
        self.asked[name] |= self._texts
        self.seconds[name] += time.monotonic() - began
        return result


def repeated(asked: dict[str, set[str]], seconds: dict[str, float]) -> list[str]:
    """Return the tests that need not run on the server, by what each asks it and the time that it takes."""
    chosen = {name for name in asked if name.startswith(ALWAYS)}
    left = set().union(*asked.values()) - set().union(*(asked[name] for name in chosen))
    while left:
        best = max(asked, key=lambda name: len(asked[name] & left) / (seconds[name] + 0.05))
        chosen.add(best)
        left -= asked[best]
    files: defaultdict[str, list[str]] = defaultdict(list)
    for name in asked:
        files[name.partition("::")[0]].append(name)
    for names in files.values():
        if not chosen.intersection(names):
            chosen.add(max(names, key=lambda name: (min(len(asked[name]), 15) / (seconds[name] + 0.3), name)))
    return sorted(set(asked) - chosen)


def main() -> int:
    """Run the tests, all that the list leaves out included, and write the list. Returns the status of pytest."""
    argparse.ArgumentParser(prog="python -m tests.repeated", description=__doc__).parse_args()
    LIST.write_text("", encoding="utf-8")
    recorder = Recorder()
    status = pytest.main(["-q", "-k", "postgresql", *(str(HERE / room) for room in ROOMS)], plugins=[recorder])
    LIST.write_text("".join(f"{name}\n" for name in repeated(recorder.asked, recorder.seconds)), encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
