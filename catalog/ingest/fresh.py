"""`--fresh`: bring the catalog up to date before a query is answered (docs/scripts.md).

First the places of the configuration are registered, as by `ocicat index`. Then the `index.json` of each store that the query is
about is checked with a stat and compared with the catalog. If content matters, so are the directories of its blobs. If a daemon
runs, it has seen the change too, so this module waits until the daemon has written it. Otherwise, or if the daemon takes too long,
this module reads the change and writes it under the writer's lock. A file that has not settled is never read. The time limit is never
exceeded.
"""

from __future__ import annotations

import _thread
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from catalog.engine.interface import Reader
from catalog.engine.locks import DAEMON, is_held
from catalog.engine.open import beside
from catalog.errors import CatalogLocked, CatalogUnavailable, NotInTime
from catalog.ingest.completed import completed_of
from catalog.ingest.concerned import concerned, known_paths, new_layouts
from catalog.ingest.settings import Place, Settings
from catalog.ingest.store_state import (
    ROOT_ARCHIVES,
    Standing,
    differs,
    has_archives,
    has_problem,
    has_unread_content,
    keys_are_old,
    standing,
)
from catalog.ingest.unregistered import unregistered
from catalog.layout.beneath import opened_below
from catalog.layout.blobs_identity import blobs_identity
from catalog.layout.discover import is_layout
from catalog.layout.files import IndexChanged, IndexProblem, stat_index
from catalog.names.age import in_seconds
from catalog.names.escape import shown
from catalog.names.paths import decode_path, encode_path
from catalog.names.query import Query

FRESH_SECONDS = 5.0
_POLL_SECONDS = 0.02
_CONTENT_SECONDS = 0.25  # the time for manifests that the query does not need
_PATIENCE_SECONDS = 1.0
"""The time after the settling time to wait for a daemon before the change is read here anyway. The daemon may check only now and
then (`--poll`, directories that cannot be watched), or hang."""


class _Named(NamedTuple):
    """The id and name of a store."""

    id: int
    name: str


def make_fresh(
    reader: Reader,
    queries: Iterable[Query],
    stores: Sequence[str] | None,
    settings: Settings,
    seconds: float = FRESH_SECONDS,
    *,
    content: bool = False,
    whole: bool = False,
    places: Sequence[Place] = (),
) -> None:
    """Wait until the catalog is up to date with the layouts that `queries` are about, but at most for `seconds`.

    `stores` are names, paths and globs as for `--store`. If there are any, the queries are about these stores, and about layouts
    that would get such a name when they are registered. With `content`, or if a query has a digest, which may be below an entry,
    also wait until their manifests are read. With `whole`, also check again layers that were incomplete. `places` are the places in
    the configuration.

    With 0 seconds, only check. Raises NotInTime when the time is over, CatalogUnavailable, and UsageError for places that cannot
    be registered.
    """
    began = time.monotonic()
    patient_until = began + settings.settle_ms / 1000 + _PATIENCE_SECONDS
    queries = list(queries)
    content = content or any(query.digest is not None for query in queries)
    if seconds > 0 and (due := unregistered(reader, places)):
        _register(reader, due, seconds)
    wanted = concerned(reader, queries, stores or ())
    new: list[str] = []
    if wanted.searches:
        # The order matters: a layout that a daemon registers in between is either found as new, or is in `wanted` and behind.
        known = known_paths(reader)
        wanted = concerned(reader, queries, stores or ())
        new = new_layouts(reader, wanted.searches, known)
    behind = _behind(reader, wanted.ids, content=content)
    unnoticed = _unnoticed(reader, wanted.ids, content=content) if seconds > 0 else []
    completed = _completed(reader, wanted.ids, began + seconds, seconds, whole=whole) if seconds > 0 and content else []
    unnoticed += [each for each in completed if each not in unnoticed]
    may_write = True
    loading: _Loading | None = None
    while behind or new or unnoticed:
        left = began + seconds - time.monotonic()
        if left <= 0:
            raise _late(behind or unnoticed, new, seconds)
        has_daemon = is_held(beside(reader.path) + DAEMON)
        is_due = unnoticed or not has_daemon or time.monotonic() >= patient_until
        if may_write and is_due and has_daemon and loading is None:
            loading = _Loading()
        if may_write and is_due and (loading is None or loading.is_done):
            try:
                _take(reader, [*behind, *unnoticed], new, left, settings, seconds, content=content, completed=completed)
            except CatalogUnavailable as error:
                needed = behind or new or completed or _unnoticed(reader, wanted.ids, content=content, sure=True)
                if isinstance(error, NotInTime) or (needed and not has_daemon):
                    raise
                may_write = False  # Only the daemon may write the catalog.
            unnoticed = []
        else:
            time.sleep(min(_POLL_SECONDS, left))
        # It is enough that each store was up to date once since the query began, however much is written meanwhile.
        by_path = {row[2]: row[0] for row in reader.rows("STORE_FILES", {})} if new else {}
        ids = {each.id for each in behind} | {by_path[path] for path in map(_stored, new) if path in by_path}
        new = [path for path in new if _stored(path) not in by_path and _is_layout(reader, path)]
        behind = _behind(reader, frozenset(ids), content=content) if ids else []


class _Loading:
    """Loads the modules for writing in a thread, which takes seconds if the processors are busy. The daemon may be done before that."""

    def __init__(self) -> None:
        self.is_done = False
        try:
            _thread.start_new_thread(self._load, ())
        except RuntimeError:  # no thread can be started, so the modules are loaded when they are needed
            self.is_done = True

    def _load(self) -> None:
        try:
            import catalog.ingest.sweep  # noqa: F401
        except Exception:  # noqa: BLE001 - such as no memory: the import fails again when writing begins, and is reported then
            return
        finally:
            self.is_done = True


