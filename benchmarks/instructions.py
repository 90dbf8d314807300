"""`make count`, the quick tier of `make bench`: count the instructions of the program with valgrind, so that load does not matter.

Each row is a ratio to `python -c "import sqlite3"`, counted in the same run. instructions.json has the ratios after the last change
that was meant to alter them. If a ratio is more than SLACK above its record, the exit status is 1. `--record` writes the file.

The ratios are the same on every machine with the same build of Python and the same SQLite (valgrind hides the instructions of a
processor beyond a common set). On any other build, the last commit that wrote the file is counted in the same run, for comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sqlite3
import subprocess
import sys
import tempfile
import venv

from benchmarks.installed import SOURCE, plain_environment
from benchmarks.report import Report
from tests import writers

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.json")
SLACK = 0.03
"""The fraction by which a ratio may exceed its record before it counts as a regression."""
ENTRIES = 1_000
NAME = "docker.io/library/app-0-01:1.1"
BUILD = f"{platform.machine()}, Python {platform.python_version()} ({platform.python_compiler()}), SQLite {sqlite3.sqlite_version}"

_WITH_PACKAGES = ("add", "index", "--annotation")
"""Commands that need installed packages. The other commands run in a venv without packages, as `import sqlite3` does, so that
packages beside ocicat do not count."""


def main() -> int:
    """Count all rows and compare them with the recorded ratios; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--record", action="store_true", help="record the ratios, for comparison from now on")
    given = parser.parse_args()
    if given.record:
        with tempfile.TemporaryDirectory(prefix="ocicat-count-") as directory:
            ratios = measure(SOURCE, directory)
        with open(FILE, "w", encoding="utf-8") as file:
            file.write(json.dumps({BUILD: ratios}, indent=1) + "\n")
        return 0
    report = Report()
    instructions(report)
    for each in report.broken:
        print(f"more than recorded: {each}", file=sys.stderr)
    return 1 if report.broken else 0


def instructions(report: Report) -> None:
    """Count all rows, and report for each whether it is within SLACK of its record."""
    report.title(f"Instructions, in multiples of python -c 'import sqlite3' ({BUILD})")
    with tempfile.TemporaryDirectory(prefix="ocicat-count-") as directory:
        known = recorded(report, directory)
        for row, ratio in measure(SOURCE, directory).items():
            least = known.get(row, ratio)
            report.holds(row, ratio, round(least * (1 + SLACK), 3), f"recorded {least:.3f}")


def recorded(report: Report, directory: str) -> dict[str, float]:
    """Return the ratios recorded for this build or, if there are none, those of the commit that last wrote the file, counted now.

    Raises RuntimeError if they have to be counted and there is no Git history.
    """
    with open(FILE, encoding="utf-8") as file:
        of_builds: dict[str, dict[str, float]] = json.load(file)
    if BUILD in of_builds:
        return of_builds[BUILD]
    git = ["git", "-C", SOURCE]
    asked = subprocess.run([*git, "log", "-1", "--format=%H", "--", FILE], capture_output=True, text=True, check=False)
    commit = asked.stdout.strip()
    if not commit:
        raise RuntimeError(
            f"nothing is recorded for {BUILD}, and there is no Git history with an older commit to count"
        )
    report.note(f"nothing is recorded for this build: compared with commit {commit[:7]}, counted now")
    older = f"{directory}/older"
    os.mkdir(older)
    archive = subprocess.run(
        [*git, "archive", commit, "catalog", "migrations", "contrib/launcher/ocicat"], capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", older], input=archive, check=True)
    return measure(older, directory)


def measure(source: str, directory: str) -> dict[str, float]:
    """Return the ratio of each row to `import sqlite3`, for the program in `source`, with a new catalog below `directory`."""
    with tempfile.TemporaryDirectory(dir=directory) as home:
        writers.big_layout(f"{home}/layout", ENTRIES)
        with open(f"{home}/names", "w", encoding="utf-8") as file:
            file.writelines(f"docker.io/library/app-0-{each % 16:02}:1.{each}\n" for each in range(1, ENTRIES, 5))
        venv.create(f"{home}/venv")
        bare = [f"{home}/venv/bin/python", "-P", "-s", "-c"]
        base = counted(home, [*bare, "import sqlite3"])
        rows = {
            "add a layout of 1,000 entries": ["add", f"{home}/layout"],
            "resolve NAME": ["resolve", NAME],
            "resolve :TAG": ["resolve", ":1.1"],
            "resolve -, 200 names": ["resolve", "-"],
            "query NAME": ["query", NAME],
            "query :TAG": ["query", ":1.1"],
            "query DIGEST": ["query", writers.fake_descriptor("0-1")["digest"]],
            "query DIGEST, 12 digits of it": ["query", writers.fake_descriptor("0-1")["digest"][:19]],
            "query --count": ["query", "--count"],
            "query, 1,000 entries": ["query"],
            "query --format jsonl, 1,000 entries": ["query", "--format", "jsonl"],
            "query --annotation": ["query", "--annotation", "no.such=1"],
            "index with nothing to do": ["index"],
        }
        with open(f"{source}/contrib/launcher/ocicat", encoding="utf-8") as file:
            program = f"import sys; sys.path.insert(0, {source!r})\n{file.read()}"
        found = {}
        for row, words in rows.items():
            python = [sys.executable, "-P", "-s", "-c"] if set(words) & set(_WITH_PACKAGES) else bare
            warm = "warm.db" if row.startswith("add") else "c.db"
            found[row] = round(counted(home, [*python, program, *words], warm=warm) / base, 4)
        return found


def counted(home: str, command: list[str], *, warm: str = "c.db") -> int:
    """Return how many instructions a command executes on the catalog c.db in `home`.

    The command first runs once on the catalog `warm`, so that all modules are compiled. Raises RuntimeError if the command fails.
    """
    environment = plain_environment(home) | {"PYTHONHASHSEED": "0"}
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    for prefix, db in (([], warm), (valgrind, "c.db")):
        with open(f"{home}/names", "rb") as stdin:
            done = subprocess.run(
                [*prefix, *command],
                cwd=home,
                env=environment | {"OCICAT_DB": f"{home}/{db}"},
                stdin=stdin,
                capture_output=True,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr.decode('utf-8', 'replace')}")
    told = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr.decode("utf-8", "replace"))
    if told is None:
        raise RuntimeError("valgrind reported no number of instructions")
    return int(told[1].replace(",", ""))


if __name__ == "__main__":
    sys.exit(main())
