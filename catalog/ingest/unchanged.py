"""Find out whether a pass of `ocicat index` over everything would have nothing to do, with one reader and stats alone.

That is the usual result of a pass from cron. Loading SQLAlchemy, alembic and click for it takes longer than checking 10,000 stores
(docs/performance.md), so none of them is imported here. The rules are those of the pass itself (store_state.py). Nearly all stores are
plain (catalog.db.registered), so comparing a few stats is enough for them. This never predicts the result of a pass, only that a pass
would report and write nothing; in every other case the pass is run. Nothing is written here. tests/ingest/test_unchanged.py compares
this with real passes.
"""

from __future__ import annotations

import os
import stat
import time

from catalog.collector import CollectorPaused
from catalog.engine.locks import WRITER, is_held
from catalog.engine.open import open_reader
from catalog.errors import OcicatError
from catalog.exhausted import refuse_exhausted
from catalog.ingest.store_state import (
    ROOT_ARCHIVES,
    Standing,
    Summary,
    differs,
    has_problem,
    has_unread_content,
    is_retention_due,
    keyed_by,
    standing,
    unknown_layouts,
)
from catalog.layout.beneath import Found, Parents, opened_path
from catalog.layout.blobs_identity import blobs_identity
from catalog.layout.discover import holds_blobs_alone
from catalog.layout.files import IndexProblem, identity_of, stat_index
from catalog.names.paths import decode_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Reader


def nothing_to_do(path: str) -> Summary | None:
    """Return the summary of a pass over the catalog at `path` if it would do nothing, or None if it has to be run.

    Never raises OcicatError or OSError: the pass finds the same problem and reports it.
    """
    with CollectorPaused():
        try:
            if not _is_at_rest(path):
                return None
            reader = open_reader(path)
            try:
                return _look(reader)
            finally:
                reader.close()
        except (OcicatError, OSError):
            return None


def _is_at_rest(path: str) -> bool:
    """Return whether a writer could start at once: there is no lock to wait for, no permission is missing, and the WAL is empty.

    Returns False, or raises OSError, for the URL of a catalog on a server.
    """
    if not os.access(path, os.W_OK) or os.stat(f"{path}-wal").st_size:
        return False
    lock = path + WRITER
    return os.access(lock, os.W_OK) and not os.path.islink(lock) and not is_held(lock)


def _look(reader: Reader) -> Summary | None:
    reader.hold_state()
    hosts = [row[0] for row in reader.rows("HOSTS", {})]
    if len(hosts) != 1 or is_retention_due((reader.row("PRUNED", {}) or (None,))[0], time.time_ns() // 1_000_000):
        return None
    if reader.row("DROPPED_INDEXES", {}) is not None:
        return None  # A first pass was killed.
    host = {"host": hosts[0]}
    plain = list(reader.rows("PLAIN_STANDINGS", host))
    namings = list(reader.rows("NAMINGS", host))
    stores = [standing(*row) for row in reader.rows("STANDINGS", host)]
    left_out = [row[0] for row in reader.rows("LEFT_OUT", {})]
    roots = {decode_path(row[0], row[1]): bool(row[ROOT_ARCHIVES]) for row in reader.rows("ROOTS", {})}
    reader.release_state()
    if any(key != keyed_by(naming, None, prefix) for naming, prefix, key in namings):
        return None
    leaves: set[str] = set()
    with Parents() as parents:
        for path, root, by_name, index, blobs in plain:
            opened = opened_path(path, root, follow=by_name)
            at = parents.find(opened)
            if at is None or index != _index_identity(at) or (blobs or "") != blobs_identity(opened, None, at):
                return None
            if holds_blobs_alone(at, blobs=bool(blobs)):  # If the blobs have an identity, there is a directory `blobs`.
                leaves.add(path)
        for store in stores:
            if store.state == "missing":
                return None  # It may be time to drop its rows.
            at = parents.find(store.opened)
            if not _is_as_known(store, at):
                return None
            if at is not None and holds_blobs_alone(at):
                leaves.add(store.path)
    known = {store.path for store in stores}.union(left_out, (row[0] for row in plain))
    errors: list[str] = []
    for _ in unknown_layouts(roots, known, lambda where, _error: errors.append(where), leaves=leaves):
        return None
    return None if errors else Summary(len(plain) + len(stores), found=0, changed=0, unsettled=0)


def _index_identity(at: Found) -> str | None:
    """Return the `FileState.identity` of the directory's `index.json`, or None if there is no such regular file."""
    try:
        found = at.look("index.json")
    except OSError as error:
        refuse_exhausted(error)
        return None
    return identity_of(found) if stat.S_ISREG(found.st_mode) else None


def _is_as_known(store: Standing, at: Found | None) -> bool:
    try:
        if differs(store, stat_index(store.opened, at)):
            return False
    except IndexProblem as problem:
        if not has_problem(store, problem):
            return False
    return not has_unread_content(store, look=True, at=at)