def _standings(reader: Reader, concerned: frozenset[int] | None) -> Iterable[tuple[_Named, Standing]]:
    """Return the standing in the catalog of each of these stores, or of all stores if `concerned` is None."""
    rows = list(reader.rows("STORE_FILES", {}))
    return ((_Named(row[0], row[1]), standing(*row[2:])) for row in rows if concerned is None or row[0] in concerned)


def _behind(reader: Reader, concerned: frozenset[int] | None, *, content: bool) -> list[_Named]:
    """Return the stores that are out of date in the catalog. With `content`, also return stores with unread manifests."""
    return [
        named
        for named, store in _standings(reader, concerned)
        if (content and has_unread_content(store, look=False)) or not _is_current(store)
    ]


def _unnoticed(reader: Reader, concerned: frozenset[int] | None, *, content: bool, sure: bool = False) -> list[_Named]:
    """Return the stores with changes that a daemon may not notice soon.

    Their naming rules changed or, with `content`, blobs were added or removed since they were listed. Call this only once, because
    blobs may be added all the time. With `sure`, leave out stores whose blobs were so new when they were listed that more may
    have been added within the same tick of the clock.
    """
    return [
        named
        for named, store in _standings(reader, concerned)
        if keys_are_old(store)
        or (content and has_unread_content(store, look=True) and not (sure and _is_only_racy(store)))
    ]


def _completed(
    reader: Reader, concerned: frozenset[int] | None, until: float, seconds: float, *, whole: bool
) -> list[_Named]:
    """Return the stores in which a bad blob has changed in place, which does not change a directory.

    Raises NotInTime if not all blobs can be checked before the monotonic clock reaches `until`.
    """

    def look() -> None:
        if time.monotonic() > until:
            raise NotInTime(
                f"there are too many incomplete blobs to check again within {in_seconds(seconds)}:"
                " ask about fewer stores (--store), or without --fresh"
            )

    stores = {named.id: (named, store) for named, store in _standings(reader, concerned)}
    by_id = {store_id: store for store_id, (_, store) in stores.items()}
    found = completed_of(reader.select, by_id, sizes=whole, look=look)
    return [stores[store_id][0] for store_id in sorted(found)]


def _is_only_racy(store: Standing) -> bool:
    found, listed = blobs_identity(store.opened, store.shared_blobs), store.blobs_identity or ""
    return not store.content_pending and found.partition(" racy:")[0] == listed.partition(" racy:")[0]


def _is_current(store: Standing) -> bool:
    try:
        file = stat_index(store.opened)
        if store.state in ("unreadable", "missing"):
            # Only opening the file shows whether the state is still the same. The import is here because it loads msgspec.
            from catalog.layout.index import read_index

            read_index(store.opened).close()
        return not differs(store, file)
    except IndexProblem as problem:
        return has_problem(store, problem)
    except IndexChanged:
        return False


def _is_layout(reader: Reader, path: str) -> bool:
    """Return whether there is still a layout at `path`, which was found below a root."""
    roots = {decode_path(row[0], row[1]): bool(row[ROOT_ARCHIVES]) for row in reader.rows("ROOTS", {})}
    opened = opened_below(path, roots)
    return opened is not None and is_layout(opened, archives=has_archives(path, roots))


def _stored(path: str) -> str:
    return encode_path(path)[0]


def _register(reader: Reader, places: Sequence[Place], seconds: float) -> None:
    """Register places of the configuration, or change their settings."""
    from catalog.engine.open import open_writer
    from catalog.ingest.places import register_places

    try:
        with open_writer(reader.path, timeout=seconds, create=False) as writer:
            register_places(writer, places)
    except CatalogLocked as error:
        raise NotInTime(f"{error}; --fresh waited {in_seconds(seconds)}") from error


def _take(
    reader: Reader,
    behind: list[_Named],
    new: Sequence[str],
    left: float,
    settings: Settings,
    seconds: float,
    *,
    content: bool,
    completed: Sequence[_Named] = (),
) -> None:
    """Read and write the changes in this process, and read the content of `completed` again.

    With `content`, read as many manifests as there is time for. Otherwise spend little time on them: enough for the few that a
    writer adds at a time, but not for thousands.
    """
    from catalog.engine.open import open_writer
    from catalog.ingest.registry import Registry
    from catalog.ingest.rows import mark_completed
    from catalog.ingest.sweep import Sweep, register

    reports: list[str] = []
    deadline = time.monotonic() + left
    try:
        with open_writer(reader.path, timeout=left, create=False) as writer:
            ids = [each.id for each in behind] + register(writer, new, reports.append)
            if completed:
                writer.write(lambda connection: mark_completed(connection, [each.id for each in completed]))
            with writer.snapshot() as connection:
                stores = Registry(connection).stores(ids)
            patient = settings._replace(patience_ms=int(left * 1000))
            summary = Sweep(writer, patient, reports.append).run(
                (), stores, content_seconds=left if content else _CONTENT_SECONDS, deadline=deadline
            )
    except CatalogLocked as error:
        raise NotInTime(f"{error}; --fresh waited {in_seconds(seconds)}") from error
    if summary.unsettled:
        raise _late(behind, new, seconds)


def _late(behind: Sequence[_Named], new: Sequence[str], seconds: float) -> NotInTime:
    seconds = seconds or FRESH_SECONDS  # 0 means that the time was spent before, for all references together.
    names = [*(each.name for each in behind), *new]
    what = shown(names[0]) if len(names) == 1 else f"{len(names)} stores, among them {shown(names[0])}"
    return NotInTime(
        f"{what} did not settle and reach the catalog within {in_seconds(seconds)}: ask again, or without --fresh"
    )
