"""How late a good store is beside a hostile one: `python -m tests.watch.budget [--postgresql] [--seconds S] [KIND ...]`.

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
from tests.postgres import Server
from tests.watch.harness import Load, followed, wait_for
from tests.watch.hostile import KINDS, change

HOOK = 60.0


def measured(
    db: str | None, kinds: list[str], size: float, seconds: float
) -> tuple[list[float], list[float], list[str], str]:
    loads: list[Load] = []
    with tempfile.TemporaryDirectory(prefix="ocicat-budget-") as directory, followed(Path(directory), db) as catalog:
        root = catalog.add_root("root")
        good = writers.make_layout(f"{root}/good")
        catalog.start("--rescan", "30")
        seen, fresh = [], []
        told: set[str] = set()
        number = 0

        def once() -> None:
            nonlocal number
            number += 1
            digest = change(good, number)
            began = time.perf_counter()
            wait_for(lambda: catalog.ask("oci-layout://root/good:1").digest == digest, HOOK, what=catalog.log)
            seen.append(time.perf_counter() - began)
            number += 1
            digest = change(good, number)
            began = time.perf_counter()
            done = catalog.program("resolve", "--fresh", "oci-layout://root/good:1")
            fresh.append(time.perf_counter() - began if done.out.strip() == digest else 99.0)
            if done.status:
                told.add(f"fresh: {done.err[:200]}")

        try:
            once()
            seen.clear()
            fresh.clear()
            for place, kind in enumerate(kinds):
                KINDS[kind].make(f"{directory}/k{place}", size)
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
                    told.add(f"put off: {each['store']}: {each['why']}"[:150])
                if state["daemon"] != "running":
                    told.add(f"daemon {state['daemon']}")
        finally:
            for load in loads:
                load.kill()
            os.system(f"chmod -R u+rwx {root} 2>/dev/null")
        assert catalog.daemon is not None
        return seen, fresh, sorted(told), "\n".join(catalog.log()[-30:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--log", action="store_true")
    parser.add_argument("kinds", nargs="*")
    given = parser.parse_args()
    server = Server() if given.postgresql else None
    print(f"{'milliseconds':28}    daemon: median   most    --fresh: median   most")
    try:
        wanted = [k for k in KINDS if not given.kinds or any(each in k for each in given.kinds)]
        runs = [[kind] for kind in wanted] + ([wanted[1:]] if len(wanted) > 3 else [])
        for kinds in runs:
            name = kinds[0] if len(kinds) == 1 else "all of them"
            try:
                seen, fresh, told, log = measured(
                    server.new_catalog() if server else None, kinds, given.size, given.seconds
                )
            except (AssertionError, OSError) as error:
                print(f"{name:28} FAILED {str(error)[:1500]}", flush=True)
                continue
            a, b = sorted(seen), sorted(fresh)
            print(
                f"{name:28}           {1000 * a[len(a) // 2]:6.0f} {1000 * a[-1]:6.0f}            {1000 * b[len(b) // 2]:6.0f} {1000 * b[-1]:6.0f}  ({len(a)})",
                flush=True,
            )
            for each in told:
                print(f"    {each}", flush=True)
            if given.log:
                print(log)
    finally:
        if server:
            server.close()


if __name__ == "__main__":
    main()
