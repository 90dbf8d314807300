"""How large a catalog on PostgreSQL is, and what its lookups cost, at a size: python -m tests.stress.plans 1000000

Prints what docs/scale.md quotes. The rows are those of tests/lookup/sizes.py, read by SQLite and copied to a server of its own.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from statistics import median

import psycopg

from catalog.engine.open import open_writer
from catalog.engine.postgres.connect import conninfo
from catalog.engine.postgres.reader import PostgresReader
from tests.conftest import Catalogue
from tests.forking import CLEAN, OCICAT
from tests.lookup.sizes import build
from tests.lookup.test_plans import looked_at, planned, question, read_whole
from tests.lookup.test_steps import ASKED, FIRST
from tests.postgres import Server

_SIZES = """
SELECT relname, reltuples::bigint, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > 1000 ORDER BY pg_total_relation_size(oid) DESC
"""
_INDEXES = """
SELECT relname, pg_relation_size(oid) FROM pg_class
WHERE relkind = 'i' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC LIMIT 12
"""
_TIMES = 20


def main(size: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ocicat-plans-") as directory:
        server = Server()
        try:
            at = time.monotonic()
            catalogue = Catalogue(f"{directory}/catalog.db")
            build(catalogue, directory, size)
            catalogue.writer.checkpoint()
            print(f"read by SQLite     {time.monotonic() - at:8.1f} s   {catalogue.reader.size_bytes():>13,} bytes")
            catalogue.close()
            url = server.new_catalog()
            _copied(catalogue.path, url)
            reader = PostgresReader(url)
            print(f"on PostgreSQL                   {reader.size_bytes():>13,} bytes")
            _report(url)
            _lookups(reader)
            reader.close()
        finally:
            server.close()


def _copied(path: str, url: str) -> None:
    at, peak = time.monotonic(), 0
    with subprocess.Popen([OCICAT, "db", "copy", "--to", url], env={**CLEAN, "OCICAT_DB": path}) as process:
        while process.poll() is None:
            with contextlib.suppress(OSError), open(f"/proc/{process.pid}/status", encoding="ascii") as file:
                peak = max(peak, *(int(line.split()[1]) for line in file if line.startswith("VmHWM")), 0)
            time.sleep(0.2)
    assert process.returncode == 0
    print(f"ocicat db copy     {time.monotonic() - at:8.1f} s   {peak:>13,} KiB at most")


def _report(url: str) -> None:
    with open_writer(url) as writer:
        writer.vacuum()
    with psycopg.connect(conninfo(url)) as connection:
        print(f"\n{'table':24}{'rows':>12}{'bytes':>16}{'of indexes':>16}")
        for name, rows, table, indexes in connection.execute(_SIZES):
            print(f"{name:24}{rows:>12,}{table:>16,}{indexes:>16,}")
        print(f"\n{'index':40}{'bytes':>16}")
        for name, index in connection.execute(_INDEXES):
            print(f"{name:40}{index:>16,}")


def _lookups(reader: PostgresReader) -> None:
    print(f"\n{'statement':28}{'rows':>8}{'looked at':>12}{'ms':>9}  read whole")
    for asked in ASKED:
        plan = planned(reader, asked)
        text, values = question(reader, asked)
        times = []
        for _ in range(_TIMES):
            at = time.perf_counter()
            reader._session.ask(text, values).fetchall()
            times.append(time.perf_counter() - at)
        found = f"{asked.statement:28}{plan['Actual Rows']:>8}{looked_at(plan):>12}{median(times) * 1000:>9.2f}"
        print(f"{found}  {', '.join(read_whole(plan)) or '-'}{'  (the first of them)' if asked.read == FIRST else ''}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
