"""How long it takes from a write until `resolve` sees it: `python -m tests.watch.latency [writes] [settle_ms]`.

Prints p50, p99 and the longest, with a daemon beside one and beside a thousand stores, and by `--fresh` without one. Measured,
not asserted: other work on the machine is in it.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from catalog.cli.config import load_settings
from catalog.ingest.fresh import make_fresh
from catalog.names.query import parse_query
from tests.watch.harness import Followed, followed
from tests.writers import WRITE_STYLES, dump, empty_index, fake_descriptor, make_layout, name_entry

POLL_SECONDS = 0.001


def write(catalog: Followed, store: int, number: int) -> tuple[str, str]:
    """Let the tag of a store be another image, in one of the styles; a reference and its digest."""
    entry = name_entry(fake_descriptor(f"{number:06}"), "tag", "", "t")
    style = sorted(WRITE_STYLES)[number % len(WRITE_STYLES)]
    WRITE_STYLES[style](catalog.path(f"root/{store}"), dump(empty_index(entry)))
    return f"oci-layout://root/{store}:t", entry["digest"]


def measured(stores: int, writes: int, settle_ms: int, *, daemon: bool) -> list[float]:
    """Seconds from the end of each write until it is answered."""
    found = []
    with tempfile.TemporaryDirectory() as directory, followed(Path(directory), settle_ms=settle_ms) as catalog:
        for store in range(stores):
            make_layout(catalog.path(f"root/{store}"))
        catalog.add_root("root")
        if daemon:
            catalog.start("--rescan", "30")
        settings = load_settings(catalog.config)
        for number in range(writes):
            ref, digest = write(catalog, random.randrange(stores), number)
            began = time.perf_counter()
            if not daemon:
                make_fresh(catalog.reader, [parse_query(ref)], None, settings, 60)
            while catalog.ask(ref).digest != digest:
                time.sleep(POLL_SECONDS)
            found.append(time.perf_counter() - began)
    return sorted(found)


def main() -> None:
    """Measure and print."""
    writes, settle_ms = (int(word) for word in (sys.argv[1:] + ["100", "250"][len(sys.argv) - 1 :]))
    print(f"{writes} writes in all styles, settling time {settle_ms} ms; milliseconds from write to visible")
    for stores, daemon, name in (
        (1, True, "daemon, 1 store"),
        (1000, True, "daemon, 1,000 stores"),
        (1, False, "--fresh"),
    ):
        found = measured(stores, writes, settle_ms, daemon=daemon)
        shown = (1000 * found[int(len(found) * share)] for share in (0.5, 0.99))
        p50, p99 = shown
        print(f"{name:22} p50 {p50:6.0f}  p99 {p99:6.0f}  max {1000 * found[-1]:6.0f}")


if __name__ == "__main__":
    main()
