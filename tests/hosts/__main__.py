"""`python -m tests.hosts`: eight hosts write 1,000 changes each. It prints what was measured, and exits with status 0 if
everything held.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.hosts.fleet import FULL, Fleet


def main() -> int:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="ocicat-hosts-") as directory:
            Fleet(Path(directory), FULL, say).run()
    except AssertionError as error:
        say(f"WRONG: {error}")
        return 1
    say("all of it holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
