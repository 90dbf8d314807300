"""DB: run the names stage over every store in DB, in this process. Prints the seconds from the first check of a store until the
catalog is closed, and the peak memory in MiB.
"""

from __future__ import annotations

import sys
import time

from catalog.engine.sqlite.writer import SqliteWriter
from catalog.ingest.intake import BULK_ENTRIES, Intake
from catalog.ingest.registry import Registry
from catalog.ingest.settings import Settings


def main(db: str) -> None:
    writer = SqliteWriter(db)
    began = time.perf_counter()
    with writer.snapshot() as connection:
        stores = Registry(connection).stores()
    intake = Intake(writer, Settings(), lambda line: sys.exit(str(line)), bulk_from=BULK_ENTRIES)
    for store in stores:
        intake.offer(store)
    intake.look_again()  # A large store gets its turn after the others.
    if intake.waiting or intake.done != len(stores):
        sys.exit("a store has not settled")
    writer.end_bulk()
    writer.close()
    print(time.perf_counter() - began, peak())


def peak() -> float:
    """Return the peak memory of this process in MiB."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1])
