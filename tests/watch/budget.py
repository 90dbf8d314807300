"""How late a good store is beside a hostile one: `python -m tests.watch.budget [--postgresql] [--seconds S] [--together] [KIND ...]`.

For each kind, and for all of them together: milliseconds from a change until the daemon's catalog says it, and until
`ocicat resolve --fresh` has ended.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from tests import writers
from tests.forking import OCICAT
from tests.postgres import Server
from tests.watch.harness import Load, followed, wait_for
from tests.watch.hostile import KINDS, change

LONGEST = 60.0
"""Seconds after which a change that did not arrive counts as lost."""


def percentile(values: list[float], share: float) -> float:
    """Return the milliseconds that `share` of these times in seconds do not exceed."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measured(
    db: str | None, kinds: list[str], size: float, seconds: float, program: list[str]
) -> tuple[list[float], list[float], list[str], str]:
    loads: list[Load] = []
    with tempfile.TemporaryDirectory(prefix="ocicat-budget-") as directory, followed(Path(directory), db) as catalog:
        root = catalog.add_root("root")
        good = writers.make_layout(f"{root}/good")
        catalog.start("--rescan", "30", program=program)
        seen: list[float] = []
        fresh: list[float] = []
        late: list[str] = []  # with the time at which it ended
        told: set[str] = set()
        number = 0

        def once() -> None:
            nonlocal number
            number += 1
            digest = change(good, number)
            began = time.perf_counter()
            wait_for(lambda: catalog.ask("oci-layout://root/good:1").digest == digest, LONGEST, what=catalog.log)
            seen.append(time.perf_counter() - began)
            if seen[-1] > 1:
                late.append(f"{time.time():.3f} daemon {seen[-1]:.3f}")
            number += 1
            digest = change(good, number)
            began = time.perf_counter()
            done = catalog.program("resolve", "--fresh", "oci-layout://root/good:1")
            fresh.append(time.perf_counter() - began if done.out.strip() == digest else 99.0)
            if fresh[-1] > 2:
                late.append(f"{time.time():.3f} fresh {fresh[-1]:.3f}")
            if done.status:
                told.add(f"fresh: {done.err[:200]}")

        try:
            once()
            for each in (seen, fresh, late):
                each.clear()
            for place, kind in enumerate(kinds):
                KINDS[kind].make(f"{directory}/k{place}", size)
            for place, kind in enumerate(kinds):
                os.rename(f"{directory}/k{place}", f"{root}/k{place}")
                if KINDS[kind].load:
                    load = Load(KINDS[kind].load, f"{root}/k{place}", str(size))
                    loads.append(load)
                    load.out.readline()
            until = time.monotonic() + seconds
            while time.monotonic() < until or len(seen) < 3:
                once()
                state = catalog.state()
                for each in state["daemon_put_off"] or []:
                    told.add(f"put off: {each['store']}: {each['why'].partition(': its turn')[0]}"[:150])
                if state["daemon"] != "running":
                    told.add(f"daemon {state['daemon']}")
        finally:
            for load in loads:
                load.kill()
            os.system(f"chmod -R u+rwx {root} 2>/dev/null")
        assert catalog.daemon is not None
        return seen, fresh, [*sorted(told), *late], "\n".join(catalog.log()[-30:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--log", action="store_true", help="print the end of the daemon's log")
    parser.add_argument("--together", action="store_true", help="only all of the kinds at once")
    parser.add_argument(
        "--program", default=OCICAT, help="a command that stands for `ocicat` where the daemon is started"
    )
    parser.add_argument("kinds", nargs="*")
    given = parser.parse_args()
    server = Server() if given.postgresql else None
    print(f"{'milliseconds':28}    daemon: median 9/10   most    --fresh: median 9/10   most  (count)")
    try:
        wanted = [k for k in KINDS if not given.kinds or any(each in k for each in given.kinds)]
        runs = [] if given.together else [[kind] for kind in wanted]
        if given.together or len(wanted) > 3:
            runs.append([kind for kind in wanted if kind != "none"])
        for kinds in runs:
            name = kinds[0] if len(kinds) == 1 else "all of them"
            try:
                seen, fresh, told, log = measured(
                    server.new_catalog() if server else None, kinds, given.size, given.seconds, given.program.split()
                )
            except (AssertionError, OSError) as error:
                print(f"{name:28} FAILED {str(error)[:1500]}", flush=True)
                continue
            line = "".join(
                f"           {percentile(each, 0.5):6.0f} {percentile(each, 0.9):6.0f} {1000 * max(each):6.0f}"
                for each in (seen, fresh)
            )
            print(f"{name:28}{line}  ({len(seen)})", flush=True)
            for each in told:
                print(f"    {each}", flush=True)
            if given.log:
                print(log)
    finally:
        if server:
            server.close()


if __name__ == "__main__":
    main()
