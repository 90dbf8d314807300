"""`make stress`: everything at its full size, which takes some fifteen minutes and is bounded by itself.

What was measured is printed; the exit status is 1, with what was wrong, where anything that has to hold does not.
"""

from __future__ import annotations

import platform
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from tests.stress import overtime, run, scale


def main() -> int:
    began = time.monotonic()
    system = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, Linux {platform.release()}"

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    say(system)
    try:
        with tempfile.TemporaryDirectory(prefix="ocicat-stress-") as directory:
            say("--- under load")
            run.Stress(Path(directory), run.FULL, say).run()
        with tempfile.TemporaryDirectory(prefix="ocicat-stress-") as directory:
            say("--- at scale")
            scale.Scale(Path(directory), scale.FULL, say).run()
        say("--- over time")
        overtime.run_all(say)
    except AssertionError as error:
        say(f"WRONG: {error}")
        return 1
    say("all of it holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
