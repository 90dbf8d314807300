"""In which order tests run and in which process, and which of them `make quick` runs.

Most tests wait for a daemon or a server most of their time, so there are more processes than cores. The tests of a file
over one engine stay together in one process: they share layouts, catalogs and servers. Files that take long come first, so that no
process is left with one of them at the end.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

PROCESSES_PER_CORE = 2.5
"""With two for each, a fortieth of the processors' time was idle, with these a hundredth."""

SLOWEST = (
    "watch/test_daemon.py",
    "browse/test_limits.py",
    "test_packaging.py",
    "watch/test_slow.py",
    "layout/test_index.py",
    "serve/test_limits.py",
    "browse/test_browse.py",
    "reports/test_both_engines.py",
    "watch/test_faults_ops.py",
    "browse/test_browser.py",
    "hosts/test_secrets.py",
    "watch/test_metrics.py",
    "test_docs.py",
    "cli/test_timeouts.py",
    "cli/test_db_copy.py",
    "growth/test_reports.py",
    "watch/test_contents.py",
    "reports/test_view_plans.py",
    "growth/test_fields.py",
    "growth/test_parsers.py",
    "cli/test_archives.py",
    "watch/test_odd.py",
    "hosts/test_many.py",
    "cli/test_fresh.py",
    "watch/test_held_up.py",
    "serve/test_faults.py",
    "cli/test_fresh_unknown.py",
    "cli/test_completion.py",
    "reports/test_limits.py",
    "answerer/test_streams.py",
    "db/test_processes.py",
    "stress/test_stress.py",
    "cli/test_at.py",
    "db/test_locks.py",
    "watch/test_logs.py",
    "lookup/test_search.py",
    "hosts/test_crowd.py",
    "hosts/test_wait.py",
    "hosts/test_commands.py",
    "hosts/test_shared.py",
    "hosts/test_connections.py",
)
"""The files that take longest, about longest first. One that begins last would keep a single process busy at the end.

Files that wait most of their time stand between others that compute: where five of them met, half of the processors' time was idle."""

SLOW_FIXTURES = {"browser", "catalog", "followed", "mortal", "public", "quick", "secure", "server", "site", "terminal"}
"""Fixtures that start a daemon, a server, a browser or a shell."""

SLOW_LIST = Path(__file__).parent / "slow.txt"
SLOW = frozenset(SLOW_LIST.read_text(encoding="utf-8").split())
"""Tests that take longer than SLOW_SECONDS on a busy machine with two cores: `pytest --record-slow` writes the list. A new one may have the
marker `slow`."""
SLOW_SECONDS = 0.5

QUICK_ROOMS = ("cli", "content", "db", "dockerfile", "ingest", "layout", "lookup", "names", "reports")


ONCE_ON_SERVER = ("cli", "content", "ingest", "plans", "watch")
"""Directories whose tests with many parameters run on the server with the first ones alone: the parameters change what is asked or
what lies on the disk, not the statements. `make stress` runs them with all."""

ONCE_TOO = {"test_fixtures_below_a_root", "test_the_views_follow_the_layouts", "test_they_are_those_of_the_views"}
"""Tests of other directories of which the same holds."""

EACH_ON_SERVER = {
    "test_each_report_runs_in_each_format",
    "test_every_form_asks_the_past",
    "test_forms_that_history_answers",
    "test_references",
    "test_what_is_printed_is_what_the_schema_says",
    "test_what_the_catalog_has",
}
"""Tests of these directories whose parameters lead to other statements."""


REPEATED_ON_SERVER = frozenset((Path(__file__).parent / "repeated_on_server.txt").read_text(encoding="utf-8").split())
"""Tests that ask the server nothing that another test does not ask it too: `make stress` runs them there, and `make test` on SQLite
alone. `python -m tests.repeated` writes the list."""


def repeats_on_server(items: list[pytest.Item]) -> set[pytest.Item]:
    """Return the tests on the server that may be left out: those of the list, and those that differ from an earlier one by their
    parameters alone."""
    seen: set[tuple[object, str]] = set()
    found = set()
    for item in items:
        parts = item.nodeid.split("/")
        name = getattr(item, "originalname", item.name)
        if not _engine(item.nodeid):
            continue
        if name_of(item.nodeid) in REPEATED_ON_SERVER:
            found.add(item)
            continue
        if name not in ONCE_TOO and (len(parts) < 3 or parts[1] not in ONCE_ON_SERVER or name in EACH_ON_SERVER):
            continue
        if (item.parent, name) in seen:
            found.add(item)
        seen.add((item.parent, name))
    return found


class ByFileAndEngine(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types for its schedulers
    """Hands out the tests of a file over one engine at a time, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        return f"{file} {_engine(test)}"


def name_of(nodeid: str) -> str:
    """Return what the lists of tests call one: its file below `tests` and its function, without parameters."""
    return nodeid.partition("[")[0].removeprefix("tests/")


def slow(seconds: Mapping[str, float]) -> list[str]:
    """Return the tests for SLOW_LIST, by how long each call took."""
    names = {name_of(each) for each, took in seconds.items() if took > SLOW_SECONDS and not _engine(each)}
    return sorted(name for name in names if name.startswith(QUICK_ROOMS))


def _engine(test: str) -> str:
    parameters = test.partition("[")[2].rstrip("]").split("-")
    return "postgresql" if "postgresql" in parameters else ""


def processes() -> int:
    """How many processes run tests: PYTEST_XDIST_AUTO_NUM_WORKERS, or PROCESSES_PER_CORE."""
    given = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS", "")
    return int(given) if given.isdigit() else int(PROCESSES_PER_CORE * len(os.sched_getaffinity(0)))


def sort(items: list[pytest.Item]) -> None:
    """Sort tests by file: those of SLOWEST, then those of all directories side by side, because the tests of some wait and the tests of
    others compute."""
    files: dict[str, dict[str, None]] = {}
    for item in items:
        name = item.nodeid.partition("::")[0].removeprefix("tests/")
        files.setdefault(name.rpartition("/")[0], {}).setdefault(name)
    places = {name: (len(SLOWEST), at / len(names), name) for names in files.values() for at, name in enumerate(names)}
    places |= {name: (at, 0.0, "") for at, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: places[item.nodeid.partition("::")[0].removeprefix("tests/")])


def is_quick(item: pytest.Item) -> bool:
    """Whether a test needs no daemon, no server and no browser, and takes no more than a moment."""
    parts = item.nodeid.partition("::")[0].split("/")
    fixtures: Collection[str] = getattr(item, "fixturenames", ())
    return (
        len(parts) > 2
        and parts[1] in QUICK_ROOMS
        and name_of(item.nodeid) not in SLOW
        and not SLOW_FIXTURES & set(fixtures)
        and "postgresql" not in item.nodeid
        and item.get_closest_marker("slow") is None
    )
