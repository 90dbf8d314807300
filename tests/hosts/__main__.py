"""`python -m tests.hosts`: eight hosts write 1,000 changes each, without a pooler and behind one; then 300 light hosts share 24 sessions.
Meanwhile the server ends as in a crash, a second one takes over, and a backup is restored. It prints what was measured, and exits with status 0 if everything held.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.hosts import crowd
from tests.hosts.crowd import Crowd
from tests.hosts.fleet import FULL, Fleet


def main() -> int:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="ocicat-hosts-") as directory:
            for pooled in (False, True):
                say("behind a pooler" if pooled else "without a pooler")
                Fleet(Path(directory, "pooled" if pooled else "direct"), FULL, say, pooled=pooled).run()
            Crowd(Path(directory), crowd.FULL, say).run()
    except AssertionError as error:
        say(f"WRONG: {error}")
        return 1
    say("all of it holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
