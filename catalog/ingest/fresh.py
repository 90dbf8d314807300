"""`--fresh`: makes the catalog true before it is asked (docs/scripts.md).

Each concerned store's `index.json` is looked at by a stat, and compared with the file that the catalog says it read. Where
a daemon lives it is waited for: it has seen the change too, and takes it once the file stands still. Where none does, what
changed is read and written here, under the writer's lock. Never an unsettled read, and never longer than the time limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from catalog.db.location import beside
from catalog.db.locks import DAEMON, is_held
from catalog.errors import CatalogLocked, CatalogUnavailable, InvalidReference, NotInTime, UnknownStore
from catalog.ingest.known import decoded
from catalog.ingest.settings import Settings
from catalog.layout.beneath import opened_below, opened_path
from catalog.layout.discover import discover, is_layout
from catalog.layout.index import IndexChanged, IndexProblem, read_index, stat_index
from catalog.lookup import frozen
from catalog.lookup.reader import Reader
from catalog.lookup.stores import place_of
from catalog.names.escape import shown
from catalog.names.paths import decode_path, encode_path, is_too_long
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
    stores: frozenset[int] | None,
    settings: Settings,
    seconds: float = FRESH_SECONDS,
    *,
    content: bool = False,
) -> None:
    """Wait until the catalog says what the layouts say that `queries`, or `stores`, concern; `seconds` at most.

    With `content` it waits for what their manifests say too; so does a query of a digest, which may be below an entry.

    With no seconds it only looks. Raises NotInTime after that, and CatalogUnavailable.
    """
    began = time.monotonic()
    patient_until = began + settings.settle_ms / 1000 + _PATIENCE_SECONDS
    queries = list(queries)
    content = content or any(query.digest is not None for query in queries)
    concerned, places = _concerned(reader, queries, stores)
    # In this order: what a daemon registers between the two looks is new in the first, or behind in the second.
    new = _new_layouts(reader, places)
    behind = _behind(reader, concerned, content=content)
    may_write = True
    while behind or new:
        left = began + seconds - time.monotonic()
        if left <= 0:
            raise _late(behind, new, seconds)
        lives = is_held(beside(reader.path) + DAEMON)
        if may_write and (not lives or time.monotonic() >= patient_until):
            try:
                _take(reader, behind, left, settings, seconds, search=bool(new), content=content)
            except CatalogUnavailable as error:
                if not lives or isinstance(error, NotInTime):
                    raise
                may_write = False  # the catalog is the daemon's alone
        else:
            time.sleep(min(_POLL_SECONDS, left))
        # What was true once since we were asked is true enough, however much is written meanwhile.
        known = {row[2]: row[0] for row in reader.rows(frozen.STORE_FILES, {})} if new else {}
        ids = {store_id for store_id, _ in behind} | {known[path] for path in map(_as_kept, new) if path in known}
        new = [path for path in new if _as_kept(path) not in known and _is_layout(reader, path)]
        behind = _behind(reader, frozenset(ids), content=content) if ids else []


def _concerned(
    reader: Reader, queries: Sequence[Query], stores: frozenset[int] | None
) -> tuple[frozenset[int] | None, list[str] | None]:
    """The stores to look at (None: all of them), and the directories to search for new ones (None: all roots)."""
    if stores is not None:
        return stores, []
    ids: set[int] = set()
    places: list[str] = []
    for query in queries:
        if query.place is None:
            return None, None
        try:
            place = place_of(reader, query)
        except UnknownStore:
            return None, None  # perhaps it has only just come to be below a root
        except InvalidReference:
            continue  # said when its turn comes
        ids.add(place.store_id)
        if place.image is not None:
            places.append(place.path)  # perhaps that is no image but a store inside the store, which has only just come
    return (frozenset(ids), places) if queries else (None, None)


def _behind(reader: Reader, concerned: frozenset[int] | None, *, content: bool) -> list[tuple[int, str]]:
    """The stores, by id and name, of which the catalog does not say what their file says; nor, with `content`, their
    manifests.
    """
    behind: list[tuple[int, str]] = []
    stores = list(reader.rows(frozen.STORE_FILES, {}))
    pending = {row[0] for row in reader.rows(frozen.PENDING, {})} if content else set()
    for store_id, name, path, path_bytes, state, file_identity, by_name, root, root_bytes in stores:
        if concerned is not None and store_id not in concerned:
            continue
        opened = opened_path(decode_path(path, path_bytes), decoded(root, root_bytes), follow=by_name)
        if store_id in pending or not _is_true(opened, state, file_identity):
            behind.append((store_id, name))
    return behind


def _is_true(path: str, state: str, file_identity: str | None) -> bool:
    try:
        file = stat_index(path)
        if state in ("unreadable", "missing"):
            # Only opening it can tell how it is: where not as the catalog says, that is behind.
            read_index(path, even_held=True).close()
    except IndexProblem as problem:
        return state == problem.state
    except IndexChanged:
        return False
    return state != "missing" and file_identity == file.identity


def _new_layouts(reader: Reader, places: list[str] | None) -> list[str]:
    """Paths of layouts below the roots that the catalog does not know; in these directories alone, where not None."""
    if places == []:
        return []
    known = {row[2] for row in reader.rows(frozen.STORE_FILES, {})}
    known.update(row[0] for row in reader.rows(frozen.LEFT_OUT, {}))
    roots = [decode_path(path, path_bytes) for path, path_bytes in reader.rows(frozen.ROOTS, {})]
    tops = roots if places is None else [opened_below(path, roots) for path in places]
    found = {path for top in tops if top is not None for path in discover(top, lambda _path, _error: None)}
    return sorted(path for path in found if _as_kept(path) not in known and not is_too_long(path))


def _is_layout(reader: Reader, path: str) -> bool:
    """Whether there is still a layout at `path`, which was found below a root."""
    roots = [decode_path(root, root_bytes) for root, root_bytes in reader.rows(frozen.ROOTS, {})]
    opened = opened_below(path, roots)
    return opened is not None and is_layout(opened)


def _as_kept(path: str) -> str:
    return encode_path(path)[0]


def _take(
    reader: Reader,
    behind: list[tuple[int, str]],
    left: float,
    settings: Settings,
    seconds: float,
    *,
    search: bool,
    content: bool,
) -> None:
    """Read and write what changed ourselves; with `content` as much of their manifests as there is time for.

    Without it little time is spent on those: enough for the few that one writer brings, and nobody waits for thousands.
    """
    from catalog.db.engine import open_writer
    from catalog.ingest.registry import Registry
    from catalog.ingest.sweep import Sweep

    reports: list[str] = []
    deadline = time.monotonic() + left
    try:
        with open_writer(reader.path, timeout=left, create=False) as writer:
            with writer.snapshot() as connection:
                registry = Registry(connection)
                roots = registry.roots() if search else []
                stores = registry.stores([store_id for store_id, _ in behind])
            patient = settings._replace(patience_ms=int(left * 1000))
            summary = Sweep(writer, patient, reports.append).run(
                roots, stores, content_seconds=left if content else _CONTENT_SECONDS, deadline=deadline
            )
    except CatalogLocked as error:
        raise NotInTime(f"{error}; --fresh waited {seconds:g} seconds") from error
    if summary.unsettled:
        raise _late(behind, [], seconds)


def _late(behind: list[tuple[int, str]], new: list[str], seconds: float) -> NotInTime:
    seconds = seconds or FRESH_SECONDS  # they have gone before, for all references together
    names = [name for _, name in behind] + new
    what = (
        f"{shown(names[0])} did not"
        if len(names) == 1
        else f"{len(names)} stores, {shown(names[0])} among them, did not"
    )
    return NotInTime(
        f"{what} stand still and come into the catalog within {seconds:g} seconds: ask again, or without --fresh"
    )
