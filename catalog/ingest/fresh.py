"""`--fresh`: makes the catalog true before it is asked (docs/scripts.md).

What the configuration names is registered first, as `ocicat index` does it. Then each concerned store's `index.json` is looked
at by a stat, and compared with the file that the catalog says it read, and by which rules; where content matters, so are the
directories of its blobs. Where a daemon lives it is waited for: it has seen the change too, and takes it once the file stands
still. Where none does, what changed is read and written here, under the writer's lock. Never an unsettled read, and never longer
than the time limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from catalog.engine.interface import Reader
from catalog.engine.locks import DAEMON, is_held
from catalog.engine.open import beside
from catalog.errors import CatalogLocked, CatalogUnavailable, NotInTime
from catalog.ingest.completed import completed_of
from catalog.ingest.concerned import concerned, known_paths, new_layouts
from catalog.ingest.settings import Place, Settings
from catalog.ingest.store_state import Standing, differs, has_problem, has_unread_content, keys_are_old, standing
from catalog.ingest.unregistered import unregistered
from catalog.layout.beneath import opened_below
from catalog.layout.blobs_identity import blobs_identity
from catalog.layout.discover import is_layout
from catalog.layout.index import IndexChanged, IndexProblem, read_index, stat_index
from catalog.names.escape import shown
from catalog.names.paths import decode_path, encode_path
from catalog.names.query import Query

FRESH_SECONDS = 5.0
_POLL_SECONDS = 0.02
_CONTENT_SECONDS = 0.25  # on manifests that nobody asks for
_PATIENCE_SECONDS = 1.0
"""For so long, after the settling time, a daemon is waited for before the change is read here although one lives: it may look
only now and then (`--poll`, directories that cannot be watched), or hang."""


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
    """Wait until the catalog says what the layouts say that `queries` concern; `seconds` at most.

    `stores` are names, paths and globs as `--store` takes them: where there are any, these stores are concerned, and the layouts
    that would be called so if they were known. With `content` it waits for what their manifests say too; so does a query of a
    digest, which may be below an entry. With `whole` layers that were not whole are looked at again, too. `places` are those of the configuration.

    With no seconds it only looks. Raises NotInTime after that, CatalogUnavailable, and UsageError for places that cannot be
    registered.
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
        # In this order: a layout that a daemon registers between two of these looks is new, or it is concerned, and then behind.
        known = known_paths(reader)
        wanted = concerned(reader, queries, stores or ())
        new = new_layouts(reader, wanted.searches, known)
    behind = _behind(reader, wanted.ids, content=content)
    untold = _untold(reader, wanted.ids, content=content) if seconds > 0 else []
    completed = _completed(reader, wanted.ids, whole=whole) if seconds > 0 and content else []
    untold += [each for each in completed if each not in untold]
    may_write = True
    while behind or new or untold:
        left = began + seconds - time.monotonic()
        if left <= 0:
            raise _late(behind or untold, new, seconds)
        lives = is_held(beside(reader.path) + DAEMON)
        if may_write and (untold or not lives or time.monotonic() >= patient_until):
            try:
                _take(reader, [*behind, *untold], new, left, settings, seconds, content=content, completed=completed)
            except CatalogUnavailable as error:
                needed = behind or new or completed or _untold(reader, wanted.ids, content=content, sure=True)
                if isinstance(error, NotInTime) or (needed and not lives):
                    raise
                may_write = False  # the catalog is the daemon's alone
            untold = []
        else:
            time.sleep(min(_POLL_SECONDS, left))
        # What was true once since we were asked is true enough, however much is written meanwhile.
        by_path = {row[2]: row[0] for row in reader.rows("STORE_FILES", {})} if new else {}
        ids = {store_id for store_id, _ in behind} | {by_path[path] for path in map(_as_kept, new) if path in by_path}
        new = [path for path in new if _as_kept(path) not in by_path and _is_layout(reader, path)]
        behind = _behind(reader, frozenset(ids), content=content) if ids else []


def _standings(reader: Reader, concerned: frozenset[int] | None) -> Iterable[tuple[int, str, Standing]]:
    """The id, the name and what is known of each concerned store."""
    rows = list(reader.rows("STORE_FILES", {}))
    return ((row[0], row[1], standing(*row[2:])) for row in rows if concerned is None or row[0] in concerned)


def _behind(reader: Reader, concerned: frozenset[int] | None, *, content: bool) -> list[tuple[int, str]]:
    """The stores, by id and name, whose rows are not what their file says by today's rules; with `content`, those too whose
    manifests are not all read.
    """
    return [
        (store_id, name)
        for store_id, name, store in _standings(reader, concerned)
        if (content and has_unread_content(store, look=False)) or not _is_true(store)
    ]


