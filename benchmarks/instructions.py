"""`make count`: how many instructions the program executes, counted by valgrind, so that load does not matter.

Each row is a ratio to `python -c "import sqlite3"` in the same run, which no program that asks SQLite from Python can go below. The
ratios are the same on every machine with the same Python and SQLite, except for some thousandths. instructions.json has those
of the last change that was meant to alter them; more than SLACK above one of them ends with status 1. `--record` writes them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.installed import SOURCE, plain_environment
from tests import writers

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.json")
SLACK, STRANGE_SLACK = 0.03, 0.15
"""How much more than recorded is a regression: on the Python and SQLite that were recorded, and on others."""
ENTRIES = 1_000
NAME = "docker.io/library/app-0-01:1.1"

_START = f"import sys; sys.path.insert(0, {SOURCE!r}); from catalog.cli.start import main; sys.exit(main())"


def main() -> int:
    """Count all rows and compare them with what is recorded; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the ratios as those to compare with from now on")
    given = parser.parse_args()
    known: dict[str, dict[str, float]] = {}
    if os.path.exists(FILE):
        with open(FILE, encoding="utf-8") as file:
            known = json.load(file)
    kind = f"Python {sys.version_info[0]}.{sys.version_info[1]}, SQLite {sqlite3.sqlite_version}"
    with tempfile.TemporaryDirectory(prefix="ocicat-count-") as directory:
        base, counts = measure(directory)
    slack = SLACK if kind in known else STRANGE_SLACK
    recorded = known.get(kind) or next(iter(known.values()), {})
    print(f"{kind}: import sqlite3 is {base / 1e6:.1f} million instructions; at most {slack:.0%} more than recorded")
    worse = 0
    for row, count in counts.items():
        ratio = count / base
        least = recorded.get(row, ratio)
        is_worse = ratio > least * (1 + slack)
        worse += is_worse
        print(f"  {row:42} {count / 1e6:9.1f} million {ratio:8.3f} {least:8.3f}  {'WORSE' if is_worse else 'holds'}")
    if given.record:
        known[kind] = {row: round(count / base, 4) for row, count in counts.items()}
        with open(FILE, "w", encoding="utf-8") as file:
            file.write(json.dumps(known, indent=1, sort_keys=True) + "\n")
        return 0
    return 1 if worse else 0


def measure(directory: str) -> tuple[int, dict[str, int]]:
    """Return the instructions of `import sqlite3`, and those of each row, in a new catalog below `directory`."""
    writers.big_layout(f"{directory}/layout", ENTRIES)
    names = [f"docker.io/library/app-0-{each % 16:02}:1.{each}" for each in range(1, ENTRIES, 5)]
    with open(f"{directory}/names", "w", encoding="utf-8") as file:
        file.writelines(f"{name}\n" for name in names)
    environment = plain_environment(directory) | {"OCICAT_DB": f"{directory}/c.db", "PYTHONHASHSEED": "0"}
    base = counted(directory, ["-S", "-c", "import sqlite3"], environment)
    asked: dict[str, list[Any]] = {
        "add a layout of 1,000 entries": ["add", f"{directory}/layout"],
        "resolve NAME": ["resolve", NAME],
        "resolve :TAG": ["resolve", ":1.1"],
        "resolve -, 200 names": ["resolve", "-"],
        "query NAME": ["query", NAME],
        "query --count": ["query", "--count"],
        "query, 1,000 entries": ["query"],
        "query --format jsonl, 1,000 entries": ["query", "--format", "jsonl"],
        "query --annotation": ["query", "--annotation", "no.such=1"],
        "index with nothing to do": ["index"],
    }
    found = {}
    for row, arguments in asked.items():
        flags = [] if arguments[0] in ("add", "index") or len(arguments) > 2 else ["-S"]  # these use installed packages
        command = [*flags, "-c", _START, *arguments]
        found[row] = counted(directory, command, environment, warm=arguments[0] != "add")
    return base, found


def counted(directory: str, arguments: list[str], environment: dict[str, str], *, warm: bool = True) -> int:
    """Return how many instructions Python executes with these arguments; run it once before that if `warm`, to compile modules."""
    command = [sys.executable, "-P", "-s", *arguments]
    prefixes: list[list[str]] = ([[]] if warm else []) + [
        ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    ]
    for prefix in prefixes:
        with open(f"{directory}/names", "rb") as stdin:
            done = subprocess.run(
                [*prefix, *command], cwd=directory, env=environment, stdin=stdin, capture_output=True, check=False
            )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr.decode('utf-8', 'replace')}")
    told = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr.decode("utf-8", "replace"))
    if told is None:
        raise RuntimeError("valgrind told no number of instructions")
    return int(told[1].replace(",", ""))


if __name__ == "__main__":
    sys.exit(main())
