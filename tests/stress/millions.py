"""What a catalog costs at millions of names: python -m tests.stress.millions 10 DIRECTORY [URL]

Makes layouts of a thousand entries each, a million names at a time, indexes each million as `ocicat add` does, and prints what
docs/scale.md quotes: how long each million takes, the size of tables and indexes, the cost of lookups and of reports. The catalog is
a file in DIRECTORY, or on the server at URL, where `ocicat db upgrade` has made it. What is in DIRECTORY is kept, so a run goes on where the last one ended.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg

from catalog.engine.open import is_url, open_reader
from catalog.engine.postgres.connect import conninfo
from catalog.engine.sqlite.reader import SqliteReader
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
from catalog.reports.reports import REPORTS
from tests import writers
from tests.conftest import file_of
from tests.forking import CLEAN, OCICAT
from tests.growth.test_walks import steps

ENTRIES = 1_000
STORES = 1_250
"""How many stores have a million names: of five entries one has none."""
_MOST_SECONDS = 900.0
"""How long a report may take."""
_SIZES = """
SELECT relname, reltuples::bigint, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > 1000 ORDER BY pg_total_relation_size(oid) DESC
"""


def main(millions: int, directory: str, url: str | None) -> None:
    db = url or f"{directory}/catalog.db"
    for million in range(millions):
        root = _layouts(directory, million)
        done = f"{root}.on-server" if url else f"{root}.indexed"
        if not os.path.exists(done):
            before = _size(db)
            with _told(f"million {million + 1}"):
                _run(db, "add", root, "--name", f"m{million}")
            open(done, "w", encoding="ascii").close()
            print(f"  {_size(db) - before:,} bytes more", flush=True)
    if url:
        with _told("db vacuum"):
            _run(db, "db", "vacuum")
        _server_tables(url)
    else:
        _file_tables(db)
    print(f"{_size(db):,} bytes", flush=True)
    _lookups(db, millions)
    _reports(db)


def _file_tables(path: str) -> None:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        for table in ("store", "entry", "name", "name_span"):
            ((rows,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
            print(f"{table:30}{rows:>12,}")
        parts = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 14"
        for name, size in connection.execute(parts):
            print(f"{name:30}{size:>16,}")


def _server_tables(url: str) -> None:
    with psycopg.connect(conninfo(url)) as session:
        for name, rows, table, indexes in session.execute(_SIZES):
            print(f"{name:24}{rows:>12,}{table:>16,}{indexes:>16,}")


def _layouts(directory: str, million: int) -> str:
    root = f"{directory}/m{million}"
    if not os.path.exists(root):
        for number in range(STORES):
            store = writers.make_layout(f"{root}.new/{number:04}")
            entries = writers.big_entries(ENTRIES, seed=million * STORES + number)
            writers.write_index(store, writers.empty_index(*entries))
        os.rename(f"{root}.new", root)
    return root


def _run(db: str, *arguments: str) -> None:
    subprocess.run(
        [OCICAT, "--quiet", *arguments], env={**CLEAN, "OCICAT_DB": db}, check=True, stdout=subprocess.DEVNULL
    )


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Print what the processes that end meanwhile took: seconds of their processor time, and of the clock."""
    at, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print(f"{what:30}{seconds:>8.1f} s of processor time, {time.monotonic() - at:.1f} by the clock", flush=True)


def _size(db: str) -> int:
    """Return the bytes of the catalog; 0 before there is one."""
    if not is_url(db):
        return sum(os.path.getsize(f"{db}{end}") for end in ("", "-wal") if os.path.exists(db + end))
    with psycopg.connect(conninfo(db)) as session:
        ((size,),) = session.execute("SELECT pg_database_size(current_database())").fetchall()
    return int(size)


def _lookups(db: str, millions: int) -> None:
    """Print the steps of SQLite, or milliseconds from a server, that a question about the newest million takes."""
    seed = (millions - 1) * STORES
    name = f"docker.io/library/app-{seed}-07:1.7"
    digest = writers.fake_descriptor(f"{seed}-3")["digest"]
    reader = open_reader(db)
    for text in (name, f"{name.rpartition(':')[0]}:*", ":1.7", f"@{digest}", f"@{digest[:19]}"):
        found = 0

        def do(text: str = text) -> None:
            nonlocal found
            found = sum(1 for _ in Asking(reader, lambda _: None).matches(parse_query(text)))

        do()
        at = time.process_time() if isinstance(reader, SqliteReader) else time.monotonic()
        do()
        took = (time.process_time() if isinstance(reader, SqliteReader) else time.monotonic()) - at
        counted = f"{steps([file_of(reader)], do):>12,} steps" if isinstance(reader, SqliteReader) else ""
        print(f"{text[:50]:52}{found:>8,} matches {1000 * took:>10.2f} ms{counted}", flush=True)
    reader.close()


def _reports(db: str) -> None:
    """Print how long each report takes; its statement runs in a process that is not a child of the command."""
    for report in REPORTS:
        at = time.monotonic()
        try:
            _run(db, "report", report.name, "--totals", "--timeout", f"{_MOST_SECONDS:.0f}")
        except subprocess.CalledProcessError as error:
            print(f"{report.name}: status {error.returncode}")
        print(f"report {report.name:20}{time.monotonic() - at:>8.1f} s by the clock", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
