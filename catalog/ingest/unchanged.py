"""Whether a pass of `ocicat index` over everything would find nothing to do: told by sqlite3 and stats alone.

That is the usual case of a pass from cron, and loading SQLAlchemy, alembic and click for it took longer than looking at
10,000 stores does (docs/performance.md). The rules are those of the pass itself (catalog.ingest.store_state). Whatever is not as it
was, or cannot be told here, is left to the pass: its answer is never anticipated, only that it would have nothing to say and
nothing to write. Nothing is written here. tests/ingest/test_unchanged.py holds both to each other.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import time

from catalog.engine.locks import WRITER, is_held
from catalog.engine.sqlite.reader import SqliteReader
from catalog.errors import OcicatError
from catalog.ingest.store_state import (
    Standing,
    Summary,
    differs,
    has_problem,
    has_unread_content,
    is_retention_due,
    standing,
    unknown_layouts,
)
from catalog.layout.beneath import Found, Parents
from catalog.layout.discover import holds_blobs_alone
from catalog.layout.files import IndexProblem, stat_index
from catalog.names.paths import decode_path


def nothing_to_do(path: str) -> Summary | None:
    """What a pass over the catalog at `path` would sum up to, where it would do nothing; None where one has to be made.

    Never raises OcicatError, sqlite3.Error or OSError: what is wrong is found by the pass, and said there.
    """
    collects = gc.isenabled()
    gc.disable()  # some ten thousand rows, none of them in a cycle
    try:
        if not _is_at_rest(path):
            return None
        reader = SqliteReader(path)
        try:
            return _look(reader)
        finally:
            reader.close()
    except (OcicatError, sqlite3.Error, OSError):
        return None
    finally:
        if collects:
            gc.enable()


def _is_at_rest(path: str) -> bool:
    """Whether a writer would find nothing to do but what it was called for: no lock to wait for, no right that it lacks, and
    no WAL to be copied into the file.
    """
    if not os.access(path, os.W_OK) or os.stat(f"{path}-wal").st_size:
        return False
    lock = path + WRITER
    return os.access(lock, os.W_OK) and not os.path.islink(lock) and not is_held(lock)


def _look(reader: SqliteReader) -> Summary | None:
    reader.connection.execute("BEGIN")  # one state of the catalog, whoever writes meanwhile
    hosts = [row[0] for row in reader.rows("HOSTS", {})]
    if len(hosts) != 1 or is_retention_due((reader.row("PRUNED", {}) or (None,))[0], time.time_ns() // 1_000_000):
        return None
    stores = [standing(*row) for row in reader.rows("STANDINGS", {"host": hosts[0]})]
    known = {row[0] for row in reader.rows("LEFT_OUT", {})}.union(store.path for store in stores)
    roots = [decode_path(path, path_bytes) for path, path_bytes, *_ in reader.rows("ROOTS", {})]
    reader.connection.execute("COMMIT")
    leaves: set[str] = set()
    with Parents() as parents:
        for store in stores:
            if store.state == "missing":
                return None  # one that is missing may be due to lose its rows
            at = parents.find(store.opened)
            if not _is_as_known(store, at):
                return None
            # An identity that is as it was was just compared: there is such a directory.
            blobs = store.keyed_by is not None and bool(store.blobs_identity)
            if at is not None and holds_blobs_alone(at, blobs=blobs):
                leaves.add(store.path)
    errors: list[str] = []
    for _ in unknown_layouts(roots, known, lambda where, _error: errors.append(where), is_leaf=leaves.__contains__):
        return None
    return None if errors else Summary(len(stores), found=0, changed=0, unsettled=0)


def _is_as_known(store: Standing, at: Found | None) -> bool:
    try:
        if differs(store, stat_index(store.opened, at)):
            return False
    except IndexProblem as problem:
        if not has_problem(store, problem):
            return False
    return not has_unread_content(store, look=True, at=at)