def _untold(
    reader: Reader, concerned: frozenset[int] | None, *, content: bool, sure: bool = False
) -> list[tuple[int, str]]:
    """The stores with something to do of which no event tells, so that no daemon does it soon.

    Their rules changed, or, with `content`, blobs came or went since they were listed. It is asked once, and not again after
    they were taken: more blobs are coming, perhaps, all the time. With `sure` those are left out whose blobs had only just come
    when they were listed, so that nobody can tell whether more came in the same tick of the clock.
    """
    return [
        (store_id, name)
        for store_id, name, store in _standings(reader, concerned)
        if keys_are_old(store)
        or (content and has_unread_content(store, look=True) and not (sure and _is_only_racy(store)))
    ]


def _completed(reader: Reader, concerned: frozenset[int] | None, *, whole: bool) -> list[tuple[int, str]]:
    """The stores in which a blob that was not good has changed where it lies, of which no directory tells."""
    stores = {store_id: (name, store) for store_id, name, store in _standings(reader, concerned)}
    found = completed_of(reader.select, {store_id: store for store_id, (_, store) in stores.items()}, sizes=whole)
    return [(store_id, stores[store_id][0]) for store_id in sorted(found)]


def _is_only_racy(store: Standing) -> bool:
    found, listed = blobs_identity(store.opened, store.shared_blobs), store.blobs_identity or ""
    return not store.content_pending and found.partition(" racy:")[0] == listed.partition(" racy:")[0]


def _is_true(store: Standing) -> bool:
    try:
        file = stat_index(store.opened)
        if store.state in ("unreadable", "missing"):
            # Only opening it can tell how it is: where not as the catalog says, that is behind.
            read_index(store.opened).close()
        return not differs(store, file)
    except IndexProblem as problem:
        return has_problem(store, problem)
    except IndexChanged:
        return False


def _is_layout(reader: Reader, path: str) -> bool:
    """Whether there is still a layout at `path`, which was found below a root."""
    roots = [decode_path(root, root_bytes) for root, root_bytes, *_ in reader.rows("ROOTS", {})]
    opened = opened_below(path, roots)
    return opened is not None and is_layout(opened)


def _as_kept(path: str) -> str:
    return encode_path(path)[0]


def _register(reader: Reader, places: Sequence[Place], seconds: float) -> None:
    """Register places of the configuration, or change their settings."""
    from catalog.engine.open import open_writer
    from catalog.ingest.places import register_places

    try:
        with open_writer(reader.path, timeout=seconds, create=False) as writer:
            register_places(writer, places)
    except CatalogLocked as error:
        raise NotInTime(f"{error}; --fresh waited {seconds:g} seconds") from error


def _take(
    reader: Reader,
    behind: list[tuple[int, str]],
    new: Sequence[str],
    left: float,
    settings: Settings,
    seconds: float,
    *,
    content: bool,
    completed: Sequence[tuple[int, str]] = (),
) -> None:
    """Read and write what changed ourselves, and the content of `completed` anew; with `content` as much of their manifests as there is time for.

    Without it little time is spent on those: enough for the few that one writer brings, and nobody waits for thousands.
    """
    from catalog.engine.open import open_writer
    from catalog.ingest.registry import Registry
    from catalog.ingest.rows import mark_completed
    from catalog.ingest.sweep import Sweep, register

    reports: list[str] = []
    deadline = time.monotonic() + left
    try:
        with open_writer(reader.path, timeout=left, create=False) as writer:
            ids = [store_id for store_id, _ in behind] + register(writer, new, reports.append)
            if completed:
                writer.write(lambda connection: mark_completed(connection, [store_id for store_id, _ in completed]))
            with writer.snapshot() as connection:
                stores = Registry(connection).stores(ids)
            patient = settings._replace(patience_ms=int(left * 1000))
            summary = Sweep(writer, patient, reports.append).run(
                (), stores, content_seconds=left if content else _CONTENT_SECONDS, deadline=deadline
            )
    except CatalogLocked as error:
        raise NotInTime(f"{error}; --fresh waited {seconds:g} seconds") from error
    if summary.unsettled:
        raise _late(behind, new, seconds)


def _late(behind: Sequence[tuple[int, str]], new: Sequence[str], seconds: float) -> NotInTime:
    seconds = seconds or FRESH_SECONDS  # they have gone before, for all references together
    names = [*(name for _, name in behind), *new]
    what = (
        f"{shown(names[0])} did not"
        if len(names) == 1
        else f"{len(names)} stores, {shown(names[0])} among them, did not"
    )
    return NotInTime(
        f"{what} stand still and come into the catalog within {seconds:g} seconds: ask again, or without --fresh"
    )
